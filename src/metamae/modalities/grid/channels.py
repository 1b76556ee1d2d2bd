"""What is measured of each channel: the scale of the training data, and a summary of one sample."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.records import Records
from metamae.errors import DataError

POOLED = 256  # averages that a summary holds at most


def scale(
    samples: NDArray[Any] | Sequence[NDArray[Any]], records: Records
) -> tuple[tuple[float, ...], tuple[float, ...], list[str]]:
    """Measure mean and standard deviation of each channel, NaN left out.

    Args:
        samples: (S, C, *size), or as many arrays (C, *size) of different sizes.
        records: Where they come from, to name one that is broken.

    Returns:
        Means (C,), standard deviations (C,), 1 where it is 0, and warnings.

    Raises:
        DataError: If a value is infinite, a sample or a channel holds nothing, or all is constant.
    """
    if isinstance(samples, np.ndarray):
        S, C = samples.shape[:2]
        rows = np.moveaxis(samples, 1, 0).astype(np.float64, order="C").reshape(C, S, -1)
        infinite, empty = np.isinf(rows).any(axis=(0, 2)), np.isnan(rows).all(axis=(0, 2))
        flat = rows.reshape(C, -1)
    else:
        flat = np.concatenate([v.reshape(len(v), -1).astype(np.float64) for v in samples], axis=1)
        infinite = np.array([bool(np.isinf(v).any()) for v in samples])
        empty = np.array([bool(np.isnan(v).all()) for v in samples])
    _refuse(np.asarray(infinite), np.asarray(empty), records)
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
    constant = np.flatnonzero(std <= 1e-12 * np.abs(mean))
    if len(constant) == len(std):
        raise DataError(
            f"{records.source}: values must vary; got the constant {mean[0]:g} everywhere. There "
            f"is nothing to learn from."
        )
    warnings = [f"channel {c} is constant: it carries nothing" for c in constant]
    std[constant] = 1.0
    return tuple(mean.tolist()), tuple(std.tolist()), warnings


def _refuse(infinite: NDArray[np.bool_], empty: NDArray[np.bool_], records: Records) -> None:
    for broken, got in (
        (infinite, "infinity. NaN marks a value as missing"),
        (empty, "only NaN. Leave this sample out"),
    ):
        if broken.any():
            raise records.error(
                int(broken.argmax()),
                f"values must be finite numbers, or NaN where they are missing; got {got}.",
            )


def summary(values: Tensor) -> Tensor:
    """Describe a sample of any size by a fixed number of values, NaN left out.

    Args:
        values: (C, *size) float32.

    Returns:
        Mean, standard deviation, minimum and maximum of each channel, and if there are few enough
        channels the averages over equal parts of each axis, at most 256 in all; 0 where nothing is
        known.
    """
    C, axes = len(values), values.ndim - 1
    there = ~values.isnan()
    flat, known = values.nan_to_num(0.0).flatten(1), there.flatten(1)
    count = known.sum(dim=1).clamp(min=1)
    mean = flat.sum(dim=1) / count
    std = (((flat - mean[:, None]) * known).square().sum(dim=1) / count).sqrt()
    some = known.any(dim=1)
    low = flat.masked_fill(~known, float("inf")).amin(dim=1).where(some, 0.0)
    high = flat.masked_fill(~known, float("-inf")).amax(dim=1).where(some, 0.0)
    parts = [mean, std, low, high]
    side = int((POOLED // C) ** (1 / axes) + 1e-9)
    if side > 1:
        pools: tuple[Callable[..., Tensor], ...] = (
            F.adaptive_avg_pool1d,
            F.adaptive_avg_pool2d,
            F.adaptive_avg_pool3d,
        )
        sums, shares = (
            pools[axes - 1](v[None], (side,) * axes)[0]
            for v in (values.nan_to_num(0.0), there.float())
        )
        parts.append((sums / shares.clamp(min=1e-6)).flatten())
    return torch.cat(parts)
