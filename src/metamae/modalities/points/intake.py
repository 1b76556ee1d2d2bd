"""Sets of points as a column holds them: checked, brought into one order, measured.

Letters: P points of a set, C values of a point, of which the first A are coordinates.
"""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.core.checks import check_at_least
from metamae.data.columns.base import Column, Index
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.points.geometry import Doubles, chamfer, typical_group

LARGEST = 1e100  # number that can be squared and summed
# Sizes and scales are taken from so many sets, or from fewer of many values.
STATISTICS_FROM = 512
STATISTICS_VALUES = 2**25
READ = 16  # sets that are read at once to be measured, since one may be large
PER_GROUP = 16  # points of a set per group, as in Point-MAE, arXiv:2203.06604, section 4.1
FEWEST_GROUPS, MOST_GROUPS = 16, 128
SMALLEST_GROUP, LARGEST_GROUP = 4, 32


def point_column(records: Records, dims: int) -> tuple[str, int]:
    """Name the column of sets and count the values of a point: C.

    Raises:
        DataError: If there are several columns, or the one does not hold arrays (P, C).
        ConfigError: If a point has fewer values than coordinates.
    """
    names = list(records)
    if len(names) != 1:
        raise DataError(
            f"{records.source}: sets of points must come from one field; got {len(names)}: "
            f"{', '.join(names[:5])}. Choose one with `field`."
        )
    column = records[names[0]]
    shape = _shape(column)
    if len(shape) != 2:
        raise DataError(
            f"{records.source}: field {names[0]!r} must hold an array (points, values of a point) "
            f"per sample; got {column.dtype} {shape}. Reshape the samples to two axes."
        )
    if shape[1] < dims:
        hint = "dims=2 would do." if shape[1] == 2 else "Points lie in the plane or in space."
        raise ConfigError(
            f"Points.dims must be at most the {shape[1]} values that a point has; got {dims}. "
            f"{hint}"
        )
    return names[0], shape[1]


def _shape(column: Column) -> tuple[int, ...]:
    """Shape of the first sample that is there."""
    if column.dtype != object:
        return tuple(column.shape[1:])
    for position in range(len(column)):
        (value,) = column[np.array([position])]
        if value is not None:
            return np.shape(value)
    return ()


def clean(records: Records, position: int, name: str, value: Any, width: int, most: int) -> Doubles:
    """Return the points that are there in lexicographic order, (P, C), at most `most` of them.

    A point with NaN is missing. Of a larger set the points are taken at even steps of the order.

    Args:
        records: What the sample belongs to.
        position: Of the sample.
        name: Of its field.
        value: What that holds.
        width: C.
        most: Points that are kept.

    Raises:
        DataError: If it is no set of points, empty, or holds infinity.
    """
    points = np.asarray(value)
    if value is None or points.dtype.kind not in "fiub" or points.shape[1:] != (width,):
        got = "a missing value" if value is None else f"{points.dtype} {points.shape}"
        raise records.error(
            position,
            f"field {name!r} must hold an array of numbers (points, {width}); got {got}. Convert "
            f"it, or leave this sample out.",
        )
    # Adding 0 turns -0 into 0: the bits must not depend on which of two equal points stood first.
    points = points.astype(np.float64) + 0.0
    points = points[~np.isnan(points).any(axis=1)]
    if not len(points):
        got = "only points with NaN" if len(value) else "none"
        raise records.error(
            position,
            f"field {name!r} must hold at least one point; got {got}. Leave this sample out.",
        )
    if (highest := np.abs(points).max()) > LARGEST:
        raise records.error(
            position,
            f"field {name!r} must hold numbers below {LARGEST:g}; got {highest:g}. NaN marks a "
            f"point as missing.",
        )
    points = points[np.lexsort(points.T[::-1])]
    if len(points) > most:
        points = points[np.linspace(0, len(points) - 1, most).astype(np.int64)]
    return points


def read_sets(
    records: Records, rng: np.random.Generator, name: str, width: int, most: int
) -> tuple[list[Doubles], Index]:
    """Read some of the sets that are there, a few at a time.

    Args:
        records: Training data.
        rng: Source of the choice.
        name: As in `clean`, like what follows.
        width: C.
        most: Points that are kept of a set.

    Returns:
        The sets, thinned, and the number of points that each had before, (S,).

    Raises:
        DataError: If there is none.
    """
    fits = STATISTICS_VALUES // (width * most)
    records = records.sample(max(READ, min(STATISTICS_FROM, fits)), rng)
    sets, counts = [], []
    for start in range(0, len(records), READ):
        index = np.arange(start, min(start + READ, len(records)))
        for position, value in zip(index.tolist(), records[name][index], strict=True):
            if value is not None:
                sets.append(clean(records, position, name, value, width, most))
                counts.append(len(value))
    if not sets:
        raise DataError(f"{records.source}: field {name!r} must hold a set of points; got none.")
    return sets, np.array(counts, dtype=np.int64)


