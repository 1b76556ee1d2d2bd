"""Cells of a grid as tokens, and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.data.columns.base import Array
from metamae.modalities.grid.geometry import (
    cells_along,
    lay,
    neighbours,
    places,
    ragged_neighbours,
)
from metamae.modalities.grid.spec import GridSpec
from metamae.model.positions import Coordinates, Lattice
from metamae.model.tokenizer import OwnPlaces, Places, Tokenizer
from metamae.model.tokens import Batch, Tokens
from metamae.model.transformer import xavier_linear


class GridTokenizer(Tokenizer):
    """Cells in, tokens out."""

    scored = ("cells", "valid")
    neighbours: Tensor

    def __init__(self, spec: GridSpec, width: int):
        super().__init__()
        self.spec, self.width, self.num_squares = spec, width, spec.num_values
        self.project = xavier_linear(spec.num_values, width)
        self.place = self.positions(width)
        table = neighbours((1,) if spec.ragged else spec.counts)
        self.register_buffer("neighbours", table, persistent=False)

    def embed(self, batch: Batch) -> Tokens:
        values = self.project(batch["cells"])
        padding = ~batch["valid"].any(dim=-1) if "valid" in batch else None
        beside = self.neighbours
        if self.spec.ragged:
            counts = cells_along(batch["size"], self.spec.cell)
            beside = ragged_neighbours(counts, values.shape[1])
        return Tokens(values, beside, padding, places=self.place(batch))

    def positions(self, width: int) -> nn.Module:
        if self.spec.ragged:
            table = Coordinates(self.spec.num_tokens, len(self.spec.size), width)
            return OwnPlaces(table, partial(_own, cell=self.spec.cell))
        return Places(Lattice(self.spec.counts, width), "cells")

    def head(self, width: int) -> nn.Module:
        return xavier_linear(width, self.spec.num_values)

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Mean squared error over the valid values of each token, in standard deviations."""
        squares: Tensor = nn.functional.mse_loss(predicted, batch["cells"], reduction="none")
        if "valid" not in batch:
            return squares.mean(dim=-1)
        return (squares * batch["valid"]).sum(dim=-1) / batch["valid"].sum(dim=-1).clamp(min=1)

    def baseline(self, batch: Batch) -> Tensor:
        return self.error(torch.zeros_like(batch["cells"]), batch)

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Lay cells (B, N, P) back into samples (B, C, *size) float64.

        Ragged ones become an object array (B,) of arrays (C, *size); those of sound are what its
        preparation made of it.
        """
        return self._lay(predicted.detach().double(), batch, self.spec.scaled.restore)

    def original(self, batch: Batch) -> NDArray[Any]:
        values = self.decode(batch["cells"], batch)
        if "valid" in batch:
            there = self._lay(batch["valid"], batch)
            for value, known in zip(values, there, strict=True):
                value[~known] = np.nan
        return values

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[Any]:
        """Lay marks out, (B, C, *size) bool; an object array of such arrays of ragged samples."""
        return self._lay(hidden[..., None].expand(-1, -1, self.spec.num_values), batch)

    def _lay(
        self, cells: Tensor, batch: Batch, change: Callable[[Array], Array] = lambda x: x
    ) -> NDArray[Any]:
        """Put cells (B, N, P) together again, without what reaches beyond: (B, C, *size)."""
        if not self.spec.ragged:
            return change(lay(cells, self.spec.size, self.spec.cell).cpu().numpy())
        rows = np.empty(len(cells), dtype=object)
        for row, size in enumerate(batch["size"].tolist()):
            laid = lay(cells[row : row + 1], tuple(size), self.spec.cell)[0]
            rows[row] = change(laid.cpu().numpy())
        return rows


def _own(batch: Batch, cell: tuple[int, ...]) -> Tensor:
    return places(cells_along(batch["size"], cell), batch["cells"].shape[1])
