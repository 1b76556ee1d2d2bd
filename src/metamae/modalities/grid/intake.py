"""From one column of a data set to lattices of numbers with channels first."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_between, check_one_of
from metamae.core.registry import did_you_mean
from metamae.data.columns.base import Array, Column, Index, sizes_of
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.grid.geometry import LAYOUTS, guess_layout, guess_ragged_layout
from metamae.modalities.grid.preparation import NAMES, Preparation
from metamae.modalities.grid.resampling import FARTHEST

RATE_FIELD = "rate"  # by this name readers of sound call the field of sampling rates
USUAL_RATE = 16000.0  # of recorded speech


@dataclass(frozen=True, kw_only=True)
class Intake:
    """How values of any shape are read.

    Args:
        column: Name of the input column.
        layout: Where the channels stand in it: "first", "last" or "none".
        axes: Axes of a value besides its channels.
        preparation: What is done to a value once it is read; None for nothing.
    """

    column: str
    layout: str
    axes: int
    preparation: Preparation | None = None

    @property
    def axis(self) -> int:
        """Axis of one value along which it may be cut into windows, counted from the last, -1."""
        return -2 if self.layout == "last" else -1

    def ragged(self, records: Records) -> bool:
        """Whether samples may become lattices of different sizes."""
        prepared = self.preparation
        resampled = prepared is not None and (prepared.sound or prepared.rate_field is not None)
        return resampled or records[self.column].dtype == object

    def rates(self, records: Records, index: Index | None = None) -> NDArray[np.float64] | None:
        """Sampling rate of each sample, (S,) or (B,); None if all have the common one.

        Raises:
            DataError: If the field is not there, or a rate is no number or far from the common one.
        """
        if self.preparation is None or self.preparation.rate_field is None:
            return None
        name = self.preparation.rate_field
        if name not in records.columns:
            raise DataError(
                f"{records.source} must hold the field {name!r}, the sampling rate of each sample, "
                f"as in training; got the fields {', '.join(list(records)[:5])}. Add it: the rate "
                f"{self.preparation.rate:g} for every sample leaves them as they are."
            )
        chosen = np.arange(len(records)) if index is None else index
        found = np.asarray(records[name][chosen])
        if found.dtype.kind not in "fiu" or found.ndim != 1:
            raise DataError(
                f"{records.source}: field {name!r} must hold one number per sample, its sampling "
                f"rate; got {found.dtype} of shape {found.shape[1:]}. Convert it to numbers."
            )
        rates = found.astype(np.float64)
        common = self.preparation.rate
        # Written so that NaN fails.
        bad = ~((rates >= common / FARTHEST) & (rates <= common * FARTHEST))
        if bad.any():
            row = int(bad.argmax())
            raise records.error(
                int(chosen[row]),
                f"field {name!r} must hold a sampling rate within a factor of {FARTHEST} of "
                f"{common:g}; got {rates[row]:g}. Correct it, or leave this sample out.",
            )
        return rates

    def points(self, records: Records) -> Index:
        """Points of each series at the common rate, (S,); 0 for a missing one."""
        points = sizes_of(records[self.column])[:, self.axis]
        if self.preparation is None:
            return points
        return self.preparation.points(points, self.rates(records))

    def own_points(
        self, records: Records, window: int, stride: int
    ) -> tuple[int | Index, int | Index]:
        """Return a window and a stride at the common rate in points of each sample's own rate."""
        rates = self.rates(records)
        if rates is None or self.preparation is None:
            return window, stride
        share = rates / self.preparation.rate
        length = np.maximum(1, np.round(window * share)).astype(np.int64)
        return length, np.clip(np.round(stride * share).astype(np.int64), 1, length)

    def channels(self, records: Records) -> int:
        """Number of channels that all samples have.

        Raises:
            DataError: If one has another number than the first.
        """
        if self.layout == "none" or (self.preparation is not None and self.preparation.sound):
            return 1
        sizes = sizes_of(records[self.column])
        there = np.flatnonzero(sizes.all(axis=1))
        found = sizes[there, 0 if self.layout == "first" else -1]
        other = found != (found[0] if len(found) else 0)
        if other.any():
            raise records.error(
                int(there[other.argmax()]),
                f"field {self.column!r} must hold samples of one number of channels "
                f"({self.layout}); got {int(found[other.argmax()])} and before it {int(found[0])}. "
                f"Give the missing channels NaN, or choose another layout.",
            )
        return int(found[0]) if len(found) else 0

    def sizes(self, records: Records) -> Index:
        """Size of each sample's lattice, (S, axes), without reading values; 0 for a missing one.

        Raises:
            DataError: If the values have another number of axes.
        """
        if self.preparation is not None:
            return self.preparation.sizes(self.points(records))
        sizes = sizes_of(records[self.column])
        if sizes.shape[1] != self.axes + (self.layout != "none") and sizes.any():
            raise self._misshapen(records, tuple(sizes[int(sizes.any(axis=1).argmax())]))
        return {"first": sizes[:, 1:], "last": sizes[:, :-1], "none": sizes}[self.layout]

    def read(self, records: Records, index: Index) -> list[Array]:
        """Read samples as lattices (C, *size), prepared, NaN where missing.

        Raises:
            DataError: If one is missing, or holds no numbers of the right number of axes.
        """
        rates = self.rates(records, index)
        values = []
        for row, value in enumerate(records[self.column][index]):
            position = int(index[row])
            if value is None or np.size(value) == 0:
                raise records.error(
                    position,
                    f"field {self.column!r} must hold at least one value; got none. Leave this "
                    f"sample out.",
                )
            array = np.asarray(value)
            if array.dtype.kind not in "fiub":
                raise records.error(
                    position,
                    f"field {self.column!r} must hold an array of numbers; got {array.dtype}. "
                    f"Convert it.",
                )
            if array.ndim != self.axes + (self.layout != "none"):
                raise self._misshapen(records, array.shape, position)
            lattice = LAYOUTS[self.layout](array[None])[0]
            if self.preparation is not None:
                lattice = self.preparation(lattice, None if rates is None else float(rates[row]))
            values.append(lattice)
        return values

    def _misshapen(
        self, records: Records, shape: tuple[int, ...], position: int | None = None
    ) -> DataError:
        message = (
            f"field {self.column!r} must hold samples with {self.axes} axes (channels "
            f"{self.layout}), as in training; got shape {tuple(map(int, shape))}. Reshape them."
        )
        if position is None:
            return DataError(f"{records.source}: {message}")
        return records.error(position, message)


