"""Gaps of lattices: points that are NaN."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Array, Index
from metamae.data.records import Records
from metamae.modalities.gaps import Canvas, Gaps, Holes, Laid, Marks, Sheet, no_words, span
from metamae.modalities.grid.geometry import LAYOUTS, pack, to_cells
from metamae.modalities.grid.spec import GridSpec
from metamae.model.tokens import Batch


class GridGaps(Gaps):
    """NaN in series, images and volumes."""

    def __init__(self, spec: GridSpec):
        self.spec = spec
        if spec.preparation is not None:
            self.refusal = (
                "values that were prepared (a spectrogram, another rate) cannot be brought back"
            )

    def found(self, records: Records, index: Index, blank: str | None) -> NDArray[np.bool_]:
        values = records[self.spec.column][index]
        return np.array([self._gappy(value) for value in values], dtype=bool)

    def _gappy(self, value: Any) -> bool:
        if value is None:
            return not self.spec.ragged
        array = np.asarray(value)
        return array.dtype.kind == "f" and bool(np.isnan(array).any())

    def marks(self, held: Records, batch: Batch, blank: str | None) -> Marks:
        extent = self._extent(batch)
        known = batch.get("valid", extent)
        return Marks(extent & ~known, known, extent & (not self.spec.varies))

    def _extent(self, batch: Batch) -> Tensor:
        """Which values of the cells lie inside of the sample, (1 or B, N, P)."""
        spec = self.spec
        if not spec.ragged:
            whole = to_cells(np.ones((1, spec.channels, *spec.size), bool), spec.counts, spec.cell)
            return torch.from_numpy(whole).expand(batch["cells"].shape)
        sizes = batch["size"].tolist()
        _, inside = pack([np.ones((spec.channels, *size)) for size in sizes], spec.cell)
        return torch.from_numpy(inside)

    def canvas(self, column: str, records: Records) -> Canvas:
        return GridCanvas(self.spec, column, records)

    def lay_out(self, columns: Mapping[str, Array]) -> Laid:
        """Samples of different sizes are filled up with NaN to the largest."""
        spec, values = self.spec, columns[self.spec.column]
        firsts = [LAYOUTS[spec.layout](np.asarray(v)[None])[0] for v in values]
        size = np.max([first.shape[1:] for first in firsts], axis=0).tolist()
        whole = np.full((len(firsts), spec.channels, *size), np.nan)
        for row, first in zip(whole, firsts, strict=True):
            row[(slice(None), *(slice(n) for n in first.shape[1:]))] = first
        rest = int(np.prod(size))
        names = [f"channel {c}" for c in range(spec.channels) for _ in range(rest)]
        numbers = whole.reshape(len(firsts), -1)
        return Laid(Sheet(numbers, no_words(len(firsts)), whole.shape[1:]), names, [])

    def spans(self, laid: Laid, rng: np.random.Generator) -> list[Holes]:
        """A run along the last axis: of all channels, and of all that lies across."""
        assert laid.sheet.lattice is not None
        numbers = np.zeros_like(laid.known)
        for row, own in enumerate(laid.known):
            known = own.reshape(-1, laid.sheet.lattice[-1])
            ends = np.flatnonzero(known.any(axis=0))
            numbers[row] = np.broadcast_to(span(ends, known.shape[1], rng), known.shape).ravel()
        return [Holes(numbers & laid.known, np.zeros_like(laid.known_words))]

    def punch(self, columns: Mapping[str, Array], laid: Laid, holes: Holes) -> dict[str, Array]:
        assert laid.sheet.lattice is not None
        values = columns[self.spec.column]
        holed: Array = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            whole = np.array(value, dtype=np.result_type(np.asarray(value).dtype, np.float32))
            # A view with channels first; what is written to it is written to the value.
            first = LAYOUTS[self.spec.layout](whole[None])[0]
            inside = (slice(None), *(slice(n) for n in first.shape[1:]))
            first[holes.numbers[row].reshape(laid.sheet.lattice)[inside]] = np.nan
            holed[row] = whole
        if values.dtype != object:
            holed = np.stack(list(holed))
        return {**columns, self.spec.column: holed}


class GridCanvas(Canvas):
    """A column of lattices."""

    def __init__(self, spec: GridSpec, column: str, records: Records):
        super().__init__(column, records)
        self.spec = spec

    def put(self, sample: int, value: Any, begin: int, blank: str | None) -> None:
        lattice: NDArray[Any] = value
        own = self.values[sample]
        own = np.full(self._shape(lattice.shape), np.nan) if own is None else np.array(own)
        # A view with channels first; what is written to it is written to the value.
        first = LAYOUTS[self.spec.layout](own[None])[0]
        if self.spec.window:
            first = first[..., begin : begin + lattice.shape[-1]]
        gaps = np.isnan(first)
        first[gaps] = lattice[gaps]
        self.count += int(gaps.sum())
        self.values[sample] = own

    def _shape(self, first: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of a value in the user's layout, given that with channels first."""
        if self.spec.layout == "none":
            return first[1:]
        return first if self.spec.layout == "first" else (*first[1:], first[0])
