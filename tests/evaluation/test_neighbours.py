"""The nearest of many vectors are found exactly."""

import numpy as np
import pytest

from metamae.errors import DataError
from metamae.evaluation import neighbours as module
from metamae.evaluation.neighbours import Space, nearest


def vectors(num, width, seed=0):
    scale = np.linspace(0.1, 5, width)
    return (np.random.default_rng(seed).normal(size=(num, width)) * scale + 3).astype(np.float32)


def reference(queries, stored, k, itself=None):
    """The slow and obvious way, in float64."""
    centred = stored.astype(np.float64) - stored.mean(axis=0, dtype=np.float64)
    _, s, directions = np.linalg.svd(centred, full_matrices=False)
    weight = (s**2 / len(stored)) ** -0.25

    def unit(x):
        moved = (x - stored.mean(axis=0, dtype=np.float64)) @ directions.T * weight
        return moved / np.linalg.norm(moved, axis=1, keepdims=True)

    cosines = unit(queries) @ unit(stored).T
    if itself is not None:
        cosines[np.arange(len(itself)), itself] = -2
    return np.argsort(-cosines, axis=1, kind="stable")[:, :k], -np.sort(-cosines, axis=1)[:, :k]


@pytest.mark.parametrize("numbers", [2**24, 64])
def test_exact_whatever_the_blocks(numbers, monkeypatch):
    monkeypatch.setattr(module, "NUMBERS", numbers)
    stored, queries = vectors(70, 6), vectors(9, 6, seed=1)
    at, cosines = nearest(queries, stored, Space(stored), 5)
    expected, alike = reference(queries, stored, 5)
    np.testing.assert_array_equal(at, expected)
    np.testing.assert_allclose(cosines, alike, atol=1e-5)


def test_a_sample_is_no_hit_of_itself():
    stored, itself = vectors(40, 4), np.array([3, 39, 0])
    at, _ = nearest(stored[itself], stored, Space(stored), 4, itself)
    np.testing.assert_array_equal(at, reference(stored[itself], stored, 4, itself)[0])
    assert all(own not in hits for own, hits in zip(itself, at, strict=True))


def test_equals_come_in_their_order_and_few_are_enough():
    stored = np.repeat(vectors(3, 4), 3, axis=0)
    at, cosines = nearest(stored[:1], stored, Space(stored), 3)
    assert at.tolist() == [[0, 1, 2]]
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    at, _ = nearest(stored[:1], stored, Space(stored), 50, np.array([0]))
    assert at.shape == (1, 8)


def test_a_loud_direction_does_not_drown_others():
    """What tells two kinds apart varies little beside something else, as brightness does."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 2, 400)
    quiet = np.stack([kind * 2 - 1 + 0.3 * rng.normal(size=400) for _ in range(3)], axis=1)
    stored = np.concatenate([quiet, 20 * rng.normal(size=(400, 2))], axis=1).astype(np.float32)

    def agreement(at):
        return (kind[at] == kind[:, None]).mean()

    unit = stored - stored.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = unit @ unit.T
    np.fill_diagonal(cosines, -2)
    plain = agreement(np.argsort(-cosines, axis=1)[:, :10])
    at, _ = nearest(stored, stored, Space(stored), 10, np.arange(400))
    assert agreement(at) > plain + 0.1


def test_constant_and_bad_vectors():
    same = np.ones((4, 3), dtype=np.float32)
    at, cosines = nearest(same[:1], same, Space(same), 2)
    assert at.tolist() == [[0, 1]]
    assert np.isfinite(cosines).all()
    with pytest.raises(DataError, match="must be finite"):
        Space(np.full((2, 2), np.nan, dtype=np.float32))
