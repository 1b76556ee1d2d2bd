"""Files that are decoded when asked for."""

import numpy as np
import pytest

from metamae.data.columns.decoded import Decoded


def pictures(order):
    """Pictures (3, 5, 4) whose axes lie in memory in the given order, slowest first."""
    values = np.random.default_rng(0).integers(0, 255, (6, 3, 5, 4)).astype(np.uint8)

    def decode(path):
        laid = np.ascontiguousarray(values[int(path)].transpose(order))
        return laid.transpose(np.argsort(order))

    return values, Decoded([str(n) for n in range(6)], decode, values.dtype, values.shape[1:])


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_samples_lie_in_memory_as_they_were_decoded(order):
    values, column = pictures(order)
    for index in ([4], [5, 0, 3], []):
        found = column[np.array(index, dtype=int)]
        assert np.array_equal(found, values[index]) and found.dtype == values.dtype
        if index:
            assert found.transpose(0, *(1 + axis for axis in order)).flags.c_contiguous
    assert np.array_equal(column[2], values[2])