def radius(places: Doubles) -> float:
    """Distance of the farthest of some places (P, A) from their centroid."""
    return math.sqrt(np.square(places - places.mean(axis=0)).sum(axis=1).max())


def choose_sizes(
    counts: Index, groups: int | str, group_size: int | str, source: str
) -> tuple[int, int]:
    """Decide on the number of groups N and on the points K of one.

    Args:
        counts: Points of each training set.
        groups: The user's choice, or "auto": a group per 16 points, within 16 and 128.
        group_size: The user's choice, or "auto": so many that groups overlap, at most 32.
        source: Of the data, for messages.

    Raises:
        ConfigError: If the largest set has fewer points than that.
        DataError: If no set has 2 points.
    """
    largest, typical = int(counts.max()), int(np.median(counts))
    if largest < 2:
        raise DataError(
            f"{source}: sets must have at least 2 points; got {largest}. Single points are rows "
            f"of a table."
        )
    if groups == "auto":
        num = min(max(FEWEST_GROUPS, min(MOST_GROUPS, typical // PER_GROUP)), largest)
    else:
        num = _within("groups", groups, largest)
    if group_size == "auto":
        shared = math.ceil(2 * typical / num)
        return num, min(max(SMALLEST_GROUP, min(LARGEST_GROUP, shared)), largest)
    return num, _within("group_size", group_size, largest)


def _within(name: str, value: Any, largest: int) -> int:
    check_at_least(f"Points.{name}", value, 2)
    if value > largest:
        raise ConfigError(
            f"Points.{name} must be at most {largest}, the points of the largest set; got "
            f"{value}. 'auto' would do."
        )
    return int(value)


def measure_points(
    sets: list[Doubles], dims: int, source: str
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Mean and standard deviation of each value over all points, one deviation for all coordinates.

    Returns:
        (C,) and (C,), 1 where a deviation is 0; and a warning for every feature that is constant.

    Raises:
        DataError: If all points lie in one place.
    """
    points = np.concatenate(sets)
    mean = points.mean(axis=0)
    std = points.std(axis=0)
    std[:dims] = np.sqrt(np.square(std[:dims]).mean())
    flat = std <= 1e-12 * np.abs(mean)
    if flat[:dims].all():
        raise DataError(
            f"{source}: points must lie in different places; got {mean[:dims].tolist()} "
            f"everywhere. There is nothing to learn from."
        )
    flat[:dims] = False
    std[flat] = 1.0
    notes = [f"feature {n - dims} is constant: it carries nothing" for n in np.flatnonzero(flat)]
    return tuple(mean.tolist()), tuple(std.tolist()), notes


def fit_template(
    groups: NDArray[np.float32],
    valid: NDArray[np.bool_],
    dims: int,
    rng: np.random.Generator,
    source: str,
) -> tuple[float, tuple[tuple[float, ...], ...]]:
    """Find the best constant guess for groups, and the unit in which its mean error is 1.

    Args:
        groups: (M, K, C), coordinates relative to the centre.
        valid: True where there is a point, (M, K); every group has one.
        dims: A.
        rng: Source of the points that the search begins with.
        source: Of the data, for messages.

    Returns:
        The unit, and the guess, (K, C), with its coordinates divided by it.

    Raises:
        DataError: If all groups are alike and points have no features.
    """
    true, there = torch.from_numpy(groups).double(), torch.from_numpy(valid)
    points, num = true[there], groups.shape[1]
    start = rng.choice(len(points), num, replace=len(points) < num)
    template = typical_group(true, there, dims, points[torch.from_numpy(start)])
    squares = chamfer(template.expand_as(true), true, there, dims)[:, :dims]
    error = float(squares.sum(dim=-1).mean())
    extent = float(points[:, :dims].square().sum(dim=-1).mean())
    if error <= 1e-12 * extent:  # rounding leaves a little
        if groups.shape[2] == dims:
            raise DataError(
                f"{source}: groups of points must differ; got {len(groups)} that are alike. There "
                f"is nothing to learn from, except perhaps with another group_size."
            )
        error = extent or 1.0
    scale = math.sqrt(error)
    template[:, :dims] /= scale
    return scale, tuple(map(tuple, template.tolist()))
