"""Numbers on a regular lattice, written once for any number of axes: series, images, volumes."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from metamae.modalities.base import Look, Sure
from metamae.modalities.form import Form
from metamae.modalities.gaps import Gaps
from metamae.modalities.grid.gaps import GridGaps
from metamae.modalities.grid.planning import USUAL_TOKENS, num_tokens
from metamae.modalities.grid.spec import GridSpec
from metamae.modalities.grid.tokenizer import GridTokenizer
from metamae.model.tokenizer import Tokenizer

FORMS = {1: "curve", 2: "image", 3: "volume"}  # by the number of axes
FEWEST_TOKENS = 4  # of a sample whose cell is worth a trial


class Grid(GridSpec):
    """Cells of a lattice of numbers are tokens."""

    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "series": {"axes": 1},
        "image": {"axes": 2},
        "volume": {"axes": 3},
        "video": {"axes": 3},
        "audio": {"axes": 1, "prepare": "log_mel"},
        "waveform": {"axes": 1, "prepare": "waveform"},
        "grid": {},
    }
    timed: ClassVar[tuple[str, ...]] = ("series", "audio")

    @classmethod
    def recognises(cls, field: Look) -> tuple[Sure, str] | None:
        if field.name in ("audio", "image", "video", "volume"):
            return Sure.NAME, field.name
        if len(field.column.shape) > 2:
            return Sure.SHAPE, "grid"
        if field.holds_objects and field.arrays:
            axes = max(array.ndim for array in field.arrays)
            # Whole numbers in one row are codes.
            if axes > 1 or any(array.dtype.kind not in "iu" for array in field.arrays):
                return Sure.SHAPE, {1: "series", 2: "series", 3: "image"}.get(axes, "volume")
        return None

    def tokenizer(self, width: int) -> Tokenizer:
        return GridTokenizer(self, width)

    def gaps(self) -> Gaps:
        return GridGaps(self)

    def form(self, part: str = "") -> Form:
        sound = self.preparation is not None and self.preparation.name == "log_mel"
        return Form("spectrogram" if sound else FORMS[len(self.size)], part)

    def search_space(self) -> dict[str, list[Any]]:
        """Half and double the cell, where that leaves neither too few tokens nor too many."""
        half = [max(1, step // 2) for step in self.cell]
        double = [min(points, 2 * step) for points, step in zip(self.size, self.cell, strict=True)]
        size, most = np.array([self.size]), min(USUAL_TOKENS, self.max_tokens)
        cells = [list(self.cell)]
        for cell in (half, double):
            if FEWEST_TOKENS <= num_tokens(size, tuple(cell))[0] <= most and cell != cells[0]:
                cells.append(cell)
        return {"cell": cells} if len(cells) > 1 else {}
