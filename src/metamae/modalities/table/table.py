"""Rows of numbers, categories and dates."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from metamae.data.records import Records
from metamae.modalities.base import LOOK_AT, FieldRow, Look, Sure
from metamae.modalities.form import Form
from metamae.modalities.gaps import Gaps
from metamae.modalities.table.column import Measured
from metamae.modalities.table.gaps import TableGaps
from metamae.modalities.table.spec import TableSpec
from metamae.modalities.table.tokenizer import TableTokenizer
from metamae.model.tokenizer import Tokenizer

MOST_CATEGORIES = 6  # of a column that are named


class Table(TableSpec):
    """Each column of a table, or a group of numeric ones, is a token."""

    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"table": {}}
    columnwise: ClassVar[bool] = True

    @classmethod
    def recognises(cls, field: Look) -> tuple[Sure, str] | None:
        if len(field.column.shape) == 2:
            return Sure.SHAPE, "table"
        single = len(field.column.shape) == 1 and not field.holds_objects
        return (Sure.FALLBACK, "table") if single else None

    @classmethod
    def doubt(cls, records: Records) -> str:
        """Say what an array of numbers (S, F) may be instead, where it looks like it."""
        names = list(records)
        if len(names) > 1 or len(records[names[0]].shape) != 2:
            return ""
        block = np.asarray(records[names[0]][np.arange(min(len(records), LOOK_AT))])
        if block.shape[1] < 16 or block.dtype.kind not in "iuf":
            return ""
        if block.dtype.kind in "iu" and len(np.unique(block)) <= 32:
            return "; few different whole numbers: if they are codes, --modality symbols"
        there = np.isfinite(block)
        values = np.where(there, block, 0.0).astype(np.float64)
        mean = values.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        centred = np.where(there, values - mean, 0.0)
        left, right = centred[:, :-1], centred[:, 1:]
        sizes = np.sqrt((left**2).sum(axis=0) * (right**2).sum(axis=0))
        alike = np.divide(
            (left * right).sum(axis=0), sizes, out=np.zeros_like(sizes), where=sizes > 0
        )
        if np.median(alike) > 0.9:
            return (
                "; neighbouring columns are alike: if they are points of a curve, --modality series"
            )
        return ""

    def tokenizer(self, width: int) -> Tokenizer:
        return TableTokenizer(self, width)

    def gaps(self) -> Gaps:
        return TableGaps(self)

    def form(self, part: str = "") -> Form:
        return Form("row", part, names=tuple(column.name for column in self.measured))

    def describe_fields(self, part: str = "") -> list[FieldRow]:
        return [
            FieldRow(
                f"{part}: {column.name}" if part else column.name,
                "category" if column.scaling is None else "number",
                _holds(column),
            )
            for column in self.measured
        ]


def _holds(column: Measured) -> str:
    gaps = ", some missing" if column.gaps else ""
    if column.scaling is not None:
        return f"{_plain(column.scaling)}{gaps}"
    pairs = sorted(zip(column.frequencies, column.categories, strict=True), reverse=True)
    named = [f"{name} {share:.0%}" for share, name in pairs[:MOST_CATEGORIES]]
    more = f", {len(pairs) - len(named)} more" if len(pairs) > len(named) else ""
    return f"{', '.join(named)}{more}{gaps}"


def _plain(scaling: Any) -> str:
    return f"mean {scaling.mean:.4g}, standard deviation {scaling.std:.4g}"
