"""Position tables: fixed waves for lattices of any number of axes, learned rows for the rest."""

import math

import torch
from torch import Tensor, nn


def sincos(counts: tuple[int, ...], width: int) -> Tensor:
    """Fixed sine and cosine waves over a lattice, (N, width) with N = prod(counts).

    Each axis gets an equal share of the width, the last axis first, and half of that share is
    sines, half cosines, at wavelengths from 2 pi to 20,000 pi cells.

    Source: Vaswani et al., NeurIPS 2017, arXiv:1706.03762, section 3.5; several axes as in
    He et al., CVPR 2022, arXiv:2111.06377.
    """
    axes = len(counts)
    grid = torch.meshgrid(*(torch.arange(n) for n in counts), indexing="ij")
    waves = [
        _waves(grid[axis].reshape(-1), pairs)
        for axis, pairs in zip(reversed(range(axes)), _shares(axes, width), strict=True)
    ]
    table = torch.cat(waves, dim=1)
    return nn.functional.pad(table, (0, width - table.shape[1])).float()


def _shares(axes: int, width: int) -> list[int]:
    """Pairs of a sine and a cosine that each axis gets, the last axis first."""
    return [width // 2 // axes + (number < width // 2 % axes) for number in range(axes)]


def _waves(at: Tensor, pairs: int) -> Tensor:
    """Sines, then cosines, at some places along one axis: (n,) -> (n, 2 * pairs) float64."""
    rates = 10000.0 ** (-torch.arange(pairs, dtype=torch.float64) / max(pairs, 1))
    angles = at.double().reshape(-1, 1) * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class Lattice(nn.Module):
    """The waves of `sincos` for a lattice of one size, (N, width)."""

    table: Tensor

    def __init__(self, counts: tuple[int, ...], width: int):
        super().__init__()
        self.register_buffer("table", sincos(counts, width), persistent=False)

    def forward(self, num_tokens: int) -> Tensor:
        return self.table


class Coordinates(nn.Module):
    """The waves of `sincos` at any places of a lattice, those beyond its foreseen rim included.

    Args:
        length: Places along each axis that are computed in advance.
        axes: Number of axes.
        width: Of a row.
    """

    table: Tensor

    def __init__(self, length: int, axes: int, width: int):
        super().__init__()
        self.axes, self.width = axes, width
        self.register_buffer("table", self._rows(length), persistent=False)

    def forward(self, at: Tensor) -> Tensor:
        """Return the rows at places (B, N, axes), each below N: (B, N, width)."""
        N = at.shape[1]
        # By N and not by the farthest place, which a GPU would have to be waited for.
        table = self.table if len(self.table) >= N else self._rows(N).to(self.table)
        wide = [2 * pairs for pairs in _shares(self.axes, self.width)]
        columns = torch.split(table[:, : sum(wide)], wide, dim=1)
        rows = [part[at[..., -1 - number]] for number, part in enumerate(columns)]
        return nn.functional.pad(torch.cat(rows, dim=-1), (0, self.width - sum(wide)))

    def _rows(self, length: int) -> Tensor:
        """Row n holds the waves of all axes at the n-th place of each, (length, width)."""
        at = torch.arange(length)
        waves = [_waves(at, pairs) for pairs in _shares(self.axes, self.width)]
        table = torch.cat(waves, dim=1)
        return nn.functional.pad(table, (0, self.width - table.shape[1])).float()


class Line(nn.Module):
    """The waves of `sincos` for sequences of any length; longer ones than foreseen included."""

    table: Tensor

    def __init__(self, length: int, width: int):
        super().__init__()
        self.register_buffer("table", sincos((length,), width), persistent=False)

    def forward(self, num_tokens: int) -> Tensor:
        """Return the first `num_tokens` rows, (num_tokens, width)."""
        if num_tokens > len(self.table):
            return sincos((num_tokens,), self.table.shape[1]).to(self.table)
        return self.table[:num_tokens]


class Learned(nn.Module):
    """One learned row per token, for tokens without a place in space, (N, width)."""

    def __init__(self, num_tokens: int, width: int):
        super().__init__()
        self.table = nn.Parameter(torch.randn(num_tokens, width) / math.sqrt(width))

    def forward(self, num_tokens: int) -> Tensor:
        return self.table
