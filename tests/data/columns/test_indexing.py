import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamae.data.columns.indexing import AllBut, chosen_among, grouped, positions, put


@given(st.data(), st.integers(1, 20))
def test_positions_are_those_that_numpy_takes(data, length):
    inside = st.integers(-length, length - 1)
    index = data.draw(
        st.one_of(
            inside,
            st.slices(length),
            st.lists(inside).map(lambda some: np.array(some, dtype=np.int64)),
            st.lists(inside, min_size=1),
            st.lists(st.booleans(), min_size=length, max_size=length).map(np.array),
        )
    )
    expected = np.arange(length)[index]
    found = positions(index, length)
    assert found.dtype == np.int64
    assert found.shape == np.shape(expected)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("index", [3, -4, [0, 3], np.array([True]), np.array([0.5]), "a"])
def test_positions_refuse_what_numpy_refuses(index):
    with pytest.raises(IndexError):
        positions(index, 3)


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any),
    st.lists(st.integers(0, 100), max_size=12),
)
def test_grouped_finds_the_part_of_each_position(sizes, raw):
    starts = np.cumsum([0, *sizes])
    flat = np.array([n % starts[-1] for n in raw], dtype=np.int64)
    seen = []
    for number, rows in grouped(starts, flat):
        assert len(rows)
        assert all(starts[number] <= n < starts[number + 1] for n in flat[rows])
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(flat)))


def test_put_keeps_arrays_whole():
    values = np.empty(3, dtype=object)
    put(values, np.array([2, 0]), np.arange(4).reshape(2, 2))
    put(values, np.array([1]), np.array([None], dtype=object))
    assert values[2].tolist() == [0, 1] and values[0].tolist() == [2, 3] and values[1] is None


some_of_20 = st.lists(st.integers(0, 19), max_size=15)


@given(some_of_20, some_of_20)
def test_all_but_some_are_what_is_left(left_out, wanted):
    every = np.delete(np.arange(20), np.unique(left_out).astype(int))
    index = AllBut(20, left_out)
    assert len(index) == len(every)
    np.testing.assert_array_equal(index[:], every)
    inside = np.array([n % len(every) for n in wanted], dtype=np.int64)
    np.testing.assert_array_equal(index[inside], every[inside])
    np.testing.assert_array_equal(index.rank(np.arange(21)), every.searchsorted(np.arange(21)))


@given(some_of_20, st.data())
def test_choices_within_choices(left_out, data):
    indices = {"lazy": AllBut(20, left_out), "plain": AllBut(20, left_out)[:]}
    num = len(indices["plain"])
    inner = data.draw(st.lists(st.integers(0, num - 1), max_size=4))
    inners = {"lazy": AllBut(num, inner), "plain": AllBut(num, inner)[:]}
    expected = indices["plain"][inners["plain"]]
    for outer in indices.values():
        for chosen in inners.values():
            np.testing.assert_array_equal(chosen_among(outer, chosen)[:], expected)


def test_all_but_a_few_of_billions_take_no_room():
    index = AllBut(10**12, [5, 10**11])
    assert index[np.array([4, 5, 10**12 - 3])].tolist() == [4, 6, 10**12 - 1]
    with pytest.raises(IndexError):
        index[np.array([10**12 - 2])]
