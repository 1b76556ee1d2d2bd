"""A bank of normal tokens: strange is what has no near one in it.

Source: the half of WinCLIP+ that needs no text: Jeong et al., CVPR 2023, arXiv:2303.14814,
section 4.3: half of one minus the largest cosine to a memory, at several scales; a sample adds
the score of the whole to the largest of its tokens. Euclidean distance, and bounding the memory
by a greedy coreset: PatchCore, Roth et al., CVPR 2022, arXiv:2106.08265.
Differs: windows are a token with its neighbours, whatever the modality (all of a sample's tokens
where it has no geometry). Features are whitened by the covariance of the normal ones, since
without text nothing fixes the origin of the embeddings or the weight of their directions. The
distance is Euclidean by default: a cosine is blind to a value that is merely too large.
"""

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_at_least, check_between, check_one_of
from metamae.data.columns.base import Index
from metamae.uses.detect.detectors.base import Described, Detector, Floats, Strangeness, strongest

Vectors = NDArray[np.float32]
CANDIDATES = 10  # times as many tokens as the memory holds are looked at for a coreset
PROJECTED = 32  # numbers that distances between candidates are measured in
LEAST_SHARE = 1e-3  # of the mean variance, added to that of each direction
AT_ONCE = 2**24  # distances in memory at a time, 64 MB


class Memory(Detector):
    """Distance to the nearest in a bounded memory of normal tokens, windows and samples.

    Args:
        distance: "euclidean", or "cosine": half of one minus the cosine.
        size: Tokens in the memory of each scale.
        selection: "random", or "coreset": greedily the token that is farthest from all chosen.
        top: Share of the strangest tokens whose mean is a sample's; at least one token counts.
    """

    description: ClassVar[str] = "distance to the nearest in a bounded memory of normal tokens"

    def __init__(
        self,
        *,
        distance: str = "euclidean",
        size: int = 2000,
        selection: str = "random",
        top: float = 0.1,
    ):
        self.distance = check_one_of("Memory.distance", distance, ("euclidean", "cosine"))
        self.size = check_at_least("Memory.size", size, 1)
        self.selection = check_one_of("Memory.selection", selection, ("random", "coreset"))
        self.top = check_between("Memory.top", top, 0, 1, closed=True)

    def fit(self, normal: Described, seed: int) -> None:
        rng = np.random.default_rng(seed)
        # Tokens and their windows are chosen separately, and a sample is a window of all tokens.
        self.banks = []
        for features in (normal.features, normal.around, normal.pooled.astype(np.float32)):
            scaling = _Scaling(features, directions=self.distance == "cosine")
            self.banks.append((scaling, self._choose(scaling(features), rng)))

    def score(self, described: Described) -> dict[str, Strangeness]:
        small, wide, whole = (
            _distances(scaling(features), bank, directions=scaling.directions)
            for features, (scaling, bank) in zip(
                (described.features, described.around, described.pooled.astype(np.float32)),
                self.banks,
                strict=True,
            )
        )
        tokens = (small + wide) / 2
        samples = whole + strongest(tokens, described.starts, self.top)
        return {self.name: Strangeness(samples, tokens)}

    def _choose(self, vectors: Vectors, rng: np.random.Generator) -> Vectors:
        if self.selection == "random":
            return vectors[_some(len(vectors), self.size, rng)]
        candidates = vectors[_some(len(vectors), CANDIDATES * self.size, rng)]
        return candidates[coreset(candidates, self.size, rng)]


class _Scaling:
    """Whitened by the normal samples: a distance of 1 is usual. Of length 1 for directions."""

    def __init__(self, features: Vectors, *, directions: bool):
        rows = features.astype(np.float64)
        self.mean = rows.mean(axis=0)
        covariance = np.atleast_2d(np.cov(rows - self.mean, rowvar=False))
        values, vectors = np.linalg.eigh(covariance)
        floor = max(LEAST_SHARE * float(values.mean()), 1e-12)
        # Divided by the width too, so that the scales of a mixture of distances are alike.
        self.root = vectors / np.sqrt((np.maximum(values, 0) + floor) * 2 * len(values))
        self.directions = directions

    def __call__(self, features: Vectors) -> Vectors:
        scaled = (features - self.mean) @ self.root
        if self.directions:
            length = np.linalg.norm(scaled, axis=1, keepdims=True)
            scaled = scaled / np.maximum(length, 1e-12)
        found: Vectors = scaled.astype(np.float32)
        return found


def coreset(vectors: Vectors, most: int, rng: np.random.Generator) -> Index:
    """Choose vectors so that none is far from all chosen: greedily the farthest each time.

    Args:
        vectors: (T, D).
        most: How many.
        rng: Of the first one, and of the projection that distances are measured in.
    """
    if len(vectors) <= most:
        return np.arange(len(vectors))
    width = vectors.shape[1]
    if width > PROJECTED:
        random = rng.normal(size=(width, PROJECTED)).astype(np.float32)
        vectors = vectors @ random / np.float32(PROJECTED**0.5)
    lengths = (vectors**2).sum(axis=1)
    chosen = [int(rng.integers(len(vectors)))]
    nearest = np.full(len(vectors), np.inf, dtype=np.float32)
    while len(chosen) < most:
        last = chosen[-1]
        away = lengths - 2 * (vectors @ vectors[last]) + lengths[last]
        np.minimum(nearest, away, out=nearest)
        nearest[last] = -np.inf
        chosen.append(int(nearest.argmax()))
    return np.array(chosen)


def _some(total: int, most: int, rng: np.random.Generator) -> Index:
    if total <= most:
        return np.arange(total)
    return np.sort(rng.choice(total, most, replace=False))


def _distances(vectors: Vectors, bank: Vectors, *, directions: bool) -> Floats:
    """Distance to the nearest of the bank, (T,); of directions half of one minus the cosine."""
    found = np.empty(len(vectors))
    lengths = (bank**2).sum(axis=1)
    step = max(1, AT_ONCE // len(bank))
    for start in range(0, len(vectors), step):
        part = vectors[start : start + step]
        near = (lengths - 2 * (part @ bank.T)).argmin(axis=1)
        # From the difference itself: that of two large squares would be rounded off.
        found[start : start + step] = ((part - bank[near]) ** 2).sum(axis=1)
    return found / 4 if directions else np.sqrt(found)
