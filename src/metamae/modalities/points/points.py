"""Sets of points in space, with or without features."""

from collections.abc import Mapping
from typing import Any, ClassVar

from metamae.modalities.base import Look, Sure
from metamae.modalities.form import Form
from metamae.modalities.gaps import Gaps, NoGaps
from metamae.modalities.points.spec import PointsSpec
from metamae.modalities.points.tokenizer import PointsTokenizer
from metamae.model.tokenizer import Tokenizer


class Points(PointsSpec):
    """Groups of neighbouring points are tokens."""

    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"points": {}}

    @classmethod
    def recognises(cls, field: Look) -> tuple[Sure, str] | None:
        return (Sure.NAME, "points") if field.name == "points" else None

    def tokenizer(self, width: int) -> Tokenizer:
        return PointsTokenizer(self, width)

    def gaps(self) -> Gaps:
        return NoGaps("a set of points has no place that could be empty")

    def form(self, part: str = "") -> Form:
        return Form("points", part, dims=self.dims)

    @property
    def aligned(self) -> bool:
        return False  # groups of points have no order
