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
from metamae.lattice import (
    LAYOUTS,
    auto_cell,
    from_cells,
    guess_layout,
    neighbours,
    to_cells,
)

lattices = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 4)), min_size=1, max_size=3)


def slow_to_cells(x, counts, cell):
    """Position slowest, channel fastest; zeros beyond the sample."""
    B, C, *size = x.shape
    cells = torch.zeros(B, math.prod(counts), C * math.prod(cell), dtype=x.dtype)
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
    x = torch.arange(2.0 * channels * math.prod(size)).view(2, channels, *size) + 1
    cells = to_cells(x, counts, cell)
    assert torch.equal(cells, slow_to_cells(x, counts, cell))
    back = from_cells(cells, counts, cell)
    assert back.shape == (2, channels, *(n * c for n, c in zip(counts, cell, strict=True)))
    inside = (slice(None), slice(None), *(slice(n) for n in size))
    assert torch.equal(back[inside], x)
    back[inside] = 0
    assert not back.any()


def test_cells_of_images_are_those_of_unfold():
    x = torch.randn(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    theirs = F.unfold(x, (4, 3), stride=(4, 3)).transpose(1, 2)  # channel slowest
    theirs = theirs.view(2, 8, 3, 12).transpose(2, 3).flatten(2)
    assert torch.equal(to_cells(x, (2, 4), (4, 3)), theirs)


def test_marks_are_cut_like_values():
    x = torch.ones(1, 1, 5, dtype=torch.bool)
    cells = to_cells(x, (2,), (3,))
    assert cells.dtype == torch.bool
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
        ((2,), 1, (1,)),
        ((2, 2), 1, (1, 2)),
        ((1, 5), 1, (1, 2)),
    ],
)
def test_automatic_cells(size, channels, cell):
    assert auto_cell(size, channels) == cell
