"""Samples of a lattice read, checked, and brought to the scale of the training data."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Array, Index
from metamae.data.records import Records
from metamae.errors import DataError
from metamae.modalities.grid.channels import scale
from metamae.modalities.grid.geometry import LAYOUTS, to_cells
from metamae.modalities.grid.intake import Intake

# Means and standard deviations are taken from so many samples, which gives three digits, or from
# fewer large ones.
STATISTICS_FROM = 4096
STATISTICS_VALUES = 2**25


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """Reads samples in standard deviations from the mean of each channel.

    Args:
        intake: How values are read.
        described: What a sample is called in messages, e.g. "series, 6 channel(s) x 100".
        axes: Axes of a lattice besides its channels.
        mean: Mean of each channel, (C,).
        std: Standard deviation of each channel, (C,).
    """

    intake: Intake
    described: str
    axes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def equal(
        self, records: Records, index: Index, size: tuple[int, ...], cell: tuple[int, ...]
    ) -> tuple[Array, Array | None]:
        """Read samples of one size in cells.

        They are cut first and scaled second, since most files hold smaller numbers than float32.

        Args:
            records: The samples.
            index: Which of them.
            size: What each has along each axis.
            cell: Points of a cell along each axis.

        Returns:
            Cells (B, N, P) float32, 0 where nothing is known; and True where a value is known,
            (B, N, P), or None where all are.

        Raises:
            DataError: If they have another size, or a value is infinite, or a sample has none.
        """
        rows = np.asarray(records[self.intake.column][index])
        channels_first = LAYOUTS[self.intake.layout]
        found = channels_first(np.empty((0, *rows.shape[1:]))) if rows.ndim > 1 else rows
        if rows.dtype.kind not in "fiub" or found.shape[1:] != (len(self.mean), *size):
            raise DataError(
                f"{records.source}: field {self.intake.column!r} must hold samples of "
                f"{self.described} (channels {self.intake.layout}), as in training; got shape "
                f"{rows.shape[1:]} of {rows.dtype}. Cut, pad or resample them to that shape."
            )
        counts = tuple(-(-n // c) for n, c in zip(size, cell, strict=True))
        cells = to_cells(channels_first(rows), counts, cell)
        B, N, P = cells.shape
        values = self._scale(cells.reshape(B, N * P), N * P // len(self.mean)).reshape(B, N, P)
        if any(n % c for n, c in zip(size, cell, strict=True)):
            inside = to_cells(np.ones((1, len(self.mean), *size), bool), counts, cell)
            np.copyto(values, np.nan, where=~inside)
        if _all_finite(values):
            return values, None
        self._check(values, records, index)
        there = ~np.isnan(values)
        return np.where(there, values, np.float32(0)), there

    def ragged(self, records: Records, index: Index) -> list[Array]:
        """Read samples of any size, (C, *size) float32 each, NaN where missing.

        Raises:
            DataError: As `equal`, and if one has another number of channels.
        """
        values = [self._scale(lattice) for lattice in self.unscaled(records, index)]
        for position, value in zip(index, values, strict=True):
            if not _all_finite(value):
                self._check(value[None], records, np.array([position]))
        return values

    def unscaled(self, records: Records, index: Index) -> list[Array]:
        """Read samples of any size as they are, (C, *size) each.

        Raises:
            DataError: If one has another number of channels, or holds no numbers.
        """
        values = self.intake.read(records, index)
        for position, lattice in zip(index.tolist(), values, strict=True):
            if len(lattice) != len(self.mean):
                raise records.error(
                    position,
                    f"field {self.intake.column!r} must hold samples of {self.described} (channels "
                    f"{self.intake.layout}), as in training; got {len(lattice)} channel(s). Choose "
                    f"the same channels, or pretrain on these samples.",
                )
        return values

    def measure(
        self, records: Records, sizes: Index, rng: np.random.Generator, *, ragged: bool
    ) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
        """Measure each channel on some samples that `rng` chooses.

        Args:
            records: Training data, cut into windows.
            sizes: Sizes of some of their lattices, (S, axes).
            rng: Chooses.
            ragged: Whether samples differ in size.

        Returns:
            Means, standard deviations and warnings, as `scale` does.
        """
        values = len(self.mean) * math.ceil(sizes.prod(axis=1).mean())
        most = STATISTICS_VALUES // max(1, values)
        some = records.sample(max(16, min(STATISTICS_FROM, most)), rng)
        if ragged:
            return scale(self.unscaled(some, np.arange(len(some))), some)
        return scale(LAYOUTS[self.intake.layout](np.asarray(some[self.intake.column][:])), some)

    def restore(self, values: Array) -> NDArray[np.float64]:
        """Bring values (..., C, *size) back to the user's units."""
        mean, std = self._channels(np.dtype(np.float64))
        return np.asarray(values * std + mean)

    def _scale(self, values: Array, points: int | None = None) -> Array:
        """Scale a sample (C, *size), or samples (B, points C) in cells, to float32."""
        # Float32 cannot hold, say, seconds since 1970: scaled first, rounded second.
        mean, std = self._channels(np.result_type(values.dtype, np.float32), points)
        with np.errstate(over="ignore"):
            scaled = np.subtract(values, mean, order="C")
            scaled /= std
            return scaled.astype(np.float32, copy=False)

    def _channels(self, dtype: np.dtype[Any], points: int | None = None) -> tuple[Array, Array]:
        """Mean and standard deviation of each channel, (C, 1, ...), or repeated, (points C,)."""
        mean, std = (np.array(v).astype(dtype) for v in (self.mean, self.std))
        if points is None:
            shape = (len(self.mean), *[1] * self.axes)
            return mean.reshape(shape), std.reshape(shape)
        # One channel is spread by the arithmetic itself.
        return (mean, std) if len(mean) == 1 else (np.tile(mean, points), np.tile(std, points))

    def _check(self, values: Array, records: Records, index: Index) -> None:
        """Refuse infinity, and samples without any value, among values of samples, (B, ...)."""
        flat = values.reshape(len(values), -1)
        # A sample without any value lacks the first one too.
        empty = np.flatnonzero(np.isnan(flat[:, 0]))
        empty = empty[np.isnan(flat[empty]).all(axis=1)]
        if len(empty):
            raise records.error(
                int(index[empty[0]]),
                f"field {self.intake.column!r} must hold at least one value; got only NaN. Leave "
                f"this sample out.",
            )
        infinite = np.isinf(flat).any(axis=1)
        if infinite.any():
            raise records.error(
                int(index[infinite.argmax()]),
                f"field {self.intake.column!r} must hold finite numbers; got infinity, or one too "
                f"far from the training data for float32. NaN marks a value as missing.",
            )


def _all_finite(values: Array) -> bool:
    # One sum tells that all is well; what it may be instead is looked for only if not.
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))
