"""The nearest among many vectors, exactly.

A block of stored vectors is compared with all queries by one matrix product, and only the best so
far are kept: for up to some millions of vectors this is faster than building an index that finds
most of them.

M stored vectors, Q queries, D width.
"""

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.errors import DataError

Vectors = NDArray[np.float32]
MEASURED_FROM = 20_000  # stored vectors that the spread is measured on
NUMBERS = 2**24  # similarities in memory at a time, 64 MB
LEAST = 1e-6  # of the largest variance: directions of less are dropped


class Space:
    """Vectors in which a cosine tells likeness.

    Centred, and each principal direction divided by the fourth root of its variance: half of a
    whitening. Embeddings vary in a few directions only, often those of size or brightness, which
    drown all others in a plain cosine; whitened fully, noise counts as much as they do.

    Args:
        vectors: Stored vectors, (M, D), M >= 1.
        seed: Of the subsample that the spread is measured on.

    Raises:
        DataError: If a vector is not finite.
    """

    def __init__(self, vectors: Vectors, seed: int = 0):
        rows = np.arange(len(vectors))
        if len(rows) > MEASURED_FROM:
            chosen = np.random.default_rng(seed).choice(len(rows), MEASURED_FROM, replace=False)
            rows = np.sort(chosen)
        some = np.asarray(vectors[rows], dtype=np.float64)
        if not np.isfinite(some).all():
            raise DataError("Vectors to search in must be finite; got NaN or infinity.")
        self.mean = some.mean(axis=0)
        spread = some - self.mean
        values, directions = np.linalg.eigh(spread.T @ spread / len(some))
        kept = values > LEAST * values[-1]
        if values[-1] <= 0:  # all alike: any direction is as good as another
            kept, values = np.ones(len(values), dtype=bool), np.ones(len(values))
        self.root = directions[:, kept] / values[kept] ** 0.25

    def __call__(self, vectors: Vectors) -> Vectors:
        """Bring vectors (M, D) to unit length in this space; one at the mean stays at zero."""
        moved = ((vectors - self.mean) @ self.root).astype(np.float32)
        length = np.linalg.norm(moved, axis=1, keepdims=True)
        unit: Vectors = moved / np.maximum(length, np.float32(1e-12))
        return unit


def nearest(
    queries: Vectors, stored: Vectors, space: Space, k: int, itself: Index | None = None
) -> tuple[Index, Vectors]:
    """Find the k most similar stored vectors of each query.

    Args:
        queries: (Q, D).
        stored: (M, D), in memory or mapped from disk.
        space: What is similar.
        k: How many; less if there are fewer.
        itself: Position of each query among the stored, (Q,), which is left out; None if they are
            others.

    Returns:
        Positions (Q, k), the most similar first and of equals the first; their cosines, (Q, k).
    """
    total = len(stored)
    k = max(0, min(k, total - (itself is not None)))
    wanted = space(queries)
    best = np.full((len(queries), 0), -np.inf, dtype=np.float32)
    where = np.zeros((len(queries), 0), dtype=np.int64)
    step = max(1, NUMBERS // max(1, len(queries), stored.shape[1]))
    for start in range(0, total, step):
        found = wanted @ space(stored[start : start + step]).T  # (Q, step)
        if itself is not None:
            own = np.flatnonzero((itself >= start) & (itself < start + found.shape[1]))
            found[own, itself[own] - start] = -np.inf
        at = _best(found, k)
        best = np.concatenate([best, np.take_along_axis(found, at, axis=1)], axis=1)
        where = np.concatenate([where, at + start], axis=1)
        top = _best(best, k)
        best = np.take_along_axis(best, top, axis=1)
        where = np.take_along_axis(where, top, axis=1)
    return where, best


def _best(values: Vectors, k: int) -> Index:
    """Places of the k largest of each row, the largest first and of equals the first."""
    columns = values.shape[1]
    if k >= columns:
        return np.argsort(-values, axis=1, kind="stable")
    if k == 0:
        return np.zeros((len(values), 0), dtype=np.int64)
    edge = np.partition(values, columns - k, axis=1)[:, columns - k]
    rows = []
    for row, least in zip(values, edge, strict=True):
        # All above the edge, then as many at the edge as there is room for.
        some = np.concatenate([np.flatnonzero(row > least), np.flatnonzero(row == least)])[:k]
        some.sort()
        rows.append(some[np.argsort(-row[some], kind="stable")])
    return np.stack(rows)
