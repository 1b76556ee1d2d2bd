"""Sets of points: places in the plane or in space, each with features or without.

A set is described by overlapping groups: a centre and the points nearest it. One group is one
token; its points are told relative to the centre, and where the centre lies is the token's
position. The order of the points in a sample means nothing and changes nothing, not even a bit.

Source: Pang et al., Point-MAE, ECCV 2022, arXiv:2203.06604, for groups, positions and the error;
Qi et al., PointNet, CVPR 2017, arXiv:1612.00593, for the embedding of a group.
Differs: no batch norm, so that a sample never depends on its companions; the groups of a set are
always the same, since the first centre is the point farthest from the centroid; points may have
features, which are compared between the points that the Chamfer distance matches.
"""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.core.checks import check_at_least, check_one_of
from metamae.data.columns.base import Index, sizes_of
from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities.base import Features, Modality
from metamae.modalities.points.geometry import Doubles, cut_groups, describe_shape
from metamae.modalities.points.intake import (
    choose_sizes,
    clean,
    fit_template,
    measure_points,
    point_column,
    radius,
    read_sets,
)
from metamae.model.tokens import Batch

STATISTICS_GROUPS = 1024  # that the typical group is taken from
MULTIPLE = 8  # that numbers of tokens are rounded up to, see `Modality.lengths`
FARTHEST = 1e9  # deviations from the training data that float32 can square
CHUNK = 2**21  # distances that are computed at once