def choose_intake(
    records: Records,
    *,
    axes: int,
    layout: str,
    rate: float | None,
    rate_field: str | None,
    prepare: str | Mapping[str, Any],
) -> tuple[Intake, list[str]]:
    """Decide how the one input field of some records is read.

    Args:
        records: Training data.
        axes: 1 to 3, or 0 to guess.
        layout: "first", "last", "none" or "auto".
        rate: Common sampling rate; None for the most frequent one.
        rate_field: Field of the sampling rates; None for one called "rate" beside a series.
        prepare: Name of a preparation, or its name and settings.

    Returns:
        The intake, and what was assumed.

    Raises:
        ConfigError: If the settings do not fit the data or each other.
        DataError: If the data are no numbers.
    """
    wanted = _wanted(prepare)
    sound = wanted["name"] != "none"
    if sound and axes not in (0, 1):
        raise ConfigError(
            f"Grid.prepare must be 'none' for samples of {axes} axes; got {wanted['name']!r}, "
            f"which is for recordings of sound. axes=1 would do."
        )
    name = input_field(records, rate_field)
    axes, layout, notes = _layout(records, name, 1 if sound else axes, layout)
    if rate_field is None and RATE_FIELD in records.columns:
        if axes == 1:
            rate_field = RATE_FIELD
            notes.append(f"field {RATE_FIELD!r} taken as the sampling rates (override: rate_field)")
    elif axes != 1 and (rate_field or rate) is not None:
        raise ConfigError(
            f"Grid.rate and Grid.rate_field must not be given for samples of {axes} axes; got "
            f"{rate!r} and {rate_field!r}. Only series and sound have one: leave them out."
        )
    if not sound and rate is None and rate_field is None:
        return Intake(column=name, layout=layout, axes=axes), notes
    if rate is None:
        rate, note = (
            (USUAL_RATE, f"{USUAL_RATE:g} points per second assumed (override: rate=8000)")
            if rate_field is None
            else _most_frequent(records, rate_field)
        )
        notes.append(note)
    rate = float(check_between("Grid.rate", rate, 0, float("inf")))
    preparation = Preparation(**wanted, rate=rate, rate_field=rate_field)
    if sound:
        notes.append(f"{_told(preparation)} (override: prepare)")
    return Intake(column=name, layout=layout, axes=axes, preparation=preparation), notes


def missing(value: Any) -> bool:
    """Say whether a sample holds nothing at all: None, an empty array, or only NaN."""
    if value is None or np.size(value) == 0:
        return True
    return np.asarray(value).dtype.kind == "f" and bool(np.isnan(value).all())


