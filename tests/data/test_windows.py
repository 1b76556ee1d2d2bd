"""Windows cover every sample, and cutting reads and names what it should."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import objects
from metamae.data.columns.base import Chain, Subset, stretch_of
from metamae.data.columns.decoded import Decoded
from metamae.data.records import Records
from metamae.data.windows import cut, windows
from metamae.errors import ConfigError


def slow_windows(size, window, stride):
    """Start, start + stride, ...; the first that reaches the end is the last, and moved back."""
    start, found = 0, []
    while start + window < size:
        found.append((start, start + window))
        start += stride
    return [*found, (max(0, size - window), size)]


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    window=st.integers(1, 12),
    data=st.data(),
)
@settings(max_examples=100, deadline=None)
def test_windows_against_a_slow_reference(sizes, window, data):
    stride = data.draw(st.integers(1, window))
    owner, start, stop = windows(np.array(sizes), window, stride)
    expected = [
        (sample, *pair)
        for sample, size in enumerate(sizes)
        for pair in slow_windows(size, window, stride)
    ]
    assert list(zip(owner, start, stop, strict=True)) == expected
    for sample, size in enumerate(sizes):
        mine = owner == sample
        reached = {n for a, b in zip(start[mine], stop[mine], strict=True) for n in range(a, b)}
        assert reached == set(range(size))


def test_every_sample_may_have_a_window_of_its_own():
    owner, start, stop = windows(np.array([10, 10]), np.array([4, 8]), np.array([4, 2]))
    assert owner.tolist() == [0, 0, 0, 1, 1]
    assert start.tolist() == [0, 4, 6, 0, 2]
    assert stop.tolist() == [4, 8, 10, 8, 10]


@pytest.mark.parametrize(("window", "stride"), [(0, 1), (4, 0), (4, 5), (-1, -1)])
def test_windows_that_leave_gaps_are_refused(window, stride):
    with pytest.raises(ConfigError, match=r"stride at most the window; got window .* would do"):
        windows(np.array([10]), window, stride)


def test_cut_keeps_other_fields_and_names():
    x = objects([np.arange(2 * n).reshape(2, n) for n in (3, 7)])
    records = Records({"X": x, "rate": np.array([8.0, 16.0])}, "folder", names=["a.wav", "b.wav"])
    pieces, owner = cut(records, "X", 4, 4)
    assert owner.tolist() == [0, 1, 1]
    assert [piece.tolist() for piece in pieces["X"][:]] == [
        x[0].tolist(),
        x[1][:, :4].tolist(),
        x[1][:, 3:].tolist(),
    ]
    assert pieces["rate"][np.arange(3)].tolist() == [8, 16, 16]
    assert pieces["X"].sizes.tolist() == [[2, 3], [2, 4], [2, 4]]
    assert pieces.where(2) == "folder, b.wav"
    assert pieces.error(2, "x").sample == 1
    again, owner = cut(records.subset(np.array([1])), "X", 4, 4)
    assert again.where(0) == "folder, b.wav"
    assert again.error(1, "x").sample == 1


def test_nothing_is_cut_where_nothing_is_longer():
    records = Records({"X": np.zeros((3, 2, 5))}, "array")
    pieces, owner = cut(records, "X", 5, 5)
    assert pieces is records
    assert owner is None


def test_strings_and_other_axes_are_cut():
    words = Records({"X": objects(["abcdefg", "hi", None])}, "list")
    pieces, owner = cut(words, "X", 4, 3)
    assert owner.tolist() == [0, 0, 1, 2]
    assert pieces["X"][:].tolist() == ["abcd", "defg", "hi", None]
    x = np.arange(42).reshape(2, 7, 3)
    pieces, owner = cut(Records({"X": x}, "array"), "X", 4, 4, axis=-2)
    assert owner.tolist() == [0, 0, 1, 1]
    np.testing.assert_array_equal(
        np.stack(list(pieces["X"][:])), [x[0, :4], x[0, 3:], x[1, :4], x[1, 3:]]
    )
    assert pieces["X"].sizes.tolist() == [[4, 3]] * 4


@pytest.mark.parametrize("axis", [-1, -2])
def test_views_of_a_column_read_the_same_part(axis):
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(6, 7)) for _ in range(3)]
    dense = np.stack(rows)
    files = Decoded(
        ["0", "1", "2"],
        lambda path: rows[int(path)],
        dense.dtype,
        (6, 7),
        decode_part=lambda path, a, b: rows[int(path)][..., a:b],
    )
    expected = rows[1][:, 2:5] if axis == -1 else rows[1][2:5]
    for column, position in (
        (dense, 1),
        (objects(rows), 1),
        (files, 1),
        (Subset(dense, np.array([2, 1])), 1),
        (Chain([dense[:1], files], "x"), 2),
    ):
        np.testing.assert_array_equal(stretch_of(column, position, 2, 5, axis), expected)


def test_a_part_of_a_memory_map_is_read_without_the_rest(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 1000)))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    part = stretch_of(mapped, 0, 10, 20)
    assert part.shape == (2, 10)
    assert np.shares_memory(part, mapped)
