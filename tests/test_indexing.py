import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metamae.indexing import grouped, positions, put


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