def input_field(records: Records, rate_field: str | None) -> str:
    """Name the one field that is input, besides that of the sampling rates."""
    if rate_field is not None:
        records[rate_field]
    names = [name for name in records if name != rate_field]
    if rate_field is None and len(names) == 2 and RATE_FIELD in names:
        names.remove(RATE_FIELD)
    if len(names) != 1:
        raise DataError(
            f"{records.source}: a lattice must come from one field; got {len(names)}: "
            f"{', '.join(names[:5])}. Choose one with `field`."
        )
    return names[0]


def _wanted(prepare: str | Mapping[str, Any]) -> dict[str, Any]:
    wanted = {"name": prepare} if isinstance(prepare, str) else prepare
    if not isinstance(wanted, Mapping) or "name" not in wanted:
        raise ConfigError(
            f"Grid.prepare must be the name of a preparation or hold one; got {prepare!r}. "
            f"'log_mel' or {{'name': 'log_mel', 'mels': 64}} would do."
        )
    check_one_of("Grid.prepare", wanted["name"], NAMES)
    known = [f.name for f in fields(Preparation) if f.name not in ("rate", "rate_field")]
    for key in wanted:
        if key not in known:
            raise ConfigError(f"Grid.prepare has no setting {key!r}.{did_you_mean(key, known)}")
    return dict(wanted)


def _layout(records: Records, name: str, axes: int, layout: str) -> tuple[int, str, list[str]]:
    """Axes besides channels, where the channels stand, and what was assumed about them."""
    column = records[name]
    ragged = column.dtype == object
    dtype = _dtype(records, name, column)
    sizes = sizes_of(column) if ragged else np.array([column.shape[1:]], dtype=np.int64)
    there = sizes[sizes.all(axis=1)] if ragged else sizes
    if ragged and not len(there):
        raise DataError(
            f"{records.source}: field {name!r} must hold values; got none in any sample. Choose "
            f"another field."
        )
    if layout == "auto":
        if ragged:
            axes, layout, note = guess_ragged_layout(there, dtype, axes)
        else:
            axes, layout, note = guess_layout(column.shape, dtype, axes)
        return axes, layout, [note]
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise ConfigError(
            f"Grid.layout must be 'auto', 'first', 'last' or 'none'; got {layout!r}. "
            f"'first' means samples of shape (channels, *size)."
        )
    found = sizes.shape[1] - (layout != "none")
    if found not in ([axes] if axes else [1, 2, 3]):
        raise ConfigError(
            f"Grid.layout must leave {axes or '1 to 3'} axes besides channels; got {layout!r} for "
            f"samples of shape {tuple(there[0].tolist())}. 'auto' would do."
        )
    return found, layout, []


def _dtype(records: Records, name: str, column: Column) -> np.dtype[Any]:
    """Type of the values, that of the first one where they are arrays of their own."""
    dtype = column.dtype
    if column.dtype == object:
        for start in range(len(column)):
            first = column[np.array([start])][0]
            if first is not None:
                dtype = np.asarray(first).dtype
                break
    if dtype.kind not in "fiub":
        raise DataError(
            f"{records.source}: field {name!r} must hold numbers in arrays; got "
            f"{'strings' if dtype.kind in 'OU' else dtype}. Convert them, or choose another field."
        )
    return dtype


def _most_frequent(records: Records, rate_field: str) -> tuple[float, str]:
    """The commonest sampling rate, and a note."""
    column = records[rate_field]
    if column.dtype.kind not in "fiu" or len(column.shape) != 1:
        raise DataError(
            f"{records.source}: field {rate_field!r} must hold one number per sample, its sampling "
            f"rate; got {column.dtype} of shape {column.shape[1:]}. Name another with rate_field."
        )
    rates = np.asarray(column[np.arange(len(column))], dtype=np.float64)
    counts = Counter(rates[np.isfinite(rates) & (rates > 0)].tolist())
    if not counts:
        raise DataError(
            f"{records.source}: field {rate_field!r} must hold sampling rates above 0; got none. "
            f"rate=100 with another rate_field, or without that field, would do."
        )
    rate, count = counts.most_common(1)[0]
    if len(counts) == 1:
        return rate, f"all samples have the sampling rate {rate:g}"
    others = ", ".join(f"{other:g}" for other in sorted(counts) if other != rate)
    return rate, (
        f"{count} of {len(column)} samples have the sampling rate {rate:g}; the others "
        f"({others:.60}) are resampled to it (override: rate)"
    )


def _told(preparation: Preparation) -> str:
    if preparation.name == "waveform":
        return f"sound as a wave at {preparation.rate:g} Hz"
    return (
        f"sound as a log-mel spectrogram: {preparation.mels} bands, frames of "
        f"{preparation.frame:g} s every {preparation.hop:g} s at {preparation.rate:g} Hz"
    )
