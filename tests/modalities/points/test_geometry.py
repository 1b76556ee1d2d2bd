"""Sets of points: choices, neighbours and distances against slow references."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from metamae.modalities.points.geometry import (
    BESIDE,
    BINS,
    CELLS,
    QUANTILES,
    chamfer,
    cut_groups,
    describe_shape,
    farthest_points,
    matches,
    nearest,
    typical_group,
)


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def farthest_by_loops(points, first, num):
    chosen = [first]
    while len(chosen) < num:
        gaps = [min(((p - points[c]) ** 2).sum() for c in chosen) for p in points]
        chosen.append(int(np.argmax(gaps)))
    return chosen


@pytest.mark.parametrize("axes", [2, 3])
def test_each_choice_is_the_farthest_from_those_before(axes):
    points = normal(3, 30, axes)
    there = np.ones((3, 30), dtype=bool)
    there[1, 20:] = False
    first = np.array([4, 0, 7])
    chosen, new, squares = farthest_points(points, there, first, 9)
    for row, count in enumerate((30, 20, 30)):
        assert chosen[row].tolist() == farthest_by_loops(points[row, :count], first[row], 9)
        for n in range(9):
            offsets = points[row, :count] - points[row, chosen[row, n]]
            np.testing.assert_allclose(
                squares[row, n, :count], (offsets**2).sum(axis=1), rtol=1e-5, atol=1e-6
            )
    assert new.all()


def test_a_place_is_chosen_once_and_then_repeated_as_not_new():
    points = np.repeat(normal(1, 3, 2), 4, axis=1)
    chosen, new, _ = farthest_points(points, np.ones((1, 12), dtype=bool), np.array([0]), 5)
    assert new.tolist() == [[True, True, True, False, False]]
    assert len({tuple(points[0, n]) for n in chosen[0, :3]}) == 3


def test_the_least_values_and_of_equal_ones_the_first():
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 4, (5, 6, 20)).astype(np.float32)
    squares[0, 0] = 1
    for num in (1, 3, 20):
        expected = np.sort(squares.argsort(axis=-1, kind="stable")[..., :num], axis=-1)
        np.testing.assert_array_equal(nearest(squares, num), expected)
    assert nearest(squares[0], 22)[0].tolist() == list(range(22))


def test_what_is_nearest_does_not_depend_on_what_stands_behind():
    squares = np.random.default_rng(0).integers(0, 3, (4, 40)).astype(np.float32)
    longer = np.concatenate([squares, np.full((4, 400), np.inf, dtype=np.float32)], axis=1)
    np.testing.assert_array_equal(nearest(squares, 7), nearest(longer, 7))


def groups_by_loops(values, axes, num, size, start):
    """Groups, centres and neighbours of one set, point by point."""
    places = values[:, :axes]
    centres = farthest_by_loops(places, start, num)
    groups, near = [], []
    for c in centres:
        apart = ((places - places[c]) ** 2).sum(axis=1)
        group = values[np.sort(np.argsort(apart, kind="stable")[:size])].copy()
        group[:, :axes] -= places[c]
        groups.append(group)
        order = np.argsort([apart[o] if o != c else np.inf for o in centres], kind="stable")
        near.append(sorted(order[: min(BESIDE, num - 1)].tolist()))
    return np.array(groups), places[centres], near


def test_groups_against_loops():
    sets = [normal(count, 4, seed=count).astype(np.float64) for count in (30, 12, 50)]
    made = cut_groups(sets, 3, 8, 5)
    assert made["valid"].all()
    for row, values in enumerate(sets):
        single = values.astype(np.float32)
        offsets = values[:, :3] - values[:, :3].mean(axis=0)
        start = int((offsets**2).sum(axis=1).argmax())
        groups, centres, near = groups_by_loops(single, 3, 8, 5, start)
        np.testing.assert_allclose(made["groups"][row], groups, atol=1e-6)
        np.testing.assert_array_equal(made["centres"][row], centres)
        assert made["near"][row].tolist() == near


def test_small_sets_have_fewer_groups_smaller_groups_and_fewer_neighbours():
    three = np.array([[0.0, 0], [1, 0], [0, 2], [0, 2]])
    made = cut_groups([normal(20, 2).astype(np.float64), three, three[:1]], 2, 6, 5)
    there = made["valid"].sum(axis=2)
    assert there.tolist() == [[5] * 6, [4, 4, 4, 0, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert [sorted(set(row)) for row in made["near"][1].tolist()] == [
        [-1, 1, 2],
        [-1, 0, 2],
        [-1, 0, 1],
        [-1],
        [-1],
        [-1],
    ]
    assert (made["near"][2] == -1).all()
    assert not made["groups"][~made["valid"]].any()
    assert np.isfinite(made["centres"]).all()


def chamfer_by_loops(a, b, axes):
    """Squared differences of the values, both directions averaged, (C,)."""

    def one_way(x, y):
        found = []
        for p in x:
            q = min(y, key=lambda q: ((p[:axes] - q[:axes]) ** 2).sum())
            found.append((p - q) ** 2)
        return np.mean(found, axis=0)

    return (one_way(a, b) + one_way(b, a)) / 2


def test_distances_against_loops():
    a, b = normal(2, 3, 6, 4), normal(2, 3, 5, 4, seed=1)
    valid = np.ones((2, 3, 5), dtype=bool)
    valid[0, 1, 2:] = False
    valid[1, 0, :4] = False
    found = chamfer(torch.tensor(a), torch.tensor(b), torch.tensor(valid), 3)
    for n in np.ndindex(2, 3):
        expected = chamfer_by_loops(a[n], b[n][valid[n]], 3)
        np.testing.assert_allclose(found[n], expected, rtol=1e-5)
    whole = chamfer(torch.tensor(a), torch.tensor(b), None, 3)
    everywhere = torch.ones(2, 3, 5, dtype=torch.bool)
    torch.testing.assert_close(
        whole, chamfer(torch.tensor(a), torch.tensor(b), everywhere, 3), rtol=1e-6, atol=0
    )


def test_a_set_in_another_order_has_distance_0_exactly():
    points = torch.tensor(normal(4, 32, 5) * 1e-3 + 7)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    assert not chamfer(points[:, order], points, None, 3).any()


def test_what_is_not_there_is_no_target():
    a, b = torch.tensor(normal(2, 6, 3)), torch.tensor(normal(2, 5, 3, seed=1))
    valid = torch.tensor([[True] * 3 + [False] * 2, [False] * 5])
    found = chamfer(a, b, valid, 3)
    changed = chamfer(a, b.masked_fill(~valid[..., None], 0.1), valid, 3)
    assert torch.equal(found[0], changed[0])
    torch.testing.assert_close(found[0], chamfer(a[0], b[0, :3], None, 3))
    assert found.isfinite().all()


def test_distances_can_be_differentiated_twice():
    a = torch.tensor(normal(2, 4, 3)).double().requires_grad_()
    b = torch.tensor(normal(2, 5, 3, seed=1)).double()
    valid = torch.tensor([[True] * 5, [True, True, False, True, False]])
    assert torch.autograd.gradcheck(lambda x: chamfer(x, b, valid, 2), a)
    assert torch.autograd.gradgradcheck(lambda x: chamfer(x, b, valid, 2), a)


def test_the_typical_group_is_better_than_where_it_began_and_than_other_guesses():
    rng = np.random.default_rng(0)
    angles = rng.uniform(0, 2 * np.pi, (200, 12))
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1) + rng.normal(0, 0.1, (200, 12, 2))
    groups, valid = torch.tensor(ring), torch.tensor(rng.random((200, 12)) < 0.8)
    start = groups[0]

    def distance(points):
        return float(chamfer(points.expand(200, -1, -1), groups, valid, 2).sum(dim=-1).mean())

    rounds = [distance(typical_group(groups, valid, 2, start, n)) for n in range(8)]
    assert rounds[0] == distance(start)
    assert all(later <= earlier + 1e-12 for earlier, later in pairwise(rounds))
    assert rounds[-1] < 0.8 * rounds[0]
    found = typical_group(groups, valid, 2, start)
    assert distance(found) < min(distance(groups[n]) for n in range(200))
    assert distance(found) < distance(torch.zeros_like(start))
    np.testing.assert_allclose(found.norm(dim=1), 1, atol=0.3)


def test_a_typical_group_of_equal_groups_is_that_group():
    groups = torch.tensor(normal(1, 6, 4)).double().expand(10, -1, -1)
    valid = torch.ones(10, 6, dtype=torch.bool)
    found = typical_group(groups, valid, 3, groups[0])
    torch.testing.assert_close(found, groups[0])


def test_matches_are_nearest_by_coordinates_alone():
    one = torch.tensor([[0.0, 0, 9], [5, 5, 0]])
    other = torch.tensor([[0.1, 0, 0], [5, 5, 9], [0, 0.2, 9]])
    forth, back = matches(one, other, None, 2)
    assert forth.tolist() == [0, 1]
    assert back.tolist() == [0, 1, 0]


@pytest.mark.parametrize("axes", [2, 3])
def test_a_shape_is_described_alike_wherever_and_however_large_it_is(axes):
    points = normal(100, axes).astype(np.float64)
    found = describe_shape(points)
    assert found.shape == (2 * axes + QUANTILES + BINS + CELLS**axes,)
    np.testing.assert_allclose(describe_shape(points * 50 + 3), found, atol=1e-6)
    assert not np.allclose(describe_shape(points**3), found, atol=0.01)


def test_the_description_of_a_square_against_its_definition():
    square = np.array([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]) / np.sqrt(2)
    found = describe_shape(square)
    deviations, principal, quantiles, apart, cells = np.split(
        found, np.cumsum([2, 2, QUANTILES, BINS])
    )
    np.testing.assert_allclose(deviations, np.sqrt(0.5))
    np.testing.assert_allclose(principal, np.sqrt(0.5))
    np.testing.assert_allclose(quantiles, 1)
    # Four sides of length sqrt(2) and two diagonals of length 2, in 32 bins from 0 to 2.
    assert np.flatnonzero(apart).tolist() == [int(np.sqrt(2) * 16), 31]
    np.testing.assert_allclose(apart[apart > 0], np.sqrt([4 / 6, 2 / 6]))
    assert np.count_nonzero(cells) == 4
    np.testing.assert_allclose(cells[cells > 0], 0.5)


def test_one_point_has_a_description_too():
    assert np.isfinite(describe_shape(np.array([[3.0, 4, 5]]))).all()
