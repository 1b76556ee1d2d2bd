"""How samples are cut where a user does not say: the cell of a token, the window of a recording."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from metamae.core.checks import check_at_least
from metamae.data.columns.base import Index, sizes_of
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.grid.geometry import MOST_VALUES, auto_cell
from metamae.modalities.grid.intake import Intake
from metamae.modalities.grid.preparation import USUAL_SECONDS, Preparation, in_points

# Tokens beyond which a series is cut into windows. Attention over more is slow on any machine.
USUAL_TOKENS = 1024
WINDOW_TOKENS = 256
# Parts along each axis of an image that an embedding knows apart; see docs/defaults.md.
REGIONS = 3
TILES = "resize them, or cut them into tiles first, e.g. with gdal_retile.py"
WINDOW_POINTS = 4096  # of a series so long that even large cells would be too many


def num_tokens(sizes: Index, cell: tuple[int, ...]) -> Index:
    """Tokens of lattices (S, axes): (S,); 0 for one without points."""
    if len(cell) != sizes.shape[1] or min(cell) < 1:
        return np.zeros(len(sizes), dtype=np.int64)  # a slip that the spec refuses
    tokens: Index = (-(-sizes // np.array(cell))).prod(axis=1)
    return tokens


def too_many(axes: int) -> str:
    """Say what would work where a sample has too many tokens."""
    if axes == 1:
        return "A window, a shorter one, a larger cell or a higher max_tokens would do."
    return f"Images and volumes are not cut into windows: {TILES}; or choose a larger cell."


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How samples are cut.

    Args:
        cell: Points of a token along each axis.
        window: Points of a window at the common rate; 0 for none.
        stride: Points between the starts of two windows.
    """

    cell: tuple[int, ...]
    window: int = 0
    stride: int = 0

    def notes(self, tokens: Index, num_values: int, owner: Index | None) -> list[str]:
        """Say what was decided.

        Args:
            tokens: Of the training samples, or of their windows.
            num_values: P.
            owner: Sample that each window is cut from; None if there are no windows.
        """
        low, high = int(tokens.min()), int(tokens.max())
        many = f"{low}" if low == high else f"{low} to {high}"
        found = [
            f"cell {list(self.cell)}: {many} tokens of {num_values} values per sample "
            f"(override: --set cell=...)"
        ]
        if owner is not None:
            pieces = np.bincount(owner)
            found.append(
                f"{np.count_nonzero(pieces > 1)} of {len(pieces)} samples are longer than "
                f"{self.window} points and cut into windows, {len(owner)} in all (override: "
                f"window, stride; window=0 for none)"
            )
        return found


def plan(
    records: Records, intake: Intake, channels: int, *, cell: Any, window: Any, stride: Any
) -> Plan:
    """Decide how samples are cut, by the one in the middle of their sizes.

    Args:
        records: Training data.
        intake: How they are read.
        channels: C.
        cell: What the user wants: points for all axes or for each, or "auto".
        window: Points at the common rate or a time, 0 for none, or "auto".
        stride: Likewise, "auto" for the window.

    Raises:
        ConfigError: If a setting is none of these, or does not fit the samples.
        DataError: If no sample has two points.
    """
    sizes = intake.sizes(records)
    sizes = sizes[sizes.all(axis=1)]
    if channels == 0 or not len(sizes) or sizes.prod(axis=1).max() < 2:
        shape = tuple(sizes_of(records[intake.column])[0].tolist())
        raise DataError(
            f"{records.source}: a lattice must have at least 2 points; got samples of shape "
            f"{shape}. Numbers without a place are a table."
        )
    if intake.axes == 1:
        points = intake.points(records)
        return _series(points[points > 0], channels, intake.preparation, cell, window, stride)
    if window not in ("auto", 0):
        raise ConfigError(
            f"Grid.window must be 0 for samples of {intake.axes} axes; got {window!r}. Only series "
            f"and sound are cut into windows: {TILES}."
        )
    if cell != "auto":
        return Plan(cell=_per_axis(cell, intake.axes))
    return Plan(cell=auto_cell(tuple(int(n) for n in np.median(sizes, axis=0)), channels))


