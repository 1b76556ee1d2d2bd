"""Runs of symbols, counted: features without any learning."""

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index

BUCKETS = 2048  # that runs of each length are hashed into


def count_grams(
    ids: Index, there: NDArray[np.bool_], size: int, longest: int
) -> NDArray[np.float32]:
    """Logarithms of 1 + the number of runs of 1 to `longest` symbols, in buckets, (B, F).

    Args:
        ids: Ids of symbols, (B, N).
        there: Where there is one, (B, N).
        size: Symbols of the alphabet.
        longest: Of the runs.
    """
    grams = np.zeros((len(ids), longest * BUCKETS), dtype=np.float32)
    digits = ids.astype(np.uint64)
    for n in range(1, min(longest, ids.shape[1]) + 1):
        span = ids.shape[1] - n + 1
        key, whole = np.zeros_like(digits[:, :span]), np.ones_like(there[:, :span])
        for shift in range(n):
            key = key * np.uint64(size) + digits[:, shift : shift + span]
            whole &= there[:, shift : shift + span]
        # Multiplicative hashing: neighbouring keys must not share a bucket systematically.
        if size**n > BUCKETS:
            key = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
        bucket = (key % np.uint64(BUCKETS)).astype(np.int64) + (n - 1) * BUCKETS
        row = np.broadcast_to(np.arange(len(ids))[:, None], bucket.shape)
        np.add.at(grams, (row[whole], bucket[whole]), 1.0)
    return np.log1p(grams)
