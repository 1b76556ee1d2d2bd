"""Records in, one vector per sample or per token out: nothing hidden, nothing drawn.

Matrix products of different sizes may round differently, so a sample's last digits would depend
on its companions. Here they do not: samples are sorted by length rounded up to a multiple of 8,
and each is computed in a micro-batch whose shape follows from that length alone.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.backbone import Backbone, pool, pool_regions
from metamae.columns import Index
from metamae.modalities.base import Modality
from metamae.records import Records
from metamae.training.batches import to_device

Vectors = NDArray[np.float32]
MULTIPLE = 8
# Tokens of a micro-batch. On a CPU few, since one sample costs as much as a full micro-batch.
TOKENS = {"cpu": 2048, "cuda": 65536}
Progress = Callable[[int, int], None]
"""Called with the number of samples done and the number of all."""


def embed_samples(
    backbone: Backbone, spec: Modality, records: Records, progress: Progress | None = None
) -> Vectors:
    """Embed samples: the mean over each one's encoded tokens, (S, D) float32.

    Where the modality has regions, the mean over each of them, (S, R D). A sample in several
    pieces gets the mean over the tokens of all of them.

    Raises:
        DataError: If a sample does not fit the spec.
    """
    pieces, owner = spec.unfold(records)
    width = spec.embedding_width(backbone.tokenizer.width)
    vectors = np.empty((len(pieces), width), dtype=np.float32)
    weights = np.ones(len(pieces))
    own, regions = spec.token_regions, None
    if own is not None:
        regions = torch.from_numpy(own).to(next(backbone.parameters()).device)
    done = 0
    for index, latent, padding in _encoded(backbone, spec, pieces):
        if regions is None:
            pooled = pool(latent, padding)
        else:
            pooled = pool_regions(latent, padding, regions)
        vectors[index] = pooled[: len(index)].cpu().numpy()
        if padding is not None:
            weights[index] = (~padding).sum(dim=1)[: len(index)].cpu().numpy()
        else:
            weights[index] = latent.shape[1]
        done += len(index)
        if progress is not None:
            progress(done, len(pieces))
    return vectors if owner is None else gather(vectors, owner, len(records), weights)


def embed_tokens(
    backbone: Backbone, spec: Modality, records: Records, progress: Progress | None = None
) -> list[Vectors]:
    """Embed tokens: for each sample an array (N, D) float32 of the tokens that are there.

    The tokens of a sample in several pieces stand one piece behind the other.
    """
    pieces, owner = spec.unfold(records)
    vectors: list[Vectors] = [np.empty(0, dtype=np.float32)] * len(pieces)
    done = 0
    for index, latent, padding in _encoded(backbone, spec, pieces):
        for row, position in enumerate(index):
            there = latent[row] if padding is None else latent[row][~padding[row]]
            vectors[position] = there.cpu().numpy()
        done += len(index)
        if progress is not None:
            progress(done, len(pieces))
    if owner is None:
        return vectors
    starts = owner.searchsorted(np.arange(len(records) + 1))
    return [np.concatenate(vectors[start:stop]) for start, stop in pairwise(starts)]


def gather(
    values: Vectors, owner: Index, num_samples: int, weights: NDArray[np.float64] | None = None
) -> Vectors:
    """Weighted mean over the pieces of each sample: (W, F) -> (S, F).

    Args:
        values: One row per piece.
        owner: Position of each piece's sample, (W,); every sample has a piece.
        num_samples: S.
        weights: Of the pieces, (W,); None for equal ones.
    """
    if weights is None:
        weights = np.ones(len(values))
    sums = np.zeros((num_samples, values.shape[1]))
    np.add.at(sums, owner, values * weights[:, None])
    total = np.bincount(owner, weights, num_samples)
    return (sums / total[:, None]).astype(np.float32)


@torch.no_grad()
def _encoded(
    backbone: Backbone, spec: Modality, records: Records
) -> Iterator[tuple[Index, torch.Tensor, torch.Tensor | None]]:
    device = next(backbone.parameters()).device
    training = backbone.training
    backbone.eval()
    try:
        for index, rows in micro_batches(spec, records, TOKENS.get(device.type, 2048)):
            # The last one is filled up with copies, so that all have the same shape.
            filled = np.concatenate([index, np.repeat(index[-1:], rows - len(index))])
            batch = to_device(spec.batch(records, filled), device)
            latent, padding = backbone.token_features(batch, MULTIPLE)
            yield index, latent, padding
    finally:
        backbone.train(training)


def micro_batches(spec: Modality, records: Records, tokens: int) -> Iterator[tuple[Index, int]]:
    """Yield positions of samples of like length, and the number of rows to compute them in."""
    lengths = spec.lengths(records)
    if lengths is None:
        lengths = np.full(len(records), spec.num_tokens)
    rounded = -(-lengths.reshape(len(records), -1) // MULTIPLE) * MULTIPLE
    shapes, belongs = np.unique(rounded, axis=0, return_inverse=True)
    for number, shape in enumerate(shapes):
        positions = np.flatnonzero(belongs.ravel() == number)
        rows = max(1, tokens // max(1, int(shape.sum())))
        for start in range(0, len(positions), rows):
            yield positions[start : start + rows], rows
