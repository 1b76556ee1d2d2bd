"""Which columns share a token."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.modalities.table.groups import deal, group_size


@pytest.mark.parametrize(
    ("columns", "group", "tokens"),
    [(0, 1, 0), (1, 1, 1), (256, 1, 256), (257, 5, 52), (765, 12, 64), (20_000, 313, 64)],
)
def test_wide_tables_get_about_64_tokens(columns, group, tokens):
    assert group_size(columns, "auto") == group
    assert -(-columns // group) == tokens


def test_tokens_are_equally_full():
    assert group_size(9, 4) == 3
    assert group_size(9, 99) == 9
    assert group_size(0, 5) == 1


def test_columns_are_dealt_like_cards_and_categories_follow():
    numeric = np.array([1, 1, 0, 1, 1, 1, 0, 1], dtype=bool)
    assert deal(numeric, 3).tolist() == [
        [0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [0, 2], [3, 0], [1, 2],
    ]  # fmt: skip
    assert deal(numeric, 1).tolist() == [[n, 0] for n in range(8)]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 50))
def test_every_column_has_a_place_of_its_own(kinds, asked):
    numeric = np.array(kinds)
    group = group_size(int(numeric.sum()), asked)
    assert group <= max(1, asked)
    slots = deal(numeric, group)
    assert len(np.unique(slots, axis=0)) == len(kinds)
    assert np.unique(slots[:, 0]).tolist() == list(range(slots[:, 0].max() + 1))
    assert slots[:, 1].max() < group
    sizes = np.bincount(slots[numeric, 0], minlength=1)
    assert (np.bincount(slots[~numeric, 0], minlength=1) <= 1).all()
    if group > 1:
        full = sizes[sizes > 0]
        assert full.max() - full.min() <= 1
        assert not set(slots[numeric, 0]) & set(slots[~numeric, 0])
