"""Few-shot episodes: a few labelled samples of a few classes, and the rest to be told apart.

Source: Jang et al., Unsupervised Meta-Learning via Few-shot Pseudo-supervised Contrastive Learning
(PsCo), ICLR 2023, arXiv:2303.00996, section 3.3: prototypes are means of unit vectors, and a query
belongs to the prototype of highest cosine; with `adapter`, a linear map is fitted to each
episode's labelled samples first, so that those of a class lie together. After Snell et al.,
Prototypical Networks, NeurIPS 2017, arXiv:1703.05175.
Differs: features of any kind are brought to one scale by all samples without their labels; the
adapter is one linear map that starts as the identity, where the source retrains projector and
predictor; episodes respect groups.

S samples, F features, W ways (classes of an episode), K shots, Q queries of each class.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_at_least
from metamae.data.columns.base import Index
from metamae.errors import DataError
from metamae.evaluation.scoring.task import Array

Floats = NDArray[np.float64]
# Of the adapter: arXiv:2303.00996, appendix A.
ITERATIONS, LR, MOMENTUM, DECAY, TEMPERATURE = 50, 0.01, 0.9, 1e-3, 0.2
MOST_ADAPTED = 256  # features that an adapter mixes; more are reduced to principal components


@dataclass(frozen=True)
class Episode:
    """One task.

    Attributes:
        shots: Positions of the labelled samples, (W, K).
        queries: Positions of the samples to be told apart, (W, Q).
    """

    shots: Index
    queries: Index


@dataclass(frozen=True)
class Sampler:
    """Draws episodes from labelled samples.

    Args:
        labels: Class codes, (S,); negative for none.
        ways: Classes of an episode.
        shots: Labelled samples of each class.
        queries: Other samples of each class, at most; fewer where a class has no more.
        groups: Group of each sample, (S,); no group is then both among shots and queries.

    Raises:
        ConfigError: If a number is out of range.
        DataError: If fewer than two classes have samples enough.
    """

    labels: Array
    ways: int = 5
    shots: int = 1
    queries: int = 15
    groups: Array | None = None

    def __post_init__(self) -> None:
        check_at_least("FewShot.ways", self.ways, 2)
        check_at_least("FewShot.shots", self.shots, 1)
        check_at_least("FewShot.queries", self.queries, 1)
        found = len(self.classes)
        if found < self.ways:
            raise DataError(
                f"FewShot.ways must be at most the number of classes with {self.shots + 1} samples "
                f"{'of two groups ' if self.groups is not None else ''}or more; got {self.ways} "
                f"for {found}. {found if found >= 2 else 'Other labels'} would do."
            )

    @property
    def classes(self) -> Index:
        """Codes of the classes that can be part of an episode."""
        codes, counts = np.unique(self.labels[self.labels >= 0], return_counts=True)
        enough = counts > self.shots
        if self.groups is not None:
            several = [len(np.unique(self.groups[self.labels == code])) > 1 for code in codes]
            enough &= np.array(several, dtype=bool)
        found: Index = codes[enough]
        return found

    def draw(self, rng: np.random.Generator) -> Episode:
        """Draw an episode; classes of too few queries get some twice, so that all count alike."""
        chosen = rng.choice(self.classes, self.ways, replace=False)
        shots, queries = [], []
        for code in chosen:
            own = rng.permutation(np.flatnonzero(self.labels == code))
            labelled, rest = self._parted(own, rng)
            shots.append(labelled)
            queries.append(np.resize(rest[: self.queries], self.queries))
        return Episode(np.stack(shots), np.stack(queries))

    def _parted(self, own: Index, rng: np.random.Generator) -> tuple[Index, Index]:
        """Divide the samples of a class into shots and possible queries."""
        if self.groups is None:
            return own[: self.shots], own[self.shots :]
        names = rng.permutation(np.unique(self.groups[own]))
        # Groups are taken for the shots one by one, until there are enough; one is left.
        for taken in range(1, len(names)):
            inside = np.isin(self.groups[own], names[:taken])
            if inside.sum() >= self.shots or taken == len(names) - 1:
                break
        return np.resize(own[inside], self.shots), own[~inside]


def prepare(features: Array, *, columns: bool) -> Floats:
    """Bring features (S, F) to one scale by all samples, without a look at a label.

    Args:
        features: Of all samples.
        columns: Divide each by its own standard deviation, as raw columns in different units need.
    """
    centred: Floats = features.astype(np.float64) - features.mean(axis=0)
    if columns:
        spread = centred.std(axis=0)
        centred /= np.where(spread > 0, spread, 1.0)
    return centred


def accuracy(features: Floats, episode: Episode, *, adapter: bool) -> float:
    """Share of an episode's queries that lie nearest to their own prototype.

    Args:
        features: Of all samples, from `prepare`, (S, F).
        episode: The task.
        adapter: Whether a linear map is fitted to the labelled samples first.
    """
    shots, queries = features[episode.shots], features[episode.queries]  # (W, K, F), (W, Q, F)
    if adapter:
        change = adapt(shots)
        shots, queries = shots @ change, queries @ change
    prototypes = unit(unit(shots).mean(axis=1))  # (W, F)
    nearest = (unit(queries) @ prototypes.T).argmax(axis=2)  # (W, Q)
    return float((nearest == np.arange(len(nearest))[:, None]).mean())


def adapt(shots: Floats) -> Floats:
    """Fit a linear map (F, F) under which samples of one class lie together and others apart.

    The loss of each sample is the cross-entropy of its cosine to the prototypes of all classes.

    Args:
        shots: Labelled samples, (W, K, F).
    """
    W, K, F = shots.shape
    x = unit(shots).reshape(W * K, F)
    own = np.repeat(np.eye(W), K, axis=0)  # (W K, W)
    change, speed = np.eye(F), np.zeros((F, F))
    for _ in range(ITERATIONS):
        y = x @ change
        length = np.linalg.norm(y, axis=1, keepdims=True).clip(1e-12)
        z = y / length
        prototypes = own.T @ z / K
        logits = z @ prototypes.T / TEMPERATURE
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        slope = (shares / shares.sum(axis=1, keepdims=True) - own) / (len(x) * TEMPERATURE)
        # Samples move, and with them the prototypes that they are part of.
        wanted = slope @ prototypes + own @ (slope.T @ z) / K
        wanted = (wanted - (wanted * z).sum(axis=1, keepdims=True) * z) / length
        speed = MOMENTUM * speed + x.T @ wanted + DECAY * change
        change = change - LR * speed
    return change


def unit(x: Floats) -> Floats:
    """Divide vectors by their length; one of length 0 stays."""
    length = np.linalg.norm(x, axis=-1, keepdims=True)
    return np.asarray(x / np.where(length > 0, length, 1.0))