def _series(
    points: Index,
    channels: int,
    preparation: Preparation | None,
    cell: Any,
    window: Any,
    stride: Any,
) -> Plan:
    rate = None if preparation is None else preparation.rate
    length: int | None = None
    if window != "auto":
        none = type(window) is int and window == 0
        length = 0 if none else in_points("Grid.window", window, rate)
    steps, length = _window(points, channels, preparation, cell, length)
    if stride == "auto":
        return Plan(cell=steps, window=length, stride=length)
    step = in_points("Grid.stride", stride, rate)
    if step > length:
        raise ConfigError(
            f"Grid.stride must be at most Grid.window; got {stride!r} for a window of {length} "
            f"points. {f'{max(1, length // 2)} would do' if length else 'Give a window too'}."
        )
    return Plan(cell=steps, window=length, stride=step)


def _window(
    points: Index, channels: int, preparation: Preparation | None, cell: Any, window: int | None
) -> tuple[tuple[int, ...], int]:
    """Cell, and points of a window; a window of None is to be chosen."""
    usual = int(np.median(points))
    length = None  # of a window that suits the data better than a number of tokens
    if preparation is not None and preparation.sound:
        length = max(2, round(preparation.rate * USUAL_SECONDS))
    elif window is None and usual > max(WINDOW_POINTS, USUAL_TOKENS * (MOST_VALUES // channels)):
        window = length = WINDOW_POINTS
    usual = min(n for n in (usual, length, window) if n)
    spectrogram = preparation is not None and preparation.name == "log_mel"
    if cell != "auto":
        steps = _per_axis(cell, 2 if spectrogram else 1)
    elif preparation is not None and spectrogram:
        steps = preparation.auto_cell(usual)
    else:
        steps = auto_cell((usual,), channels)
    if window is None:
        sizes = points[:, None] if preparation is None else preparation.sizes(points)
        many = num_tokens(sizes, steps).max() > USUAL_TOKENS
        window = (length or WINDOW_TOKENS * steps[0]) if many else 0
    return steps, window


def _per_axis(cell: Any, axes: int) -> tuple[int, ...]:
    """Return a user's cell with one entry per axis.

    Raises:
        ConfigError: If it is no whole number and holds anything else.
    """
    steps = list(cell) if isinstance(cell, list | tuple) else [cell] * axes
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in steps):
        raise ConfigError(
            f"Grid.cell must be 'auto', a whole number or one per axis; got {cell!r}. "
            f"{[4] * axes} would do."
        )
    return tuple(steps)


def choose_regions(regions: int | str, axes: int, *, ragged: bool) -> int:
    """Read the setting `regions` of a grid.

    Args:
        regions: Parts along each axis, or "auto".
        axes: Of a sample.
        ragged: Whether samples differ in size or are windows, so that no place means the same.

    Raises:
        ConfigError: If it is no whole number above 0, or more than 1 where samples are not alike.
    """
    if regions == "auto":
        return REGIONS if axes > 1 and not ragged else 1
    number = check_at_least("Grid.regions", regions, 1)  # type: ignore[arg-type]
    if ragged and number > 1:
        raise ConfigError(
            f"Grid.regions must be 1 where samples differ in size or are windows of longer ones; "
            f"got {number}. 1 or 'auto' would do."
        )
    return number


def check_cut(size: tuple[int, ...], cell: tuple[int, ...], channels: int) -> None:
    """Raise ConfigError if a cell does not fit into samples of that size."""
    if len(cell) != len(size):
        raise ConfigError(
            f"Grid.cell must have one entry per axis of the sample; got {list(cell)} for size "
            f"{list(size)}. {list(auto_cell(size, channels))} would do."
        )
    for axis, (points, step) in enumerate(zip(size, cell, strict=True)):
        if not 1 <= step <= points:
            raise ConfigError(
                f"Grid.cell[{axis}] must lie between 1 and Grid.size[{axis}] = {points}; got "
                f"{step}. {auto_cell(size, channels)[axis]} would do."
            )
