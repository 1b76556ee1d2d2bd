"""Columns of text as they come from a table: which cells spell numbers or dates."""

import re
from datetime import date
from typing import Any

import numpy as np

from metamae.data.columns.base import Array

# Share of a column's cells above which the rest is taken for slips and not for categories.
MOSTLY = 0.9
NEEDED = {"number": "a number", "date": "a date like 2020-01-31 or 2020-01-31T10:30:00"}

_DAY = r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"[T ]([01]\d|2[0-3])(:[0-5]\d(:[0-5]\d(\.\d{1,6})?)?)?"
_ZONE = r"(Z|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_DATES = (f"{_DAY}({_TIME})?", f"{_DAY}{_TIME}{_ZONE}")  # Without a time zone, and with one.


def share(values: Any, kind: str, decimal: str = ".") -> float:
    """Return the share of numbers or dates among the cells that are not missing.

    Args:
        values: Chunked Arrow array of R strings.
        kind: "number" or "date".
        decimal: The decimal point.
    """
    return _share(values, _pattern(values, kind, decimal))


def fitting(values: Any, kind: str, decimal: str = ".") -> Array:
    """Say which cells are missing, or numbers, or dates that go into one column, (R,) bool."""
    import pyarrow as pa
    import pyarrow.compute as pc

    matches = pc.fill_null(_matches(values, _pattern(values, kind, decimal)), True)
    fits = np.array(matches.to_numpy())
    if kind == "date":
        try:
            _dates(values.filter(fits))
        except pa.ArrowInvalid:  # A day that its month does not have, such as February 30.
            cells = values.to_pylist()
            there = [row for row in np.flatnonzero(fits).tolist() if cells[row] is not None]
            fits[[row for row in there if not _is_day(cells[row])]] = False
    return fits


def convert(values: Any, kind: str, decimal: str = ".") -> Any:
    """Turn cells that all fit into numbers, whole ones if they are, or into dates (UTC)."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if kind == "date":
        return _dates(values)
    values = pc.utf8_trim_whitespace(values)
    if decimal != ".":
        values = pc.replace_substring(values, decimal, ".")
    try:
        return values.cast(pa.int64())
    except pa.ArrowInvalid:
        return values.cast(pa.float64())


def _dates(values: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    zone = "UTC" if _pattern(values, "date", ".") == _DATES[1] else None
    return pc.utf8_trim_whitespace(values).cast(pa.timestamp("us", zone))


def _pattern(values: Any, kind: str, decimal: str) -> str:
    if kind == "date":
        # max keeps the first of equals.
        return max(_DATES, key=lambda pattern: _share(values, pattern))
    point = re.escape(decimal)
    digits = rf"(\d+({point}\d*)?|{point}\d+)"
    return rf"[+-]?({digits}([eE][+-]?\d+)?|(?i:inf|infinity))"


def _share(values: Any, pattern: str) -> float:
    import pyarrow.compute as pc

    return pc.mean(_matches(values, pattern)).as_py() or 0.0


def _matches(values: Any, pattern: str) -> Any:
    import pyarrow.compute as pc

    return pc.match_substring_regex(values, rf"^\s*({pattern})\s*$")


def _is_day(cell: str) -> bool:
    try:
        date.fromisoformat(cell.strip()[:10])
    except ValueError:
        return False
    return True