@dataclass(frozen=True, kw_only=True)
class PointsSpec(Modality):
    """What one set of points looks like.

    Letters: A coordinates of a point, C of its values, K points of a group.

    Args:
        column: Name of the input column.
        dims: A.
        normalise: "sample" if each set is moved to its centroid and divided by its radius;
            "data" if all are moved and divided alike, by `mean` and `std`.
        groups: Most groups of a set: N.
        group_size: K.
        max_points: Larger sets are thinned to so many points.
        mean: Mean of each value of a point in the training data, (C,), coordinates first.
        std: Its standard deviation, (C,), one for all coordinates; 1 where it is 0.
        scale: What coordinates within a group are divided by, after the scaling of the set, so
            that the typical group's error is 1 on average.
        template: The typical group, (K, C), scaled: the best constant guess.
    """

    kind: ClassVar[str] = "points"
    description: ClassVar[str] = "sets of points in the plane or in space, with or without features"
    content = "groups"
    editable: ClassVar[tuple[str, ...]] = ("dims", "normalise", "groups", "group_size")

    column: str
    dims: int
    normalise: str
    groups: int
    group_size: int
    max_points: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float = 1.0
    template: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        dims: int = 3,
        normalise: str = "sample",
        groups: int | str = "auto",
        group_size: int | str = "auto",
        max_points: int = 2048,
    ) -> tuple["PointsSpec", list[str]]:
        """Measure the training data.

        Args:
            records: Training data: one column of arrays (P, C), P the same in all or not.
            rng: Source of the subsample that statistics are taken from.
            dims: Coordinates of a point, 2 or 3; they come first, other values are features.
            normalise: "sample" moves each set to its centroid and divides it by its radius, the
                custom for scans and models, whose place and unit are arbitrary; it hides both.
                "data" scales all sets alike, for places and sizes that mean something, as in
                molecules, detectors and maps.
            groups: Groups of a set, or "auto" for one per 16 points, within 16 and 128.
            group_size: Points of a group, or "auto" for twice the points per group, within 4
                and 32, so that groups overlap.
            max_points: Of larger sets so many are taken, at even steps of lexicographic order.
        """
        check_at_least("Points.max_points", max_points, 2)
        check_one_of("Points.normalise", normalise, ["sample", "data"])
        if type(dims) is not int or dims not in (2, 3):
            raise ConfigError(f"Points.dims must be 2 or 3; got {dims!r}. 3 would do.")
        name, width = point_column(records, dims)
        sets, rows = read_sets(records, rng, name, width, max_points)
        counts = np.array([len(points) for points in sets])
        num, size = choose_sizes(counts, groups, group_size, records.source)
        mean, std, warnings = measure_points(sets, dims, records.source)
        draft = cls(
            column=name,
            dims=dims,
            normalise=normalise,
            groups=num,
            group_size=size,
            max_points=max_points,
            mean=mean,
            std=std,
        )
        notes = [
            f"sets of {rows.min()} to {rows.max()} points of {dims} coordinates and "
            f"{width - dims} feature(s) (override: --set dims=...)",
            f"{num} groups of {size} points, {num} tokens per sample: a point is in "
            f"{num * size / np.median(counts):.1f} groups (override: --set groups=...)",
        ]
        if normalise == "sample":
            notes.append(
                "each set is moved to its centroid and divided by its radius: its place and size "
                "are not seen (override: --set normalise=data)"
            )
        if rows.max() > max_points:
            notes.append(f"larger sets are thinned to {max_points} points (--set max_points=...)")
        scale, template = draft._typical(sets, rng, records.source)
        return replace(draft, scale=scale, template=template), notes + warnings

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def num_tokens(self) -> int:
        return self.groups

    @property
    def num_values(self) -> int:
        """Values of a point: C."""
        return len(self.mean)

    @property
    def mask_ratio(self) -> float:
        return 0.6  # Pang et al., arXiv:2203.06604, section 4.1

    @property
    def varies(self) -> bool:
        return True

    def describe(self) -> str:
        features = self.num_values - self.dims
        values = f"{self.dims} coordinates and {features} feature(s)"
        return f"sets of points, {values}, up to {self.groups} groups of {self.group_size}"

    def lengths(self, records: Records) -> Index | None:
        column = records[self.column]
        if len(column.shape) == 3 and column.shape[1] >= self.groups:
            return None
        # By the points that are stored, missing ones included, which is known without reading.
        return np.minimum(sizes_of(column)[:, 0], self.groups)

    def present(self, records: Records, index: Index) -> NDArray[np.bool_]:
        return np.array([_present(value) for value in records[self.column][index]], dtype=bool)

    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples.

        Returns:
            "groups" (B, N, K, C), coordinates relative to the centre; "centres" (B, N, A);
            "near" (B, N, 6), the nearest centres, -1 where there are fewer; "frame" (B, A + 1)
            float64, the place and size that were taken off; and "valid" (B, N, K) where not all
            points of all groups are there.
        """
        values = records[self.column][index]
        sets, frames = [], []
        for position, value in zip(index.tolist(), values, strict=True):
            points, frame = self._scaled(self._clean(records, position, value))
            if (farthest := np.abs(points).max()) > FARTHEST:
                raise records.error(
                    position,
                    f"field {self.column!r} must hold points within {FARTHEST:g} standard "
                    f"deviations of the training data; got {farthest:g}. Check their units.",
                )
            sets.append(points)
            frames.append(frame)
        # Sets of like length get one number of tokens, so that they are rounded alike.
        longest = max(len(value) for value in values)
        num = min(self.groups, -(-longest // MULTIPLE) * MULTIPLE)
        parts = self._groups(sets, num)
        batch = {"frame": torch.from_numpy(np.stack(frames))}
        for key in parts[0]:
            batch[key] = torch.from_numpy(np.concatenate([part[key] for part in parts]))
        if batch["valid"].all():
            del batch["valid"]
        return batch

    def _clean(self, records: Records, position: int, value: Any) -> Doubles:
        return clean(records, position, self.column, value, self.num_values, self.max_points)

    def _scaled(self, points: Doubles) -> tuple[Doubles, Doubles]:
        """Points in the units of the encoder, and the place and size taken off, (A + 1,)."""
        mean, std = np.array(self.mean), np.array(self.std)
        if self.normalise == "sample":
            places = points[:, : self.dims]
            mean[: self.dims], std[: self.dims] = places.mean(axis=0), radius(places) or 1.0
        return (points - mean) / std, np.append(mean[: self.dims], std[0])

    def _groups(self, sets: list[Doubles], num: int) -> list[dict[str, NDArray[Any]]]:
        """Cut scaled sets into groups, a few sets at a time."""
        step = max(1, CHUNK // (num * max(len(points) for points in sets)))
        parts = []
        for start in range(0, len(sets), step):
            part = cut_groups(sets[start : start + step], self.dims, num, self.group_size)
            part["groups"][..., : self.dims] /= self.scale
            parts.append(part)
        return parts

    def _typical(
        self, sets: list[Doubles], rng: np.random.Generator, source: str
    ) -> tuple[float, tuple[tuple[float, ...], ...]]:
        """Find the scale and the template, from some groups of the training sets."""
        some = rng.permutation(len(sets))[: -(-2 * STATISTICS_GROUPS // self.groups)]
        parts = self._groups([self._scaled(sets[n])[0] for n in some], self.groups)
        valid = np.concatenate([np.concatenate(part["valid"]) for part in parts])
        groups = np.concatenate([np.concatenate(part["groups"]) for part in parts])
        there = np.flatnonzero(valid.any(axis=1))
        chosen = rng.choice(there, min(len(there), STATISTICS_GROUPS), replace=False)
        return fit_template(groups[chosen], valid[chosen], self.dims, rng, source)

    def raw(self, records: Records, index: Index) -> Features:
        """Shape, place and size of each set, and moments of its features.

        The shape is that of `geometry.describe_shape`. Place and log size are in units of the
        training data, also where the encoder does not see them. Of the features there are means,
        deviations, and covariances with the coordinates.
        """
        rows = []
        values = records[self.column][index]
        for position, value in zip(index.tolist(), values, strict=True):
            points = self._clean(records, position, value)
            standard = (points - np.array(self.mean)) / np.array(self.std)
            places, features = np.split(standard, [self.dims], axis=1)
            centre, size = places.mean(axis=0), radius(places)
            across = ((places - centre) / (size or 1.0)).T @ features / len(points)
            moments = [features.mean(axis=0), features.std(axis=0), across.ravel()]
            place = [centre, [np.log(max(size, 1e-6))]]
            rows.append(np.concatenate([describe_shape(places), *place, *moments]))
        return np.stack(rows).astype(np.float32)

    @classmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        sets = np.empty(num, dtype=object)
        for row in range(num):
            points = rng.normal(size=(8 + 4 * (row % 8), 4)).astype(np.float32)
            points[:, 2] = np.abs(points[:, 0])
            sets[row] = points
        return Records({"X": sets}, "example")


def _present(value: Any) -> bool:
    """Whether a set has a point at all."""
    points = np.asarray(value)
    if value is None or points.size == 0:
        return False
    return points.dtype.kind != "f" or not np.isnan(points).any(axis=-1).all()
