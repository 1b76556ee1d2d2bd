"""Series brought from one sampling rate to another."""

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

# Rates further apart are a slip, such as a rate in kHz; following it could fill the memory.
FARTHEST = 1000
FINEST = 1000  # about the largest number in the ratio of two rates


def ratio(rate: float, target: float) -> tuple[int, int]:
    """Return whole numbers (up, down) with up / down close to target / rate.

    The error is at most one part in 1,000, and there is none for the rates that recorders have.
    """
    faster = target >= rate
    exact = Fraction(target / rate if faster else rate / target)
    near = exact.limit_denominator(max(1, round(FINEST / exact)))
    return (near.numerator, near.denominator) if faster else (near.denominator, near.numerator)


def resampled_lengths(points: NDArray[np.int64], rates: Array, target: float) -> NDArray[np.int64]:
    """Points of series (S,) after `resample` from each one's rate, (S,) or one for all."""
    found, which = np.unique(rates, return_inverse=True)
    steps = np.array([ratio(float(rate), target) for rate in found]).reshape(-1, 2)
    up, down = steps[which.reshape(np.shape(rates))].T
    lengths: NDArray[np.int64] = -(-points * up // down)
    return lengths


def resample(values: Array, rate: float, target: float) -> Array:
    """Bring a series (C, L) to another rate with a polyphase low-pass filter.

    What is NaN stays missing: the filter passes over values filled in between the known ones, and
    a point is NaN where less than half of what the filter weighs there was known.

    Args:
        values: The series.
        rate: Points per second, or per any other unit, of the series.
        target: Points per that unit of the result.

    Returns:
        (C, L') float64, or float32 if the series is; itself if its rate is right already.
    """
    up, down = ratio(rate, target)
    if up == down or values.shape[-1] == 0:
        return values
    from scipy.signal import resample_poly

    precise = values.astype(np.float64)
    known = ~np.isnan(precise)
    count = np.maximum(known.sum(axis=-1, keepdims=True), 1)
    # The filter passes a constant on with an error of 1 in 10,000: far from zero, more than the
    # signal itself.
    mean = np.where(known, precise, 0).sum(axis=-1, keepdims=True) / count
    centred = precise - mean
    if not known.all():
        centred = np.stack([_filled(row, there) for row, there in zip(centred, known, strict=True)])
    found = mean + resample_poly(centred, up, down, axis=-1, padtype="line")
    if not known.all():
        share = resample_poly(known.astype(np.float64), up, down, axis=-1, padtype="edge")
        found = np.where(share >= 0.5, found, np.nan)
    return np.asarray(found.astype(values.dtype if values.dtype == np.float32 else np.float64))


def _filled(row: Array, there: NDArray[np.bool_]) -> Array:
    at = np.arange(len(row))
    return np.interp(at, at[there], row[there]) if there.any() else np.zeros_like(row)
