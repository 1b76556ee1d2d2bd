"""Cutting, laying together, touching and guessing, against slow references."""

import math
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.errors import ConfigError
from metamae.modalities.grid.geometry import (
    LAYOUTS,
    auto_cell,
    cells_along,
    from_cells,
    guess_layout,
    guess_ragged_layout,
    lay,
    neighbours,
    pack,
    places,
    ragged_neighbours,
    to_cells,
)

lattices = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4)), min_size=1, max_size=3)


def slow_to_cells(x, counts, cell):
    """Position slowest, channel fastest; zeros beyond the sample."""
    B, C, *size = x.shape
    cells = np.zeros((B, math.prod(counts), C * math.prod(cell)), x.dtype)
    for b in range(B):
        for n, which in enumerate(product(*(range(k) for k in counts))):
            for p, inside in enumerate(product(*(range(k) for k in cell))):
                at = [w * c + i for w, c, i in zip(which, cell, inside, strict=True)]
                if all(a < s for a, s in zip(at, size, strict=True)):
                    for c in range(C):
                        cells[b, n, p * C + c] = x[(b, c, *at)]
    return cells


@given(axes=lattices, channels=st.integers(1, 3))
@settings(max_examples=50, deadline=None)
def test_cells_against_a_slow_reference_and_back(axes, channels):
    size = tuple(points for points, _ in axes)
    cell = tuple(min(points, step) for points, step in axes)
    counts = tuple(-(-n // c) for n, c in zip(size, cell, strict=True))
    x = np.arange(1.0, 2 * channels * math.prod(size) + 1).reshape(2, channels, *size)
    cells = to_cells(x, counts, cell)
    assert np.array_equal(cells, slow_to_cells(x, counts, cell))
    back = from_cells(torch.from_numpy(cells), counts, cell)
    assert back.shape == (2, channels, *(n * c for n, c in zip(counts, cell, strict=True)))
    inside = (slice(None), slice(None), *(slice(n) for n in size))
    assert np.array_equal(back[inside], x)
    back[inside] = 0
    assert not back.any()


def test_cells_of_images_are_those_of_unfold():
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    theirs = F.unfold(x, (4, 3), stride=(4, 3)).transpose(1, 2)  # channel slowest
    theirs = theirs.view(2, 8, 3, 12).transpose(2, 3).flatten(2)
    assert np.array_equal(to_cells(x.numpy(), (2, 4), (4, 3)), theirs)


def test_marks_are_cut_like_values():
    x = np.ones((1, 1, 5), dtype=bool)
    cells = to_cells(x, (2,), (3,))
    assert cells.dtype == bool
    assert cells.tolist() == [[[True] * 3, [True, True, False]]]


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_neighbours_against_a_slow_search(counts):
    places = list(product(*(range(n) for n in counts)))
    near = neighbours(tuple(counts))
    assert near.shape == (len(places), 2 * len(counts))
    assert near.dtype == torch.int64
    for at, row in zip(places, near.tolist(), strict=True):
        touching = {
            n
            for n, other in enumerate(places)
            if sum(abs(a - b) for a, b in zip(at, other, strict=True)) == 1
        }
        found = [n for n in row if n >= 0]
        assert set(found) == touching
        assert len(found) == len(touching)


ragged = st.integers(1, 3).flatmap(
    lambda axes: st.lists(
        st.lists(st.integers(1, 9), min_size=axes, max_size=axes), min_size=1, max_size=4
    )
)


@given(sizes=ragged, channels=st.integers(1, 2), data=st.data())
@settings(max_examples=60, deadline=None)
def test_ragged_lattices_are_those_of_each_sample(sizes, channels, data):
    cell = tuple(data.draw(st.integers(1, 4)) for _ in sizes[0])
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(channels, *size)).astype(np.float32) for size in sizes]
    values[0].reshape(-1)[::3] = np.nan
    cells, valid = pack(values, cell)
    N = cells.shape[1]
    counts = cells_along(torch.tensor(sizes), cell)
    at, beside = places(counts, N), ragged_neighbours(counts, N)
    assert N == counts.prod(dim=1).max()
    for row, value in enumerate(values):
        own = tuple(counts[row].tolist())
        assert own == tuple(-(-n // c) for n, c in zip(sizes[row], cell, strict=True))
        n = math.prod(own)
        assert np.array_equal(cells[row, :n], to_cells(np.nan_to_num(value)[None], own, cell)[0])
        assert np.array_equal(valid[row, :n], to_cells(~np.isnan(value)[None], own, cell)[0])
        assert torch.equal(beside[row, :n], neighbours(own))
        assert at[row, :n].tolist() == [list(place) for place in product(*(range(k) for k in own))]
        assert not cells[row, n:].any()
        assert not valid[row, n:].any()
        assert not at[row, n:].any()
        assert (beside[row, n:] == -1).all()
        laid = lay(torch.from_numpy(cells[row : row + 1]), value.shape[1:], cell)[0]
        assert np.array_equal(laid, np.nan_to_num(value))


def test_a_lattice_that_is_missing_has_no_cells():
    counts = torch.tensor([[0, 0], [2, 1]])
    assert (ragged_neighbours(counts, 2)[0] == -1).all()
    assert ragged_neighbours(counts, 2)[1].tolist() == [[1, -1, -1, -1], [-1, 0, -1, -1]]
    assert places(counts, 2).tolist() == [[[0, 0], [0, 0]], [[0, 0], [1, 0]]]


@pytest.mark.parametrize(
    ("sizes", "dtype", "axes", "expected"),
    [
        ([(6, 90), (6, 120)], "f4", 0, (1, "first")),
        ([(90, 6), (120, 6)], "f4", 0, (1, "last")),
        ([(200, 90), (200, 120)], "f4", 0, (1, "first")),  # more channels than points
        ([(90,), (120,)], "f4", 0, (1, "none")),
        ([(30, 40), (50, 20)], "f4", 0, (2, "none")),
        ([(28, 40), (28, 20)], "u1", 0, (2, "none")),
        ([(3, 30, 40), (3, 50, 20)], "f4", 0, (2, "first")),
        ([(30, 40, 4), (50, 20, 4)], "f4", 0, (2, "last")),
        ([(30, 40, 50), (50, 20, 30)], "f4", 0, (3, "none")),
        ([(8, 40, 50), (9, 20, 30)], "f4", 0, (3, "none")),
        ([(3, 8, 40, 50), (3, 9, 20, 30)], "f4", 0, (3, "first")),
        ([(8, 40, 50, 3), (9, 20, 30, 3)], "f4", 0, (3, "last")),
        ([(6, 90), (7, 90)], "f4", 1, (1, "last")),
    ],
)
def test_layouts_of_ragged_samples_are_guessed(sizes, dtype, axes, expected):
    number, layout, note = guess_ragged_layout(np.array(sizes), np.dtype(dtype), axes)
    assert (number, layout) == expected
    low, high = min(sizes)[0], max(sizes)[0]
    assert (f"{low}-{high}" if low != high else f"{low}") in note
    assert "override: layout" in note


@pytest.mark.parametrize(
    ("shape", "dtype", "axes", "expected"),
    [
        # shape of the whole array, type, axes if known -> axes, layout
        ((50, 100), "f4", 0, (1, "none")),
        ((50, 6, 100), "f4", 0, (1, "first")),
        ((50, 100, 6), "f4", 0, (1, "last")),
        ((50, 28, 28), "f4", 0, (2, "none")),
        ((50, 30, 40), "u1", 0, (2, "none")),
        ((50, 6, 100), "u1", 0, (1, "first")),
        ((50, 3, 32, 32), "f4", 0, (2, "first")),
        ((50, 32, 32, 3), "f4", 0, (2, "last")),
        ((50, 40, 40, 40), "f4", 0, (3, "none")),
        ((50, 1, 16, 16, 16), "f4", 0, (3, "first")),
        ((50, 16, 16, 16, 2), "f4", 0, (3, "last")),
        ((50, 12, 64, 64), "f4", 0, (2, "first")),  # bands of light
        ((50, 200, 64, 64), "f4", 0, (2, "first")),
        ((50, 64, 64, 200), "f4", 0, (2, "last")),
        ((50, 200, 9, 9), "f4", 0, (2, "first")),
        ((50, 40, 64, 64), "f4", 0, (3, "none")),  # slices of a volume
        ((50, 3, 16, 64, 64), "u1", 0, (3, "first")),  # video
        ((50, 16, 64, 64, 3), "u1", 0, (3, "last")),
        ((50, 28, 28), "f4", 1, (1, "first")),
        ((50, 6, 100), "f4", 2, (2, "none")),
        ((50, 4, 6, 5), "f4", 3, (3, "none")),
    ],
)
def test_layouts_are_guessed(shape, dtype, axes, expected):
    number, layout, note = guess_layout(shape, np.dtype(dtype), axes)
    assert (number, layout) == expected
    assert str(shape[1:]) in note
    assert "override: layout" in note
    assert {1: "series", 2: "images", 3: "volumes"}[number] in note
    first = LAYOUTS[layout](np.empty((1, *shape[1:])))
    assert first.ndim == 2 + number


@pytest.mark.parametrize(
    ("shape", "axes", "remedy"),
    [
        ((50, 6, 100), 3, "1 would do"),
        ((50, 3, 32, 32), 1, "2 would do"),
        ((50, 3, 32, 32), -1, "2 would do"),
        ((50, 3, 32, 32), "2", "2 would do"),
        ((50, 2, 3, 4, 5), 4, "3 would do"),
        ((50, 2, 3, 4, 5, 6), 0, "3 would do"),
        ((50,), 0, "1 would do"),
    ],
)
def test_impossible_axes_are_refused(shape, axes, remedy):
    with pytest.raises(ConfigError, match=rf"Grid\.axes must be .*; got .* for .*\. {remedy}\."):
        guess_layout(shape, np.dtype("f4"), axes)


@given(size=st.lists(st.integers(1, 600), min_size=1, max_size=3), channels=st.integers(1, 20))
@settings(max_examples=300, deadline=None)
def test_automatic_cells_are_legal_and_neither_few_nor_many(size, channels):
    size = tuple(size)
    cell = auto_cell(size, channels)
    assert all(1 <= c <= n for c, n in zip(cell, size, strict=True))
    num_tokens = math.prod(-(-n // c) for n, c in zip(size, cell, strict=True))
    points = math.prod(size)
    assert num_tokens >= min(2, points)
    assert num_tokens <= 2400
    if len(set(size)) == 1 and points >= 4096:
        assert num_tokens >= 20


@pytest.mark.parametrize(
    ("size", "channels", "cell"),
    [
        ((320,), 6, (5,)),
        ((100,), 1, (2,)),
        ((32, 32), 3, (4, 4)),
        ((28, 28), 1, (4, 4)),
        ((224, 224), 3, (16, 16)),
        ((16, 16, 16), 1, (2, 2, 2)),
        ((16, 64, 64), 3, (2, 8, 8)),
        ((8, 112, 112), 3, (1, 16, 16)),
        ((2,), 1, (1,)),
        ((2, 2), 1, (1, 2)),
        ((1, 5), 1, (1, 2)),
    ],
)
def test_automatic_cells(size, channels, cell):
    assert auto_cell(size, channels) == cell
