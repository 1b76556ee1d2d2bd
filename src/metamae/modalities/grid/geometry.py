"""The geometry of lattices: where channels stand, how samples are cut, which cells touch."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Array, Index
from metamae.errors import ConfigError

LAYOUTS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "first": lambda x: x,
    "last": lambda x: np.moveaxis(x, -1, 1),
    "none": lambda x: x[:, None],
}
"""Layout -> view of samples (S, ...) with channels first, (S, C, *size)."""

# Tokens that a sample is cut into where nothing else is asked for. 64 is what Jang et al.
# (arXiv:2310.16318) use for series and small images.
TOKENS = 64
MOST_TOKENS = 256
MOST_VALUES = 1024  # of a token, while there are fewer than MOST_TOKENS


def guess_layout(
    shape: tuple[int, ...], dtype: np.dtype[Any], axes: int = 0
) -> tuple[int, str, str]:
    """Guess where the channels stand in samples of shape (S, ...).

    Of the two ends, the one whose side differs from all the others is taken for the channels, or
    else the shorter one. Without a number of axes, two equal sides, or bytes, are taken for a
    grey image and everything else with two axes for a series.

    Args:
        shape: Shape of the whole array, (S, ...).
        dtype: Its type.
        axes: Axes besides channels if known, else 0.

    Returns:
        Number of axes, layout, and a sentence that says what was assumed.

    Raises:
        ConfigError: If samples of that shape cannot have that many axes.
    """
    sides = shape[1:]
    if axes == 0:
        axes = _guess_axes(sides, dtype)
    if axes not in (1, 2, 3) or len(sides) not in (axes, axes + 1):
        raise ConfigError(
            f"Grid.axes must be the number of axes of a sample besides its channels; got {axes!r} "
            f"for samples of shape {sides}. {max(1, min(3, len(sides) - 1))} would do."
        )
    layout = "none" if len(sides) == axes else _channel_end(sides)
    return axes, layout, _assumed(f"shape {sides}", axes, layout)


def guess_ragged_layout(
    sizes: NDArray[np.int64], dtype: np.dtype[Any], axes: int = 0
) -> tuple[int, str, str]:
    """Guess where the channels stand in samples of different shapes.

    All samples have as many channels, so an end whose side always is the same is taken for the
    channels where the other end's varies; two sides that both vary are a grey image.

    Args:
        sizes: Shape of every sample, (S, A).
        dtype: Type of the values.
        axes: Axes besides channels if known, else 0.

    Returns:
        As `guess_layout`.

    Raises:
        ConfigError: If samples of those shapes cannot have that many axes.
    """
    low, high = sizes.min(axis=0), sizes.max(axis=0)
    same = low == high
    sides = tuple(int(side) for side in np.median(sizes, axis=0))
    A = len(sides)
    if axes == 0 and A == 2 and not same.any():
        axes = 2
    guessed, layout, _ = guess_layout((len(sizes), *sides), dtype, axes)
    if axes == 0 and A == 3 and guessed == 2 and not (same[0] or same[-1]):
        guessed, layout = 3, "none"
    if layout != "none" and same[0] != same[-1]:
        layout = "first" if same[0] else "last"
    shown = " x ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(low, high, strict=True))
    return guessed, layout, _assumed(f"shapes {shown}", guessed, layout)


def _assumed(shapes: str, axes: int, layout: str) -> str:
    where = "no channel axis" if layout == "none" else f"channels {layout}"
    kind = {1: "series", 2: "images", 3: "volumes"}[axes]
    return f"samples of {shapes} taken as {kind}, {where} (override: layout)"


def _channel_end(sides: tuple[int, ...]) -> str:
    first_differs, last_differs = len(set(sides[1:])) == 1, len(set(sides[:-1])) == 1
    if len(sides) > 2 and first_differs != last_differs:
        return "first" if first_differs else "last"
    return "first" if sides[0] <= sides[-1] else "last"


def _guess_axes(sides: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    if len(sides) == 2:
        picture = sides[0] == sides[1] or (dtype == np.uint8 and min(sides) >= 8)
        return 2 if picture else 1
    if len(sides) == 3:
        # A volume has fewer slices than pixels along a side, a spectrum may have more bands.
        bands = sides[1] == sides[2] < sides[0] or sides[0] == sides[1] < sides[2]
        return 2 if bands or min(sides[0], sides[-1]) <= 32 else 3
    return min(3, max(1, len(sides) - 1))


def auto_cell(size: tuple[int, ...], channels: int) -> tuple[int, ...]:
    """Choose a cell that cuts a sample into about 64 tokens, and divides it where one near does.

    Tokens hold at least 2 values per axis, and more tokens are taken while one would hold
    over a thousand values. A sample of at least 2 points gives at least 2 tokens.
    """
    axes, target = len(size), TOKENS * (4 if len(size) == 3 else 1)
    while True:
        side = target ** (1 / axes)
        cell = tuple(_near_divisor(n, max(1.0, n / side)) for n in size)
        if channels * math.prod(cell) < 2**axes:
            cell = tuple(min(n, max(c, 2)) for n, c in zip(size, cell, strict=True))
        if channels * math.prod(cell) <= MOST_VALUES or target >= MOST_TOKENS:
            break
        target *= 2
    if cell == size:
        longest = max(range(axes), key=lambda axis: size[axis])
        cell = tuple(-(-n // 2) if axis == longest else n for axis, n in enumerate(cell))
    return cell


def _near_divisor(points: int, ideal: float) -> int:
    divisors = [d for d in range(1, points + 1) if points % d == 0]
    near = [d for d in divisors if ideal / 1.45 <= d <= ideal * 1.45]
    return min(near, key=lambda d: abs(math.log(d / ideal))) if near else max(1, round(ideal))


def to_cells(x: Array, counts: tuple[int, ...], cell: tuple[int, ...]) -> Array:
    """Cut samples (B, C, *size) into cells (B, N, P), filling up with zeros at the far ends.

    Within a cell the position runs slowest and the channel fastest.
    """
    B, C, axes = *x.shape[:2], len(counts)
    full = [n * c for n, c in zip(counts, cell, strict=True)]
    if list(x.shape[2:]) != full:
        padded = np.zeros((B, C, *full), x.dtype)
        padded[(slice(None), slice(None), *(slice(n) for n in x.shape[2:]))] = x
        x = padded
    split = [n for pair in zip(counts, cell, strict=True) for n in pair]
    x = x.reshape(B, C, *split)  # (B, C, n1, c1, n2, c2, ...)
    count_axes = range(2, 2 + 2 * axes, 2)
    cell_axes = range(3, 3 + 2 * axes, 2)
    laid = x.transpose(0, *count_axes, *cell_axes, 1)
    return laid.reshape(B, math.prod(counts), C * math.prod(cell))


def from_cells(cells: Tensor, counts: tuple[int, ...], cell: tuple[int, ...]) -> Tensor:
    """Undo `to_cells`: (B, N, P) -> (B, C, *(counts * cell))."""
    B, axes = len(cells), len(counts)
    x = cells.reshape(B, *counts, *cell, -1)
    paired = [n for axis in range(axes) for n in (1 + axis, 1 + axes + axis)]
    full = [n * c for n, c in zip(counts, cell, strict=True)]
    return x.permute(0, 1 + 2 * axes, *paired).reshape(B, -1, *full)


def pack(values: Sequence[Array], cell: tuple[int, ...]) -> tuple[Array, Array]:
    """Cut samples of different sizes into cells, side by side.

    Args:
        values: (C, *size) float32 each, NaN where missing.
        cell: Points of a cell along each axis.

    Returns:
        Cells (B, N, P), 0 where nothing is known, with as many as the largest sample has; and
        True where a value is known, (B, N, P).
    """
    size = np.array([v.shape[1:] for v in values])
    counts = -(-size // np.array(cell))
    shape = (len(values), int(counts.prod(axis=1).max()), len(values[0]) * math.prod(cell))
    cells, valid = np.zeros(shape, np.float32), np.zeros(shape, bool)
    # Samples of one size are cut together: windows are nearly all of one size.
    _, first, group = np.unique(size, axis=0, return_index=True, return_inverse=True)
    for number, one in enumerate(first.tolist()):
        rows = np.flatnonzero(group.ravel() == number)
        along = tuple(counts[one].tolist())
        together = np.stack([values[row] for row in rows.tolist()])
        there = ~np.isnan(together)
        N = math.prod(along)
        cells[rows, :N] = to_cells(np.where(there, together, 0), along, cell)
        valid[rows, :N] = to_cells(there, along, cell)
    return cells, valid


def lay(cells: Tensor, size: tuple[int, ...], cell: tuple[int, ...]) -> Tensor:
    """Undo `to_cells` and drop what reaches beyond: (B, N or more, P) -> (B, C, *size)."""
    counts = tuple(-(-n // c) for n, c in zip(size, cell, strict=True))
    full = from_cells(cells[:, : math.prod(counts)], counts, cell)
    return full[(slice(None), slice(None), *(slice(n) for n in size))]


def neighbours(counts: tuple[int, ...]) -> Tensor:
    """Positions of the cells that share a face with each cell, (N, 2 * axes), -1 at the rim."""
    at = torch.arange(math.prod(counts)).reshape(counts)
    found = []
    for axis, step in itertools.product(range(len(counts)), (1, -1)):
        moved = at.roll(-step, dims=axis)
        rim = [slice(None)] * len(counts)
        rim[axis] = slice(-1, None) if step == 1 else slice(0, 1)
        moved[tuple(rim)] = -1
        found.append(moved.flatten())
    return torch.stack(found, dim=1)


def regions_of(counts: tuple[int, ...], parts: int) -> Index:
    """Divide a lattice of cells into blocks of nearly equal size: block of each cell, (N,).

    Args:
        counts: Cells along each axis.
        parts: Blocks along each axis, or as many as there are cells.
    """
    along = [np.arange(n) * min(parts, n) // n for n in counts]
    shape = [min(parts, n) for n in counts]
    blocks = np.meshgrid(*along, indexing="ij")
    return np.ravel_multi_index([block.ravel() for block in blocks], shape)


def cells_along(size: Tensor, cell: tuple[int, ...]) -> Tensor:
    """Cells along each axis of lattices of different sizes: (B, axes) -> (B, axes)."""
    # With plain numbers: a tensor made of `cell` would have to be brought to the device first.
    along = [(size[:, axis] + step - 1) // step for axis, step in enumerate(cell)]
    return torch.stack(along, dim=1)


def places(counts: Tensor, num_tokens: int) -> Tensor:
    """Place of every cell along each axis of its own lattice.

    Args:
        counts: Cells along each axis, (B, axes); a lattice without cells has 0.
        num_tokens: N.

    Returns:
        (B, N, axes), for the first cells of each lattice; 0 behind its last.
    """
    at = torch.arange(num_tokens, device=counts.device)[:, None]  # (N, 1)
    at = at // _strides(counts)[:, None] % counts.clamp(min=1)[:, None]
    return at * _exists(counts, num_tokens)[..., None]


def ragged_neighbours(counts: Tensor, num_tokens: int) -> Tensor:
    """`neighbours` for lattices of different sizes, side by side: (B, N, 2 * axes)."""
    exists = _exists(counts, num_tokens)
    place, strides = places(counts, num_tokens), _strides(counts)
    itself = torch.arange(num_tokens, device=counts.device)
    found = []
    for axis, step in itertools.product(range(counts.shape[1]), (1, -1)):
        to = place[..., axis] + step
        there = exists & (to >= 0) & (to < counts[:, axis : axis + 1])
        found.append(torch.where(there, itself + step * strides[:, axis : axis + 1], -1))
    return torch.stack(found, dim=2)


def _strides(counts: Tensor) -> Tensor:
    """Cells from one to the next along each axis, (B, axes)."""
    behind = counts.clamp(min=1).flip(1).cumprod(1).flip(1)
    return torch.cat([behind[:, 1:], torch.ones_like(behind[:, :1])], dim=1)


def _exists(counts: Tensor, num_tokens: int) -> Tensor:
    """True where a lattice has an n-th cell, (B, N)."""
    return torch.arange(num_tokens, device=counts.device) < counts.prod(1)[:, None]
