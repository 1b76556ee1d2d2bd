"""Gaps of tables: cells that are empty."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Array, Index
from metamae.data.records import Records
from metamae.modalities.gaps import Canvas, Gaps, Holes, Laid, Marks, Sheet, no_words
from metamae.modalities.table.spec import TableSpec
from metamae.model.tokens import Batch


class TableGaps(Gaps):
    """Empty cells; the columns of a table have no order, so nothing is hidden in runs."""

    def __init__(self, spec: TableSpec):
        self.spec = spec

    def found(self, records: Records, index: Index, blank: str | None) -> NDArray[np.bool_]:
        return np.asarray(missing_cells(self.spec, records, index).any(axis=1))

    def marks(self, held: Records, batch: Batch, blank: str | None) -> Marks:
        rows = np.arange(len(held))
        extent = self._deal(np.ones((len(rows), len(self.spec.measured)), dtype=bool))
        gaps = self._deal(missing_cells(self.spec, held, rows))
        return Marks(gaps, batch.get("valid", extent), extent)

    def _deal(self, cells: NDArray[np.bool_]) -> Tensor:
        """Deal marks on columns to tokens, (B, C) -> (B, N, G); False where a token has fewer."""
        spec = self.spec
        laid = np.zeros((len(cells), spec.num_tokens, spec.group), dtype=bool)
        laid[:, spec.slots[:, 0], spec.slots[:, 1]] = cells
        return torch.from_numpy(laid)

    def canvas(self, column: str, records: Records) -> Canvas:
        return TableCanvas(self.spec, column, records)

    def lay_out(self, columns: Mapping[str, Array]) -> Laid:
        spec, records = self.spec, Records(columns, "table")
        missing = missing_cells(spec, records, np.arange(len(records)))
        numbers, words, names, kinds = [], [], [], []
        for n, one in enumerate(spec.measured):
            if one.part:  # dates are filled, but there is no one unit to measure them in
                continue
            own = columns[spec.array][:, int(one.field)] if spec.array else columns[one.field]
            if one.scaling is None:
                shown = zip(own.tolist(), missing[:, n], strict=True)
                words.append(np.array([None if gone else str(v) for v, gone in shown], object))
                kinds.append(one.name)
            else:
                numbers.append(np.where(missing[:, n], np.nan, own).astype(np.float64))
                names.append(one.name)
        size = len(missing)
        sheet = Sheet(
            np.stack(numbers, axis=1) if numbers else np.empty((size, 0)),
            np.stack(words, axis=1) if words else no_words(size),
        )
        return Laid(sheet, names, kinds)

    def punch(self, columns: Mapping[str, Array], laid: Laid, holes: Holes) -> dict[str, Array]:
        spec = self.spec
        holed = {name: np.array(values) for name, values in columns.items()}
        number = word = 0
        for one in spec.measured:
            if one.part:
                continue
            if one.scaling is None:
                marks, word, nothing = holes.words[:, word], word + 1, None
            else:
                marks, number, nothing = holes.numbers[:, number], number + 1, np.nan
            if not marks.any():
                continue
            name = spec.array or one.field
            if holed[name].dtype != object:
                wanted = np.float64 if one.scaling is not None else object
                if holed[name].dtype.kind not in "f" or wanted is object:
                    holed[name] = holed[name].astype(wanted)
            if spec.array:
                holed[name][marks, int(one.field)] = np.nan
            else:
                holed[name][marks] = nothing
        return holed


class TableCanvas(Canvas):
    """A column of a table, or the array that holds all of them."""

    def __init__(self, spec: TableSpec, column: str, records: Records):
        super().__init__(column, records)
        self.spec = spec
        self.own = [
            n
            for n, one in enumerate(spec.measured)
            if spec.array is not None or one.field == column
        ]
        self.missing = missing_cells(spec, records, np.arange(len(records)))

    def put(self, sample: int, value: Any, begin: int, blank: str | None) -> None:
        for n in self.own:
            one = self.spec.measured[n]
            if not self.missing[sample, n] or one.part not in ("", "time"):
                continue
            if self.spec.array is not None:
                self.values[sample, int(one.field)] = value[n]
            elif self.values.dtype.kind == "M":
                self.values[sample] = np.datetime64(value[n])
            else:
                self.values[sample] = value[n]
            self.count += 1


def missing_cells(spec: TableSpec, records: Records, index: Index) -> NDArray[np.bool_]:
    """Say which cells of a table are missing, (B, C) in the order of its measured columns."""
    if spec.array is not None:
        block = np.asarray(records[spec.array][index])
        return np.asarray(_missing(block)[:, [int(column.field) for column in spec.measured]])
    by_field = {
        name: _missing(np.asarray(records[name][index]))
        for name in dict.fromkeys(column.field for column in spec.measured)
    }
    return np.stack([by_field[column.field] for column in spec.measured], axis=1)


def _missing(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    if values.dtype.kind == "M":
        return np.asarray(np.isnat(values))
    if values.dtype == object:
        flat = [v is None or v != v or v == "" for v in values.ravel().tolist()]
        return np.array(flat, dtype=bool).reshape(values.shape)
    return np.zeros(values.shape, dtype=bool)
