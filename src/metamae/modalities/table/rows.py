"""Rows of a table: read, brought to the scale of the training data, and back."""

import contextlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Array, Column, Index
from metamae.data.records import Records
from metamae.errors import DataError
from metamae.modalities.table import categories, dates
from metamae.modalities.table.column import Measured, refuse_date, refuse_infinity
from metamae.modalities.table.scaling import Numbers, Scaler, Scaling

Cells = NDArray[np.float32]
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?")
CELLS_AT_ONCE = 2**22  # values that are read in one piece where all are looked at


class Rows:
    """Reads rows of a table with C input columns.

    All numbers of a batch are scaled as one block, since a table may have thousands of columns.

    Args:
        measured: The columns.
        array: Name of the one field of shape (S, F) that holds them all; None if each has a
            field of its own.
        width: F of that field, columns that are no input included.
    """

    def __init__(self, measured: Sequence[Measured], array: str | None, width: int):
        self.measured, self.array, self.width = measured, array, width
        self.categorical = [n for n, column in enumerate(measured) if column.scaling is None]
        self.numeric = [n for n, column in enumerate(measured) if column.scaling is not None]
        self.gappy = [n for n, column in enumerate(measured) if column.gaps]
        self.times = [n for n, column in enumerate(measured) if column.part == dates.TIME]
        self.scaler = Scaler([column.scaling or Scaling() for column in measured])
        self.places = [int(column.field) for column in measured] if array is not None else []

    def encode(self, records: Records, index: Index) -> Cells:
        """Read rows and scale them, (B, C): deviations, positions of categories, NaN if missing.

        Raises:
            DataError: If a value does not fit its column, or is not finite.
        """
        read = self._from_fields if self.array is None else self._from_array
        with np.errstate(over="ignore"):
            scaled = self.scaler.apply(read(records, index)).astype(np.float32)
        beyond = np.isinf(scaled)
        if beyond.any():
            row, place = divmod(int(beyond.argmax()), beyond.shape[1])
            refuse_infinity(self.measured[place].field, int(index[row]), records)
        return scaled

    def decode(self, scaled: Numbers) -> NDArray[np.object_]:
        """Undo the scaling of cells (B, C): numbers, dates as text, names of categories."""
        rows = self.scaler.undo(scaled).astype(object)
        for n in self.categorical:
            names = np.array(self.measured[n].categories, dtype=object)
            rows[:, n] = names[scaled[:, n].astype(np.int64)]
        for n in self.times:
            # Rounded to float32 once on the way there and once as a prediction.
            doubt = np.abs(scaled[:, n]) * self.scaler.std[n] * np.finfo(np.float32).eps
            rows[:, n] = dates.show(rows[:, n].astype(np.float64), doubt)
        return rows

    def features(self, scaled: Cells) -> Cells:
        """Turn cells (B, C) into plain features (B, F).

        Numbers, 0 where missing; one-hot categories; a flag per column with gaps in training.
        """
        there = ~np.isnan(scaled)
        values = np.where(there, scaled, np.float32(0))
        parts = [values[:, self.numeric]]
        for n in self.categorical:
            hot = np.eye(len(self.measured[n].categories), dtype=np.float32)
            parts.append(hot[values[:, n].astype(np.int64)] * there[:, n, None])
        return np.concatenate([*parts, (~there[:, self.gappy]).astype(np.float32)], axis=1)

    def _from_array(self, records: Records, index: Index) -> Numbers:
        assert self.array is not None
        column = records[self.array]
        if column.shape[1:] != (self.width,):
            raise DataError(
                f"{records.source}: field {self.array!r} must hold rows of {self.width} "
                f"columns, as in training; got shape {column.shape[1:]}."
            )
        block = np.asarray(column[index])
        if len(self.places) < self.width:
            block = block[:, self.places]
        values = _as_numbers(self.array, block, records)
        for n in self.categorical:
            values[:, n] = self._codes(n, block[:, n])
        return values

    def _from_fields(self, records: Records, index: Index) -> Numbers:
        values = np.empty((len(self.measured), len(index)))
        name, cells = "", np.empty(0)
        for n, column in enumerate(self.measured):
            if column.field != name:  # the parts of a date stand side by side
                name = column.field
                cells = np.asarray(records[name][index])
                _check_flat(name, cells, records)
            part = cells
            if column.part:
                cells = _as_dates(name, cells, index, records)
                part = dates.part_of(cells, column.part)
            if column.scaling is None:
                values[n] = self._codes(n, part)
            else:
                values[n] = _as_numbers(name, part, records)
        return values.T

    def _codes(self, n: int, cells: Array) -> Numbers:
        column = self.measured[n]
        return categories.encode(cells, column.categories, column.other)


def gather(column: Column, index: Index) -> Array:
    """Read values at ascending positions, a bounded number of cells at a time."""
    cells = max(1, int(np.prod(column.shape[1:])))
    step = max(1, CELLS_AT_ONCE // cells)
    return np.concatenate(
        [np.asarray(column[index[at : at + step]]) for at in range(0, len(index), step)]
    )


def _as_numbers(name: str, cells: Array, records: Records) -> Numbers:
    try:
        if cells.dtype.kind not in "biufO":
            raise TypeError("no number")
        return cells.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{records.source}: column {name!r} must hold numbers, as in training; got "
            f"{cells.dtype} ({error})."
        ) from error


def _check_flat(name: str, cells: Any, records: Records) -> None:
    if cells.ndim != 1:
        raise DataError(
            f"{records.source}: column {name!r} must hold one value per row, as in training; got "
            f"shape {cells.shape[1:]}."
        )


def _as_dates(name: str, cells: Array, index: Index, records: Records) -> Array:
    # JSON has no dates, and lists of texts none either.
    if cells.dtype.kind in "OU" and all(c is None or DATE.fullmatch(str(c)) for c in cells):
        with contextlib.suppress(ValueError):  # the 30th of February
            cells = cells.astype("M8[us]")
    if cells.dtype.kind != "M":
        raise DataError(
            f"{records.source}: column {name!r} must hold dates, as in training; got "
            f"{cells.dtype}. numpy's datetime64 or ISO 8601 texts (2024-03-04) would do."
        )
    unfit = dates.unfit(cells)
    if unfit.any():
        row = int(unfit.argmax())
        refuse_date(name, int(index[row]), cells[row], records)
    return cells
