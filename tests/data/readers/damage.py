"""Damaged copies of a file, the same ones in every run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from metamae.data.readers import read
from metamae.errors import DataError


def damaged(raw: bytes, seed: int = 0, num: int = 60) -> Iterator[bytes]:
    """Yield `raw` cut off somewhere, or with one or more bits flipped."""
    rng = np.random.default_rng(seed)
    yield b""
    for trial in range(num):
        copy = bytearray(raw)
        if trial % 3 == 0:
            del copy[rng.integers(len(copy)) :]
        for _ in range((0, 1, 8)[trial % 3]):
            copy[rng.integers(len(copy))] ^= 1 << rng.integers(8)
        yield bytes(copy)


def refuse_or_read(path: Path, **settings: Any) -> int:
    """Read damaged copies of a file to the last value; return how many were refused.

    Anything but a DataError comes through and fails the test.
    """
    refused = 0
    for raw in damaged(path.read_bytes()):
        path.write_bytes(raw)
        try:
            records = read(path, **settings)
            for column in records.columns.values():
                column[np.arange(len(records))]
        except DataError as error:
            refused += 1
            assert path.name in str(error)
    return refused


def same(a: Any, b: Any) -> bool:
    """Say whether two columns hold equal values, object arrays of arrays included."""
    if a.dtype != object:
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fM")
    return len(a) == len(b) and all(
        np.array_equal(x, y, equal_nan=True) if isinstance(x, np.ndarray) else x == y
        for x, y in zip(a, b, strict=True)
    )
