"""Samples that an object gives out one by one, such as a data set of PyTorch."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from metamae.data.columns.base import Array, Column
from metamae.data.columns.indexing import positions
from metamae.data.files import legible
from metamae.errors import DataError

PROBED = 32  # items from which the fields and their shapes are told

Convert = Callable[[Any, str], Any]


class Items:
    """One field of the items of a data set; each is asked for when it is needed.

    Args:
        items: Offers `len(items)` and `items[position]`.
        source: What messages call it.
        name: The field.
        convert: (value, owner) -> an array, a string, or None where it is missing.
        dtype: Of all values; object for strings.
        shape: Of one value; None if shapes differ.
    """

    decodes = True

    def __init__(
        self,
        items: Any,
        source: str,
        name: str,
        convert: Convert,
        dtype: np.dtype[Any],
        shape: tuple[int, ...] | None,
    ):
        self.items, self.source, self.name, self.convert = items, source, name, convert
        self._dtype, self._shape = dtype, shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object) if self._shape is None else self._dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *(self._shape or ()))

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self))
        flat = np.atleast_1d(chosen)
        values = np.empty((len(flat), *self.shape[1:]), dtype=self.dtype)
        for row, position in enumerate(flat.tolist()):
            values[row] = self._one(position)
        return values if chosen.ndim else values[0]

    def _one(self, position: int) -> Any:
        value = _field(self.items, self.source, self.name, position, self.convert)
        text = self._dtype.kind == "O"
        if value is None and self.dtype.kind == "O":
            return None
        if value is None and self._dtype.kind == "f" and self._shape == ():
            return np.nan
        if text and isinstance(value, str):
            return value
        whole = not text and isinstance(value, np.ndarray | np.generic)
        if whole and self._shape in (None, value.shape):
            if np.can_cast(value.dtype, self._dtype, "same_kind"):
                return value.astype(self._dtype, copy=False)
        shown = f"{value.dtype} of shape {value.shape}" if whole else type(value).__name__
        raise DataError(
            f"{self.source}, item {position}: field {self.name!r} must be like that of the items "
            f"looked at first, {self._dtype} of shape {self._shape}; got {shown}. Give them all "
            "one shape, or pass a list of arrays of different shapes.",
            sample=position,
        )


def item_columns(items: Any, source: str, convert: Convert) -> dict[str, Column]:
    """Return the fields of items as columns: "X" and "y" of a pair, "0", "1", ... of a tuple.

    Args:
        items: Offers `len(items)` and `items[position]`.
        source: What messages call it.
        convert: (value, owner) -> an array, a string, or None where it is missing.

    Raises:
        DataError: If there are no items, or they hold what cannot be a field.
    """
    with legible(source, "must know its length", "A list of its items would do."):
        length = len(items)
    if not length:
        raise DataError(f"{source} must hold at least one item; got none.")
    names = list(_fields(_item(items, source, 0)))
    probed = np.unique(np.linspace(0, length - 1, min(PROBED, length)).astype(np.int64)).tolist()
    columns: dict[str, Column] = {}
    for name in names:
        values = [_field(items, source, name, position, convert) for position in probed]
        dtype, shape = _form(f"{source}, field {name!r}", values)
        columns[name] = Items(items, source, name, convert, dtype, shape)
    return columns


def _item(items: Any, source: str, position: int) -> Any:
    try:
        return items[position]
    except Exception as error:
        raise DataError(
            f"{source} must give item {position}; got an error: {error or type(error).__name__}.",
            sample=position,
        ) from error


def _fields(item: Any) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return {str(name): value for name, value in item.items()}
    if isinstance(item, tuple):
        names = getattr(item, "_fields", None) or (
            ("X", "y") if len(item) == 2 else [str(number) for number in range(len(item))]
        )
        return dict(zip(names, item, strict=True))
    return {"X": item}


def _field(items: Any, source: str, name: str, position: int, convert: Convert) -> Any:
    fields = _fields(_item(items, source, position))
    if name not in fields:
        raise DataError(
            f"{source} must hold field {name!r} in every item; got {', '.join(fields)} in item "
            f"{position}. Give all items the same fields.",
            sample=position,
        )
    return convert(fields[name], f"{source}, item {position}, field {name!r}")


def _form(owner: str, values: list[Any]) -> tuple[np.dtype[Any], tuple[int, ...] | None]:
    present: list[Array | str] = [value for value in values if value is not None]
    if not present:
        raise DataError(f"{owner} must hold a value in some item; got none. Leave it out.")
    arrays = [value for value in present if not isinstance(value, str)]
    if not arrays:
        return np.dtype(object), ()
    axes = {np.ndim(value) for value in arrays}
    if len(arrays) < len(present) or len(axes) > 1:
        got = "strings and numbers" if len(arrays) < len(present) else f"{sorted(axes)} axes"
        raise DataError(f"{owner} must hold values of one kind; got {got}. Convert them.")
    dtype = np.result_type(*{value.dtype for value in arrays})
    shapes = {value.shape for value in arrays}
    whole = len(present) == len(values)
    if shapes == {()}:
        return (dtype if whole else np.dtype(np.float64)), ()
    return dtype, next(iter(shapes)) if len(shapes) == 1 and whole else None
