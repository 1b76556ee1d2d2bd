"""Position tables against the formula written out."""

import math
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.model.positions import Coordinates, Lattice, Learned, Line, sincos


def slow_sincos(counts, width):
    """One row at a time; the last axis comes first."""
    axes = len(counts)
    rows = []
    for place in product(*(range(n) for n in counts)):
        row = []
        for number, at in enumerate(reversed(place)):
            pairs = width // 2 // axes + (1 if number < width // 2 % axes else 0)
            angles = [at / 10000 ** (pair / pairs) for pair in range(pairs)]
            row += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        rows.append(row + [0.0] * (width - len(row)))
    return torch.tensor(rows)


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=3), width=st.integers(2, 20))
@settings(max_examples=50, deadline=None)
def test_waves_against_the_formula(counts, width):
    table = sincos(tuple(counts), width)
    assert table.shape == (math.prod(counts), width)
    assert table.dtype == torch.float32
    torch.testing.assert_close(table, slow_sincos(counts, width), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("counts", [(64,), (8, 8), (4, 5, 6)])
def test_every_place_has_waves_of_its_own(counts):
    table = sincos(counts, 16)
    assert torch.cdist(table, table).fill_diagonal_(1).min() > 1e-3


def test_lines_of_any_length():
    line = Line(6, 8)
    assert torch.equal(line(4), sincos((4,), 8))
    assert torch.equal(line(6), sincos((6,), 8))
    assert torch.equal(line(9), sincos((9,), 8))
    assert line.double()(9).dtype == torch.float64


@given(counts=st.lists(st.integers(1, 5), min_size=1, max_size=3), width=st.integers(2, 20))
@settings(max_examples=50, deadline=None)
def test_waves_at_coordinates_are_those_of_the_lattice(counts, width):
    at = torch.cartesian_prod(*(torch.arange(n) for n in counts)).reshape(1, -1, len(counts))
    expected = sincos(tuple(counts), width)
    for length in (1, 200):  # beyond the table, and within it
        assert torch.equal(Coordinates(length, len(counts), width)(at)[0], expected)


def test_waves_are_neither_learned_nor_saved():
    for module in (Line(6, 8), Lattice((2, 3), 8), Coordinates(6, 2, 8)):
        assert not list(module.parameters())
        assert not module.state_dict()
    assert torch.equal(Lattice((2, 3), 8)(6), sincos((2, 3), 8))


def test_learned_rows():
    rows = Learned(5, 400)
    assert rows(5) is rows.table
    assert rows.table.requires_grad
    assert rows.table.std().item() == pytest.approx(1 / 20, rel=0.1)
