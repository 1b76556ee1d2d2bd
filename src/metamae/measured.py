"""One column of a table: measured once on the training data, scaled by that ever after."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.columns import Index
from metamae.errors import DataError
from metamae.records import Records


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One column of a table.

    Args:
        name: Its name; in an array of numbers, the position as text.
        mean: Mean of a numeric column in the training data.
        std: Its standard deviation there.
        categories: Known values of a categorical column as text; empty for a numeric one.
        frequencies: Share of each of them in the training data.
    """

    name: str
    mean: float = 0.0
    std: float = 1.0
    categories: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()

    @property
    def num_outputs(self) -> int:
        """Numbers that a prediction of this column needs."""
        return len(self.categories) or 1


def measure(
    name: str, values: NDArray[Any], max_categories: int, records: Records
) -> tuple[Measured | None, str]:
    """Describe one column, or say why it is left out.

    Args:
        name: Of the column.
        values: Its values in the training data, (S,).
        max_categories: Most different values of a column of strings.
        records: The training data, to name a bad row.

    Returns:
        The column, or None, and what a user should know about it.

    Raises:
        DataError: If a value is infinite.
    """
    if values.ndim != 1:
        return None, f"is left out: each cell holds an array of shape {values.shape[1:]}"
    if values.dtype == object and any(isinstance(v, np.ndarray) for v in values):
        return None, "is left out: its cells hold arrays"
    if values.dtype.kind in "OUb":
        texts = [_text(v) for v in values.tolist()]
        shown, counts = np.unique([t for t in texts if t is not None], return_counts=True)
        if len(shown) < 2:
            return None, "is left out: it is constant or missing"
        if len(shown) > max_categories or (len(shown) > 20 and len(shown) > 0.5 * len(values)):
            return None, (
                f"is left out: {len(shown)} different values look like a name or a text "
                f"(override: max_categories)"
            )
        shares = counts / counts.sum()
        return Measured(
            name=name, categories=tuple(shown.tolist()), frequencies=tuple(shares.tolist())
        ), ""
    if values.dtype.kind not in "iuf":
        return None, f"is left out: {values.dtype} is neither number nor category"
    numbers = values.astype(np.float64)
    if np.isinf(numbers).any():
        _refuse_infinity(name, int(np.isinf(numbers).argmax()), records)
    there = numbers[~np.isnan(numbers)]
    if len(there) == 0:
        return None, "is left out: all its values are missing"
    mean, std = float(there.mean()), float(there.std())
    if std <= 1e-12 * abs(mean):
        return None, f"is left out: it is constant ({mean:g})"
    missing = 1 - len(there) / len(numbers)
    note = f"misses {missing:.0%} of its values" if missing > 0.2 else ""
    return Measured(name=name, mean=mean, std=std), note


def encode(
    column: Measured, values: NDArray[Any], records: Records, index: Index
) -> NDArray[np.float64]:
    """Bring values (B,) to the training data's scale, or to positions of categories.

    Returns:
        (B,); NaN where missing.

    Raises:
        DataError: If a value is no number where numbers are expected, or not finite.
    """
    if column.categories:
        codes: dict[str | None, float] = {t: float(n) for n, t in enumerate(column.categories)}
        return np.array([codes.get(_text(v), np.nan) for v in values.tolist()])
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{records.source}: column {column.name!r} must hold numbers, as in training; got "
            f"{values.dtype} ({error})."
        ) from error
    with np.errstate(over="ignore"):
        scaled = (numbers - column.mean) / column.std
    beyond = np.abs(scaled) > np.finfo(np.float32).max
    if beyond.any():
        _refuse_infinity(column.name, int(index[beyond.argmax()]), records)
    return scaled


def _refuse_infinity(name: str, position: int, records: Records) -> None:
    raise DataError(
        f"{records.where(position)}: column {name!r} must hold finite numbers; got infinity, or "
        f"one too far from the training data for float32. Leave the cell empty (NaN) to mark it "
        f"as missing."
    )


def _text(value: Any) -> str | None:
    """A category's name; None for a missing value."""
    if value is None or (isinstance(value, float) and value != value):
        return None
    return str(value)
