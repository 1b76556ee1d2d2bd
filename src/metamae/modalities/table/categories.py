"""Categories of a column: strings, truth values, or numbers that are codes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Array

OTHER = "other"
"""Name of the category that rare values share, and those that the training data did not hold."""


def texts_of(values: Array) -> tuple[list[str | None], NDArray[np.int64]]:
    """Name the different values of a column.

    Args:
        values: (S,), of any type.

    Returns:
        Names, None for a missing value, some of them perhaps equal; and which of them each value
        has, (S,).
    """
    if values.dtype == object:
        places: dict[str | None, int] = {}
        names = (_text(value) for value in values.tolist())
        found = [places.setdefault(name, len(places)) for name in names]
        return list(places), np.array(found, dtype=np.int64)
    distinct, index = np.unique(values, return_inverse=True)
    return [_text(value) for value in distinct], index.astype(np.int64)


def count(values: Array) -> Counter[str]:
    """Count how often each category occurs; missing values do not count."""
    names, index = texts_of(values)
    counts: Counter[str] = Counter()
    for name, times in zip(names, np.bincount(index).tolist(), strict=True):
        if name is not None:
            counts[name] += times
    return counts


def merge(counts: Counter[str], *, fewest: int, most: int) -> tuple[Counter[str], bool]:
    """Let rare values share one category.

    Args:
        counts: Of every value.
        fewest: Times that a value must occur to be a category of its own.
        most: Categories that may remain, that of the rare values included.

    Returns:
        The counts that remain, and whether one of them is `OTHER`.
    """
    frequent = {name for name, times in counts.items() if times >= fewest}
    if len(frequent) < len(counts) or len(counts) > most:
        # Of equals the first in the alphabet, so that the order of the rows does not matter.
        ranked = sorted(frequent, key=lambda name: (-counts[name], name))
        frequent = set(ranked[: most - 1])
    kept: Counter[str] = Counter()
    for name, times in counts.items():
        kept[name if name in frequent else OTHER] += times
    return kept, len(frequent) < len(counts)


def encode(values: Array, categories: Sequence[str], other: bool) -> NDArray[np.float64]:
    """Return the position of each value (B,) among the categories.

    NaN for a missing value; one that is no category is the last one, `OTHER`, if there is that,
    and else missing.
    """
    positions = {name: n for n, name in enumerate(categories)}
    unknown = len(categories) - 1 if other else np.nan
    names, index = texts_of(values)
    codes = [np.nan if name is None else positions.get(name, unknown) for name in names]
    found: NDArray[np.float64] = np.array(codes, dtype=np.float64)[index]
    return found


def _text(value: Any) -> str | None:
    """A category's name; None for a missing value."""
    # Of all values only NaN and NaT differ from themselves.
    if value is None or (isinstance(value, float | np.floating | np.datetime64) and value != value):
        return None
    # Whole numbers become floating ones where some are missing, and must keep their name.
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return f"{value:.0f}" if value else "0"
    return str(value)
