"""What pretraining has to beat: the same samples as raw features, PCA and an untrained encoder."""

import numpy as np
from numpy.typing import NDArray

from metamae.embedding import gather
from metamae.modalities.base import Modality
from metamae.pretrained import Pretrained
from metamae.records import Records

Features = NDArray[np.float32]
CHUNK = 1024  # samples read at once
# Above this many raw features PCA is fitted on so many samples at most, and not on all.
PCA_SAMPLES = 10_000


def represent(
    pretrained: Pretrained, train: Records, test: Records, *, seed: int
) -> dict[str, tuple[Features, Features]]:
    """Describe training and test samples in every way that is compared.

    PCA has as many components as the encoder is wide, or as the data allow, and is fitted on
    the training samples without their labels.

    Returns:
        Name -> features of the training samples (S, F) and of the test samples: the method's
        own name, "untrained", "pca" and "raw".
    """
    from sklearn.decomposition import PCA

    spec = pretrained.schema.modality
    raw = raw_features(spec, train), raw_features(spec, test)
    some = raw[0]
    if len(some) > PCA_SAMPLES:
        some = some[np.random.default_rng(seed).choice(len(some), PCA_SAMPLES, replace=False)]
    width = pretrained.module.backbone.tokenizer.width
    components = min(width, some.shape[1], len(some) - 1)
    pca = PCA(max(1, components), svd_solver="auto", random_state=seed).fit(some)
    untrained = pretrained.untrained()
    return {
        pretrained.config.method: (_embed(pretrained, train), _embed(pretrained, test)),
        "untrained": (_embed(untrained, train), _embed(untrained, test)),
        "pca": (pca.transform(raw[0]), pca.transform(raw[1])),
        "raw": raw,
    }


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
