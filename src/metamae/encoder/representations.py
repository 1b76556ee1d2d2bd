"""What pretraining has to beat: the same samples as raw features, PCA and an untrained encoder."""

import numpy as np
from numpy.typing import NDArray

from metamae.data.records import Records
from metamae.encoder.embedding import gather
from metamae.encoder.pretrained import Pretrained
from metamae.modalities.base import Modality

Features = NDArray[np.float32]
CHUNK = 1024  # samples read at once
# Above this many raw features PCA is fitted on so many samples at most, and not on all.
PCA_SAMPLES = 10_000


def represent(
    pretrained: Pretrained, train: Records, test: Records, *, seed: int
) -> dict[str, tuple[Features, Features]]:
    """Describe training and test samples in every way that is compared.

    Returns:
        Name -> features of the training samples (S, F) and of the test samples: the method's
        own name, "untrained", "pca" and "raw".
    """
    spec = pretrained.schema.modality
    raw = raw_features(spec, train), raw_features(spec, test)
    return {
        pretrained.config.method: embeddings(pretrained, train, test),
        "untrained": embeddings(pretrained.untrained(), train, test),
        "pca": pca_features(*raw, components=pretrained.embedding_width, seed=seed),
        "raw": raw,
    }


def embeddings(pretrained: Pretrained, train: Records, test: Records) -> tuple[Features, Features]:
    """Embed training and test samples, (S, D) each."""
    return _embed(pretrained, train), _embed(pretrained, test)


def pca_features(
    train: Features, test: Features, *, components: int, seed: int
) -> tuple[Features, Features]:
    """Project raw features on principal components, fitted on the training samples.

    Args:
        train: Raw features of training samples, (S, F).
        test: Of test samples.
        components: How many, or as many as the data allow.
        seed: Of the subsample it is fitted on, where there are very many samples.
    """
    from sklearn.decomposition import PCA

    some = train
    if len(some) > PCA_SAMPLES:
        some = some[np.random.default_rng(seed).choice(len(some), PCA_SAMPLES, replace=False)]
    most = max(1, min(components, some.shape[1], len(some) - 1))
    pca = PCA(most, svd_solver="auto", random_state=seed).fit(some)
    return pca.transform(train), pca.transform(test)


def raw_features(spec: Modality, records: Records) -> Features:
    """Samples as plain features without any learning, (S, F), read in chunks.

    A sample in several pieces gets the mean over them, as its embedding does.
    """
    pieces, owner = spec.unfold(records)
    positions = np.arange(len(pieces))
    starts = range(0, len(pieces), CHUNK)
    rows = np.concatenate([spec.raw(pieces, positions[start : start + CHUNK]) for start in starts])
    return rows if owner is None else gather(rows, owner, len(records))


def _embed(pretrained: Pretrained, records: Records) -> Features:
    vectors = pretrained.embed(records)
    assert isinstance(vectors, np.ndarray)
    return vectors
