"""The geometry of sets of points: even choices, neighbours, distances, shape.

Letters: B sets, P points of the largest, A coordinates, N chosen points, K points of a group,
C values of a point, the A coordinates first. What is taken where distances tie follows from the
order of a set's points alone, never from the sets beside it.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Array, Index

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]

BEYOND = 1e15  # where points stand that are not there; the others must lie within 1e9
BESIDE = 6  # centres that count as neighbours: a cell of a surface touches about as many
PAIRED = 64  # points whose distances to each other describe a shape
BINS = 32  # of the histogram of these distances
QUANTILES = 9  # of the distances to the centroid
CELLS = 8  # along each axis of the grid that points are counted in


def farthest_points(
    points: Singles, there: NDArray[np.bool_], first: Index, num: int
) -> tuple[Index, NDArray[np.bool_], Singles]:
    """Choose points that lie far apart: each is the one farthest from those chosen before.

    Source: Qi et al., PointNet++, NeurIPS 2017, arXiv:1706.02413, section 3.2.

    Args:
        points: Coordinates, (B, P, A).
        there: True where there is a point, (B, P).
        first: Position of the first choice in each set, (B,).
        num: N, points to choose.

    Returns:
        Positions of the choices, (B, N); True where a choice is a new place, (B, N), and not a
        repetition in a set of fewer places; squared distances of the choices to all points,
        (B, N, P).
    """
    B, P = points.shape[:2]
    planes = np.ascontiguousarray(points.transpose(2, 0, 1))  # (A, B, P)
    rows = np.arange(B)
    chosen = np.empty((B, num), dtype=np.int64)
    new = np.empty((B, num), dtype=bool)
    squares = np.empty((B, num, P), dtype=np.float32)
    gap = np.where(there, np.float32(np.inf), np.float32(-1))  # squared, to the nearest choice
    offset, square = np.empty((2, B, P), dtype=np.float32)
    at = first
    for n in range(num):
        chosen[:, n], new[:, n] = at, gap[rows, at] > 0
        square.fill(0)
        for plane in planes:
            np.subtract(plane, plane[rows, at][:, None], out=offset)
            np.multiply(offset, offset, out=offset)
            np.add(square, offset, out=square)
        squares[:, n] = square
        np.minimum(gap, square, out=gap)
        at = gap.argmax(axis=1)
    return chosen, new, squares


def nearest(squares: Singles, num: int) -> Index:
    """Positions of the least values of each row, (..., P) -> (..., num), ascending.

    Of equal values the first ones are taken. Where a row has fewer than `num` values, positions
    behind its end stand for the rest.
    """
    short = num - squares.shape[-1]
    if short > 0:
        behind = np.full((*squares.shape[:-1], short), np.inf, dtype=np.float32)
        squares = np.concatenate([squares, behind], axis=-1)
    bound = np.partition(squares, num - 1, axis=-1)[..., num - 1 : num]
    taken = squares <= bound
    crowded = taken.sum(axis=-1) > num
    if crowded.any():
        some, limit = squares[crowded], bound[crowded]
        closer, tied = some < limit, some == limit
        room = num - closer.sum(axis=-1, keepdims=True)
        taken[crowded] = closer | (tied & (tied.cumsum(axis=-1) <= room))
    positions: Index = np.nonzero(taken)[-1].reshape(*squares.shape[:-1], num)
    return positions


def cut_groups(sets: Sequence[Doubles], axes: int, num: int, size: int) -> dict[str, Array]:
    """Describe sets of points by groups: centres far apart, and the points nearest each.

    Args:
        sets: Points of each set, (P, C).
        axes: A; the first A of the C values are coordinates.
        num: N, groups of a set.
        size: K, points of a group.

    Returns:
        "groups" (B, N, K, C), coordinates relative to the centre; "centres" (B, N, A); "near"
        (B, N, 6), positions of the nearest centres, -1 where there are fewer; "valid" (B, N, K),
        False where a set has too few points for a group, or too few places for so many groups.
    """
    count = np.array([len(values) for values in sets])
    points = np.zeros((len(sets), int(count.max()), sets[0].shape[1]), dtype=np.float32)
    points[..., :axes] = BEYOND
    first = np.empty(len(sets), dtype=np.int64)
    for row, values in enumerate(sets):
        points[row, : len(values)] = values
        places = values[:, :axes]
        first[row] = np.square(places - places.mean(axis=0)).sum(axis=1).argmax()
    there = np.arange(points.shape[1]) < count[:, None]
    chosen, new, squares = farthest_points(points[..., :axes], there, first, num)
    rows = np.arange(len(sets))[:, None]
    centres = points[rows, chosen, :axes]
    members = nearest(squares, size)  # (B, N, K)
    valid = (members < count[:, None, None]) & new[..., None]
    groups = points[rows[..., None], np.where(valid, members, 0)]
    groups[..., :axes] -= centres[:, :, None]
    groups[~valid] = 0
    between = np.take_along_axis(squares, chosen[:, None], axis=2)  # (B, N, N)
    between[~(new[:, :, None] & new[:, None])] = np.inf
    between[:, np.arange(num), np.arange(num)] = np.inf
    near = nearest(between, BESIDE)
    exists = near < num
    exists &= np.isfinite(np.take_along_axis(between, np.where(exists, near, 0), axis=2))
    return {
        "groups": groups,
        "centres": centres,
        "near": np.where(exists, near, -1),
        "valid": valid,
    }


def chamfer(predicted: Tensor, true: Tensor, valid: Tensor | None, axes: int) -> Tensor:
    """Chamfer distance between sets of points, value by value, (..., C).

    Each point is compared with the point of the other set that is nearest by coordinates; the
    squared differences of all its values are averaged over its set, then over the two directions.
    Summed over the coordinates this is the Chamfer distance of squared l2 norms (Fan et al., CVPR
    2017, arXiv:1612.00603, section 3.2, with means for sums). It can be differentiated twice.

    Args:
        predicted: (..., K, C).
        true: (..., L, C).
        valid: True where there is a true point, (..., L); None if all are there. Where none is,
            the result is finite and means nothing.
        axes: A.
    """
    forth, back = matches(predicted.detach(), true, valid, axes)
    there = (predicted - _at(true, forth)).square().mean(dim=-2)
    returned = (_at(predicted, back) - true).square()
    if valid is None:
        return (there + returned.mean(dim=-2)) / 2
    weight = valid[..., None].to(returned.dtype)
    return (there + (returned * weight).sum(dim=-2) / weight.sum(dim=-2).clamp(min=1)) / 2


def matches(one: Tensor, other: Tensor, valid: Tensor | None, axes: int) -> tuple[Tensor, Tensor]:
    """Positions of the nearest points in the other set, (..., K) and (..., L).

    Args:
        one: (..., K, C).
        other: (..., L, C).
        valid: True where there is a point of the other set, (..., L); None if all are there.
        axes: A; only these first values of a point count.
    """
    # Not by matrix products: their rounding would tell a point from itself.
    exact = "donot_use_mm_for_euclid_dist"
    apart = torch.cdist(one[..., :axes], other[..., :axes].to(one.dtype), compute_mode=exact)
    back = apart.min(dim=-2).indices
    if valid is not None:
        apart = apart.masked_fill(~valid[..., None, :], float("inf"))
    return apart.min(dim=-1).indices, back


def typical_group(
    groups: Tensor, valid: Tensor, axes: int, start: Tensor, rounds: int = 20
) -> Tensor:
    """Find points (K, C) whose mean Chamfer distance to some groups is small.

    Matches and points are improved in turn, as k-means does it; a round never makes it worse.

    Args:
        groups: (M, L, C).
        valid: True where there is a point, (M, L); every group has one.
        axes: A.
        start: Points to begin with, (K, C).
        rounds: How often to improve them.
    """
    num = len(start)
    share = valid.to(groups.dtype) / valid.sum(dim=1, keepdim=True)  # (M, L)
    weighted = (groups * share[..., None]).flatten(0, 1)
    points = start
    for _ in range(rounds):
        forth, back = matches(points.expand(len(groups), -1, -1), groups, valid, axes)
        # Each point is drawn to those nearest it, and to those that it is the nearest of.
        total = _at(groups, forth).sum(dim=0) / num
        mass = torch.full_like(total[:, 0], len(groups) / num)
        total.index_add_(0, back.flatten(), weighted)
        mass.index_add_(0, back.flatten(), share.flatten())
        points = total / mass[:, None]
    return points


def describe_shape(points: Doubles) -> Doubles:
    """Describe points (P, A) by numbers that do not depend on their order, (F,).

    The points are moved to their centroid and divided by their radius. There follow standard
    deviations along the axes and along the principal axes, quantiles of the distances to the
    centroid, the shape distribution D2 of Osada et al. (ACM TOG 2002, doi:10.1145/571647.571648)
    on at most 64 points evenly spaced in the order given, and the square roots of the shares of
    the points in the cells of a coarse grid.
    """
    centred = points - points.mean(axis=0)
    distances = np.sqrt(np.square(centred).sum(axis=1))
    unit = centred / (distances.max() or 1.0)
    covariance = unit.T @ unit / len(unit)
    principal = np.sqrt(np.linalg.eigvalsh(covariance).clip(min=0))[::-1]
    quantiles = np.quantile(distances / (distances.max() or 1.0), np.linspace(0, 1, QUANTILES))
    some = unit[np.unique(np.linspace(0, len(unit) - 1, PAIRED).astype(np.int64))]
    pairs = np.sqrt(np.square(some[:, None] - some).sum(axis=-1))[np.triu_indices(len(some), 1)]
    apart, _ = np.histogram(pairs, BINS, (0, 2))
    axes = points.shape[1]
    cell = ((unit + 1) * (CELLS / 2)).astype(np.int64).clip(0, CELLS - 1)
    flat = np.ravel_multi_index(tuple(cell.T), (CELLS,) * axes)
    cells = np.bincount(flat, minlength=CELLS**axes)
    return np.concatenate(
        [
            np.sqrt(np.diag(covariance)),
            principal,
            quantiles,
            np.sqrt(apart / max(1, len(pairs))),
            np.sqrt(cells / len(unit)),
        ]
    )


def _at(points: Tensor, positions: Tensor) -> Tensor:
    """Points (..., L, C) at positions (..., K): (..., K, C)."""
    wide = positions[..., None].expand(*positions.shape, points.shape[-1])
    return points.gather(-2, wide)
