"""Lattices of numbers: series, images and volumes are one modality with 1, 2 or 3 axes.

A sample has shape (C, *size): C channels at every point of a regular lattice. It is cut into
equal cells that do not overlap; one cell is one token of P = prod(cell) * C numbers, position
slowest and channel fastest. Where the cell does not divide the size the last cells reach beyond
the sample; what lies there, and what is NaN, is neither input nor target.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.columns import Index
from metamae.errors import ConfigError, DataError
from metamae.lattice import (
    LAYOUTS,
    auto_cell,
    from_cells,
    guess_layout,
    neighbours,
    to_cells,
)
from metamae.modalities.base import Features, Modality, Places, Tokenizer
from metamae.networks.positions import Lattice
from metamae.networks.transformer import xavier_linear
from metamae.records import Records
from metamae.types import Batch, Tokens

NAMES = {1: "series", 2: "image", 3: "volume"}
# Means and standard deviations are taken from so many samples, which gives three digits, or from
# fewer large ones.
STATISTICS_FROM = 4096
STATISTICS_VALUES = 2**25


@dataclass(frozen=True, kw_only=True)
class Grid(Modality):
    """What one sample of a lattice looks like.

    Args:
        column: Name of the input column.
        layout: Where the channels stand in it: "first", "last" or "none".
        channels: C, numbers at each lattice point.
        size: Lattice points along each axis, e.g. (320,) or (32, 32).
        cell: Lattice points of a token along each axis.
        mean: Mean of each channel in the training data, (C,).
        std: Standard deviation of each channel in the training data, (C,); 1 where it is 0.

    Raises:
        ConfigError: If a cell has the wrong number of axes, is empty or exceeds the sample.
    """

    kind: ClassVar[str] = "grid"
    description: ClassVar[str] = "series, images and volumes: numbers on a regular lattice"

    column: str
    layout: str
    channels: int
    size: tuple[int, ...]
    cell: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.cell) != len(self.size):
            raise ConfigError(
                f"Grid.cell must have one entry per axis of the sample; got {list(self.cell)} "
                f"for size {list(self.size)}. {list(auto_cell(self.size, self.channels))} would do."
            )
        for axis, (points, step) in enumerate(zip(self.size, self.cell, strict=True)):
            if not 1 <= step <= points:
                raise ConfigError(
                    f"Grid.cell[{axis}] must lie between 1 and Grid.size[{axis}] = {points}; "
                    f"got {step}. {auto_cell(self.size, self.channels)[axis]} would do."
                )
        if self.num_tokens < 2:
            raise ConfigError(
                f"Grid.cell must cut a sample into at least 2 tokens; got {list(self.cell)} for "
                f"size {list(self.size)}. {[max(1, n // 4) for n in self.size]} would do."
            )

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        axes: int = 0,
        layout: str = "auto",
        cell: int | list[int] | tuple[int, ...] | str = "auto",
    ) -> tuple["Grid", list[str]]:
        """Measure the training data.

        Args:
            records: Training data with one numeric column (S, ...).
            rng: Source of the subsample that statistics are taken from.
            axes: 1 for series, 2 for images, 3 for volumes, 0 to guess.
            layout: Whether channels stand "first" or "last" or there are "none"; or "auto".
            cell: Points of a token along each axis, one number for all axes, or "auto" for
                about 64 tokens.
        """
        name, column = _only_column(records)
        layout, notes = _layout(column, axes, layout)
        most = STATISTICS_VALUES // max(1, math.prod(column.shape[1:]))
        some = records.sample(max(16, min(STATISTICS_FROM, most)), rng)
        values = LAYOUTS[layout](np.asarray(some[name][:]))
        channels, size = values.shape[1], values.shape[2:]
        if channels == 0 or math.prod(size) < 2:
            raise DataError(
                f"{records.source}: a lattice must have at least 2 points; got samples of shape "
                f"{column.shape[1:]}. Numbers without a place are a table."
            )
        mean, std, warnings = _statistics(values.astype(np.float64), some)
        steps = auto_cell(size, channels) if cell == "auto" else _per_axis(cell, len(size))
        spec = cls(
            column=name,
            layout=layout,
            channels=channels,
            size=size,
            cell=steps,
            mean=mean,
            std=std,
        )
        notes.append(
            f"cell {list(steps)}: {spec.num_tokens} tokens of {spec.num_values} values per sample "
            f"(override: --set cell=...)"
        )
        return spec, notes + warnings

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens along each axis; their product is N."""
        return tuple(-(-n // c) for n, c in zip(self.size, self.cell, strict=True))

    @property
    def num_tokens(self) -> int:
        return math.prod(self.counts)

    @property
    def num_values(self) -> int:
        """Values of a token: P."""
        return self.channels * math.prod(self.cell)

    @property
    def mask_ratio(self) -> float:
        # He et al. (arXiv:2111.06377) hide 0.75 of 196 patches; a few large ones tell less of
        # each other.
        return 0.75 if self.num_tokens >= 32 else 0.5

    def describe(self) -> str:
        size, cell = (" x ".join(map(str, n)) for n in (self.size, self.cell))
        return f"{NAMES[len(self.size)]}, {self.channels} channel(s) x {size}, cell {cell}"

    def lengths(self, records: Records) -> None:
        return None

    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples: "cells" (B, N, P), and "valid" (B, N, P) where not all values are."""
        values = self._values(records, index)
        missing = values.isnan()
        if values.isinf().any():
            row = int(values.isinf().flatten(1).any(dim=1).nonzero()[0])
            raise DataError(
                f"{records.where(int(index[row]))}: field {self.column!r} must hold finite "
                f"numbers; got infinity, or one too far from the training data for float32. NaN "
                f"marks a value as missing."
            )
        whole = all(n % c == 0 for n, c in zip(self.size, self.cell, strict=True))
        if whole and not missing.any():
            return {"cells": to_cells(values, self.counts, self.cell)}
        valid = to_cells(~missing, self.counts, self.cell)
        if not valid.flatten(1).any(dim=1).all():
            row = int((~valid.flatten(1).any(dim=1)).nonzero()[0])
            raise DataError(
                f"{records.where(int(index[row]))}: field {self.column!r} must hold at least one "
                f"value; got only NaN. Leave this sample out."
            )
        return {"cells": to_cells(values.nan_to_num(0.0), self.counts, self.cell), "valid": valid}

    def _values(self, records: Records, index: Index) -> Tensor:
        """Samples with channels first, (B, C, *size) float32, in standard deviations."""
        rows = np.asarray(records[self.column][index])
        expected = LAYOUTS[self.layout](np.empty((0, *rows.shape[1:]))) if rows.ndim > 1 else rows
        if rows.dtype.kind not in "fiub" or expected.shape[1:] != (self.channels, *self.size):
            raise DataError(
                f"{records.source}: field {self.column!r} must hold samples of {self.describe()} "
                f"(channels {self.layout}), as in training; got shape {rows.shape[1:]} of "
                f"{rows.dtype}. Cut, pad or resample them to that shape."
            )
        # Float32 cannot hold, say, seconds since 1970: scaled first, rounded second.
        precise = np.result_type(rows.dtype, np.float32)
        mean, std = (v.astype(precise) for v in self._scale())
        with np.errstate(over="ignore"):
            scaled = ((LAYOUTS[self.layout](rows) - mean) / std).astype(np.float32)
        return torch.from_numpy(scaled)

    def _scale(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel, (C, 1, ...) float64."""
        shape = (self.channels, *[1] * len(self.size))
        return np.array(self.mean).reshape(shape), np.array(self.std).reshape(shape)

    def raw(self, records: Records, index: Index) -> Features:
        batch = self.batch(records, index)
        return batch["cells"].flatten(1).numpy()

    def tokenizer(self, width: int) -> "GridTokenizer":
        return GridTokenizer(self, width)

    @classmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        return Records({"X": rng.normal(2.0, 3.0, (num, 2, 10, 8)).astype(np.float32)}, "example")


class GridTokenizer(Tokenizer):
    """Cells in, tokens out."""

    neighbours: Tensor

    def __init__(self, spec: Grid, width: int):
        super().__init__()
        self.spec, self.width = spec, width
        self.project = xavier_linear(spec.num_values, width)
        self.place = self.positions(width)
        self.register_buffer("neighbours", neighbours(spec.counts), persistent=False)

    def embed(self, batch: Batch) -> Tokens:
        values = self.project(batch["cells"]) + self.place(batch)
        padding = ~batch["valid"].any(dim=-1) if "valid" in batch else None
        return Tokens(values, self.neighbours, padding)

    def positions(self, width: int) -> nn.Module:
        return Places(Lattice(self.spec.counts, width), "cells")

    def head(self, width: int) -> nn.Module:
        return xavier_linear(width, self.spec.num_values)

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Mean squared error over the valid values of each token, in standard deviations."""
        squares = (predicted - batch["cells"]).square()
        if "valid" not in batch:
            return squares.mean(dim=-1)
        return (squares * batch["valid"]).sum(dim=-1) / batch["valid"].sum(dim=-1).clamp(min=1)

    def baseline(self, batch: Batch) -> Tensor:
        return self.error(torch.zeros_like(batch["cells"]), batch)

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Lay cells (B, N, P) back into samples (B, C, *size) float64."""
        mean, std = self.spec._scale()
        values: NDArray[Any] = self._lay(predicted.detach().double()).cpu().numpy() * std + mean
        return values

    def original(self, batch: Batch) -> NDArray[Any]:
        values = self.decode(batch["cells"], batch)
        if "valid" in batch:
            values[~self._lay(batch["valid"]).cpu().numpy()] = np.nan
        return values

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[np.bool_]:
        marks = hidden[..., None].expand(-1, -1, self.spec.num_values)
        spread: NDArray[np.bool_] = self._lay(marks).cpu().numpy()
        return spread

    def _lay(self, cells: Tensor) -> Tensor:
        """Put cells (B, N, P) together again, without what reaches beyond: (B, C, *size)."""
        full = from_cells(cells, self.spec.counts, self.spec.cell)
        return full[(slice(None), slice(None), *(slice(n) for n in self.spec.size))]


def _only_column(records: Records) -> tuple[str, Any]:
    names = list(records)
    if len(names) != 1:
        raise DataError(
            f"{records.source}: a lattice must come from one field; got {len(names)}: "
            f"{', '.join(names[:5])}. Choose one with `field`."
        )
    column = records[names[0]]
    if column.dtype == object or column.dtype.kind not in "fiub":
        raise DataError(
            f"{records.source}: field {names[0]!r} must hold numbers in samples of equal shape; "
            f"got {column.dtype}. Cut or pad the samples to one shape."
        )
    return names[0], column


def _layout(column: Any, axes: int, layout: str) -> tuple[str, list[str]]:
    """Where the channels stand, and what was assumed about it."""
    if layout == "auto":
        _, layout, note = guess_layout(column.shape, column.dtype, axes)
        return layout, [note]
    if layout not in LAYOUTS:
        raise ConfigError(
            f"Grid.layout must be 'auto', 'first', 'last' or 'none'; got {layout!r}. "
            f"'first' means samples of shape (channels, *size)."
        )
    found = len(column.shape) - (1 if layout == "none" else 2)
    if found not in ([axes] if axes else [1, 2, 3]):
        raise ConfigError(
            f"Grid.layout must leave {axes or '1 to 3'} axes besides channels; got {layout!r} for "
            f"samples of shape {column.shape[1:]}. 'auto' would do."
        )
    return layout, []


def _per_axis(cell: Any, axes: int) -> tuple[int, ...]:
    steps = list(cell) if isinstance(cell, list | tuple) else [cell] * axes
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in steps):
        raise ConfigError(
            f"Grid.cell must be 'auto', a whole number or one per axis; got {cell!r}. "
            f"{[4] * axes} would do."
        )
    return tuple(steps)


def _statistics(
    values: NDArray[np.float64], records: Records
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Mean and standard deviation of each channel over (S, C, *size), NaN left out."""
    samples = values.reshape(len(values), -1)
    for broken, got in (
        (np.isinf(samples).any(axis=1), "infinity. NaN marks a value as missing"),
        (np.isnan(samples).all(axis=1), "only NaN. Leave this sample out"),
    ):
        if broken.any():
            raise DataError(
                f"{records.where(int(broken.argmax()))}: values must be finite numbers, or NaN "
                f"where they are missing; got {got}."
            )
    flat = np.moveaxis(values, 1, 0).reshape(values.shape[1], -1)
    there = ~np.isnan(flat)
    count = there.sum(axis=1)
    if (count == 0).any():
        raise DataError(
            f"{records.source}: every channel must hold a value; got only NaN in channel "
            f"{int((count == 0).argmax())}. Leave that channel out."
        )
    mean = np.where(there, flat, 0).sum(axis=1) / count
    std = np.sqrt(np.square(np.where(there, flat - mean[:, None], 0.0)).sum(axis=1) / count)
    # No absolute bound: a magnetic field of 1e-13 tesla is a signal and no rounding error.
    flat_channels = np.flatnonzero(std <= 1e-12 * np.abs(mean))
    if len(flat_channels) == len(std):
        raise DataError(
            f"{records.source}: values must vary; got the constant {mean[0]:g} everywhere. There "
            f"is nothing to learn from."
        )
    warnings = [f"channel {c} is constant: it carries nothing" for c in flat_channels]
    std[flat_channels] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist()), warnings
