"""Rows of numbers, categories and dates."""

from typing import Any

from metamae.modalities.base import FieldRow
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
