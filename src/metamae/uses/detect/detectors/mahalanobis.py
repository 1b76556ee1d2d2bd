"""Distance from the mean of the normal samples, in units of their own spread.

Source: Rippel et al., ICPR 2020, arXiv:2005.14140 (a sample's features), and PaDiM: Defard et
al., ICPR 2021, arXiv:2011.08785 (a mean and a covariance for each place).
Differs: the shrinkage of Ledoit and Wolf instead of a constant on the diagonal. Where samples are
not aligned, a field has one mean and one covariance for all of its tokens; where a place has
fewer than 2 D tokens, or all covariances would not fit in memory, places share the covariance
around their own means. A sample adds the distance of its pooled features to the mean over its
strangest tokens, since what is strange may be all of it or a spot.
"""

from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_between
from metamae.data.columns.base import Index
from metamae.uses.detect.detectors.base import (
    Described,
    Detector,
    Floats,
    Strangeness,
    draw,
    means,
    strongest,
)

MOST_NUMBERS = 2**25  # of all covariances together, 256 MB
MOST_TOKENS = 200_000  # that are learnt from


class Mahalanobis(Detector):
    """Squared Mahalanobis distance of pooled samples, and of each token within its place.

    Args:
        top: Share of the strangest tokens whose mean is added; at least one token counts.
    """

    description: ClassVar[str] = "distance from the normal mean in units of the normal spread"

    def __init__(self, *, top: float = 0.1):
        self.top = check_between("Mahalanobis.top", top, 0, 1, closed=True)

    def fit(self, normal: Described, seed: int) -> None:
        pooled = normal.pooled
        self.whole = _Gauss(pooled.mean(axis=0), [_inverse_root(pooled - pooled.mean(axis=0))])
        chosen = draw(normal, MOST_TOKENS, np.random.default_rng(seed))
        features = normal.features[chosen].astype(np.float64)
        self.known, at = np.unique(normal.places[chosen], return_inverse=True)
        order = np.argsort(at, kind="stable")
        starts = np.searchsorted(at[order], np.arange(len(self.known) + 1))
        centres = means(features[order], starts)
        spread = features - centres[at]
        width = features.shape[1]
        together = len(self.known) * width**2 > MOST_NUMBERS
        if together or np.bincount(at).min() < 2 * width:
            roots = [_inverse_root(spread)]
        else:
            roots = [_inverse_root(spread[order[a:b]]) for a, b in pairwise(starts)]
        # A place that no normal sample has is measured from the mean of all.
        self.tokens = _Gauss(np.concatenate([centres, features.mean(axis=0)[None]]), roots)

    def score(self, described: Described) -> dict[str, Strangeness]:
        at = np.searchsorted(self.known, described.places).clip(max=len(self.known) - 1)
        at = np.where(self.known[at] == described.places, at, len(self.known))
        pooled = described.pooled
        whole = self.whole.distances(pooled, np.zeros(len(pooled), np.int64))
        tokens = self.tokens.distances(described.features, at)
        samples = whole + strongest(tokens, described.starts, self.top)
        return {self.name: Strangeness(samples, tokens)}


class _Gauss:
    """Means (G, D), or one (D,), and for each, or for all, a root of the inverse covariance."""

    def __init__(self, centres: Floats, roots: list[Floats]):
        self.centres, self.roots = np.atleast_2d(centres), roots

    def distances(self, features: NDArray[Any], at: Index) -> Floats:
        """Squared distance of features (T, D) from the mean of their place, divided by D."""
        found = np.empty(len(features))
        for place in np.unique(at):
            rows = at == place
            root = self.roots[min(int(place), len(self.roots) - 1)]
            found[rows] = (((features[rows] - self.centres[place]) @ root) ** 2).mean(axis=1)
        return found


def _inverse_root(centred: Floats) -> Floats:
    """Root of the inverse of the shrunk covariance: whitens what the rows vary in, (D, D)."""
    from sklearn.covariance import ledoit_wolf

    covariance, _ = ledoit_wolf(centred, assume_centered=True)
    values, vectors = np.linalg.eigh(covariance)
    floor = max(float(values[-1]), 1e-12) * 1e-9
    root: Floats = vectors / np.sqrt(np.maximum(values, floor))
    return root
