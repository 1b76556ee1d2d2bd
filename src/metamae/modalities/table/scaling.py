"""Numbers brought to one scale: by deviations, by a logarithm, or by rank.

Each scaling bends a value, or leaves it straight, and then counts standard deviations from the
mean of the bent training values. So the mean is 0 and the best constant guess, whatever the
scaling, and its squared error about 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Array

Numbers = NDArray[np.float64]

SCALINGS = ("standard", "log", "quantile")
# Limits of skewness and excess kurtosis beyond which a column counts as far from normal: West,
# Finch and Curran, in Structural Equation Modeling (ed. Hoyle), Sage 1995, chapter 4.
MOST_SKEWNESS = 2.0
MOST_KURTOSIS = 7.0
FEWEST_VALUES = 50  # below this, single values decide about skewness
MOST_NEGATIVE = 0.01  # share of negative values up to which a column may be all right tail
MOST_QUANTILES = 128
SMALLEST_UNIT = 1e-12  # of the largest value; what is smaller still is rounding, not magnitude
_LARGEST = float(np.finfo(np.float64).max)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How the numbers of one column are scaled.

    Args:
        kind: "standard" leaves values straight; "log" bends them by asinh(x / unit), which is
            linear about 0, logarithmic far from it, and keeps the sign; "quantile" gives them
            the normal score of their rank.
        mean: Mean of the bent values in the training data.
        std: Their standard deviation there.
        unit: Where "log" turns from linear to logarithmic.
        quantiles: Values at equally spaced ranks from the least to the greatest, ascending; for
            "quantile" only.
    """

    kind: str = "standard"
    mean: float = 0.0
    std: float = 1.0
    unit: float = 1.0
    quantiles: tuple[float, ...] = ()


class Scaler:
    """The scalings of several columns, applied to a block of rows at once.

    Args:
        scalings: One per column.
    """

    def __init__(self, scalings: Sequence[Scaling]):
        self.mean = np.array([s.mean for s in scalings])
        self.std = np.array([s.std for s in scalings])
        self.logs = np.array([n for n, s in enumerate(scalings) if s.kind == "log"], dtype=int)
        self.unit = np.array([scalings[n].unit for n in self.logs])
        self.ranks = {n: _knots(s.quantiles) for n, s in enumerate(scalings) if s.quantiles}

    def apply(self, values: Array) -> Numbers:
        """Scale values (B, C).

        NaN stays NaN. An infinite one stays infinite, and one too far from the training data for
        float64 becomes infinite; "log" and "quantile" make no finite value infinite.
        """
        bent = values.astype(np.float64)
        if len(self.logs):
            bent[:, self.logs] = _log(bent[:, self.logs], self.unit)
        for n, knots in self.ranks.items():
            bent[:, n] = _rank(bent[:, n], *knots)
        with np.errstate(over="ignore"):
            bent -= self.mean
            bent /= self.std
        return bent

    def undo(self, scaled: Numbers) -> Numbers:
        """Return the values (B, C) that `apply` gave these for; always finite."""
        with np.errstate(over="ignore"):
            bent = scaled * self.std + self.mean
            if len(self.logs):
                bent[:, self.logs] = np.sinh(bent[:, self.logs]) * self.unit
        for n, (known, scores) in self.ranks.items():
            bent[:, n] = np.interp(bent[:, n], scores, known)
        found: Numbers = np.clip(bent, -_LARGEST, _LARGEST)
        return found


def fit(values: Numbers, kind: str) -> Scaling:
    """Measure a column for one kind of scaling.

    Args:
        values: Its known values in the training data, finite; not all equal but for "standard".
        kind: One of `SCALINGS`.
    """
    unit, quantiles = 1.0, ()
    if kind == "log":
        sizes = np.abs(values[values != 0])
        # Low enough that nearly all values feel the logarithm, and no single one decides.
        unit = max(float(np.quantile(sizes, 0.05)), SMALLEST_UNIT * float(sizes.max()))
    elif kind == "quantile":
        # Values that occur, and none between them: that would part equal ones from their like.
        ranks = np.linspace(0, len(values) - 1, min(MOST_QUANTILES, len(values)))
        quantiles = tuple(np.sort(values)[ranks.round().astype(int)].tolist())
    straight = Scaling(kind=kind, unit=unit, quantiles=quantiles)
    mean, std = _moments(_bend(straight, values))
    return replace(straight, mean=mean, std=std)


def choose(values: Numbers, standard: Scaling, *, ranks: bool = True) -> Scaling:
    """Choose the scaling of a column: "standard", unless the column is clearly far from normal.

    That is where the skewness or the excess kurtosis exceeds its limit. Then "log", if there is
    hardly a negative value and the logarithm brings both within their limits; then "quantile",
    if that does; else whichever comes nearest, if it at least halves the excess. A rare flag,
    say, stays as it is, since nothing helps. Fewer than 50 values are too few to tell.

    Args:
        values: The known values of the training data, finite and not all equal.
        standard: What `fit` gives for "standard".
        ranks: Whether "quantile" may be chosen.
    """
    if len(values) < FEWEST_VALUES:
        return standard
    excess, skewness = _shape(standard, values)
    if excess <= 1:
        return standard
    kinds = ["log"] if skewness > 0 and (values < 0).mean() <= MOST_NEGATIVE else []
    kinds += ["quantile"] if ranks else []
    best, least = standard, excess / 2
    for kind in kinds:
        scaling = fit(values, kind)
        found, _ = _shape(scaling, values)
        if found <= 1:
            return scaling
        if found <= least:
            best, least = scaling, found
    return best


def _shape(scaling: Scaling, values: Numbers) -> tuple[float, float]:
    """How far scaled values exceed the limits of a normal column, and their skewness."""
    scaled = (_bend(scaling, values) - scaling.mean) / scaling.std
    squares = scaled * scaled
    skewness, kurtosis = float((squares * scaled).mean()), float((squares * squares).mean()) - 3
    return max(abs(skewness) / MOST_SKEWNESS, kurtosis / MOST_KURTOSIS), skewness


def _bend(scaling: Scaling, values: Numbers) -> Numbers:
    if scaling.kind == "log":
        return _log(values, scaling.unit)
    return _rank(values, *_knots(scaling.quantiles)) if scaling.quantiles else values


def _log(values: Numbers, unit: Numbers | float) -> Numbers:
    with np.errstate(over="ignore"):
        ratio = np.clip(values / unit, -_LARGEST, _LARGEST)
    return np.where(np.isinf(values), values, np.arcsinh(ratio))


def _rank(values: Numbers, known: Numbers, scores: Numbers) -> Numbers:
    return np.where(np.isinf(values), values, np.interp(values, known, scores))


def _moments(values: Numbers) -> tuple[float, float]:
    """Mean and standard deviation of values of any size, whose squares may not be numbers."""
    _, exponent = np.frexp(np.abs(values).max())
    scaled = np.ldexp(values, -exponent)  # exact: by a power of two
    mean, std = np.ldexp([scaled.mean(), scaled.std()], exponent)
    return float(mean), float(std)


def _knots(quantiles: tuple[float, ...]) -> tuple[Numbers, Numbers]:
    """Different values and the normal score of each; equal values share their mean score."""
    normal, count = NormalDist(), len(quantiles)
    scores = np.array([normal.inv_cdf((n + 0.5) / count) for n in range(count)])
    values, at = np.unique(np.array(quantiles), return_inverse=True)
    return values, np.bincount(at, scores) / np.bincount(at)
