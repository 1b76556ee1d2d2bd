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
    grid = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in counts), indexing="ij")
    waves = []
    for number, at in enumerate(reversed(grid)):
        pairs = width // 2 // axes + (number < width // 2 % axes)
        rates = 10000.0 ** (-torch.arange(pairs, dtype=torch.float64) / max(pairs, 1))
        angles = at.reshape(-1, 1) * rates  # (N, pairs)
        waves += [angles.sin(), angles.cos()]
    table = torch.cat(waves, dim=1)
    return nn.functional.pad(table, (0, width - table.shape[1])).float()


class Lattice(nn.Module):
    """The waves of `sincos` for a lattice of one size, (N, width)."""

    table: Tensor

    def __init__(self, counts: tuple[int, ...], width: int):
        super().__init__()
        self.register_buffer("table", sincos(counts, width), persistent=False)

    def forward(self, num_tokens: int) -> Tensor:
        return self.table


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
