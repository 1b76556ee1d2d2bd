"""Categories: their names, which remain, and the codes of values."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cases import objects
from metamae.modalities.table.categories import OTHER, count, encode, merge


@pytest.mark.parametrize(
    ("values", "counts"),
    [
        (np.array([True, False, True]), {"True": 2, "False": 1}),
        (np.array([3, 3, -1]), {"3": 2, "-1": 1}),
        (np.array([3.0, np.nan, 3.0, 0.5, -0.0, 0.0]), {"3": 2, "0.5": 1, "0": 2}),
        (np.array([0.1, np.nan], dtype=np.float32), {"0.1": 1}),
        (np.array([1e20, np.inf]), {"100000000000000000000": 1, "inf": 1}),
        (np.array(["a", "", "a"]), {"a": 2, "": 1}),
        (objects(["a", None, np.nan, 3, 3.0, "3", True]), {"a": 1, "3": 3, "True": 1}),
        (np.array(["2024-02-01", "NaT"], dtype="M8[D]"), {"2024-02-01": 1}),
    ],
)
def test_values_have_one_name_each_and_missing_ones_none(values, counts):
    assert count(values) == counts


COUNTS = Counter(a=9, b=5, c=5, d=1, e=1)


@pytest.mark.parametrize(
    ("fewest", "most", "kept"),
    [
        (1, 5, {"a": 9, "b": 5, "c": 5, "d": 1, "e": 1}),
        (2, 256, {"a": 9, "b": 5, "c": 5, OTHER: 2}),
        (2, 4, {"a": 9, "b": 5, "c": 5, OTHER: 2}),
        (2, 3, {"a": 9, "b": 5, OTHER: 7}),
        (1, 4, {"a": 9, "b": 5, "c": 5, OTHER: 2}),
        (6, 9, {"a": 9, OTHER: 12}),
        (99, 9, {OTHER: 21}),
    ],
)
def test_rare_values_share_a_category(fewest, most, kept):
    assert merge(COUNTS, fewest=fewest, most=most) == (kept, OTHER in kept)


def test_a_value_that_is_called_other_joins_the_others():
    counts = Counter({OTHER: 5, "a": 5, "b": 1})
    assert merge(counts, fewest=2, most=9) == ({OTHER: 6, "a": 5}, True)
    assert merge(counts, fewest=1, most=9) == (counts, False)


@pytest.mark.parametrize("other", [True, False])
def test_unknown_values_are_others_or_missing(other):
    values = objects(["b", "x", None, "a", OTHER])
    expected = [1, 2 if other else np.nan, np.nan, 0, 2]
    np.testing.assert_array_equal(encode(values, ["a", "b", OTHER], other), expected)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.sampled_from("abcdef"), st.integers(0, 3)), min_size=1),
    st.integers(1, 4),
    st.integers(2, 5),
)
def test_every_known_value_has_a_category(values, fewest, most):
    column = objects(values)
    counts, other = merge(count(column), fewest=fewest, most=most)
    assert len(counts) <= most
    assert counts.total() == sum(value is not None for value in values)
    known = sorted(counts, key=lambda name: (name == OTHER, name))
    codes = encode(column, known, other)
    assert np.array_equal(np.isnan(codes), [value is None for value in values])
    for code, value in zip(codes, values, strict=True):
        if value is not None:
            assert known[int(code)] in (str(value), OTHER)
