"""Bad samples: counted, listed, and let through only if allowed."""

import pytest

from metamae.data.bad_samples import LISTED, LOOKED_FOR, Aside, Bad
from metamae.errors import DataError


def filled(most, num):
    aside = Aside(most)
    for n in range(num):
        aside.add(f"x.csv, row {n}", "a cell too many. Remove it.", "x.csv", n)
    return aside


@pytest.mark.parametrize(("most", "num"), [(0, 0), (3, 3), (5, 2)])
def test_as_many_as_allowed_are_let_through(most, num):
    aside = filled(most, num)
    aside.settle("x.csv")
    assert aside.samples == list(range(num))
    assert aside.found == [
        Bad(f"x.csv, row {n}", "a cell too many. Remove it.", n) for n in range(num)
    ]


def test_one_bad_sample_is_named_in_one_line():
    with pytest.raises(DataError) as caught:
        filled(0, 1).settle("x.csv")
    assert str(caught.value) == (
        "x.csv, row 0: a cell too many. Remove it. --skip-bad 1 would set it aside."
    )


def test_several_are_listed():
    with pytest.raises(DataError) as caught:
        filled(1, LISTED + 7).settle("x.csv")
    first, *lines = str(caught.value).splitlines()
    assert "at most 1 bad samples (--skip-bad); got 17." in first
    assert "--skip-bad 17 would set them aside" in first
    assert len(lines) == LISTED + 1
    assert lines[3] == "- x.csv, row 3: a cell too many. Remove it."
    assert lines[-1] == "- and 7 more"


def test_the_search_ends_where_nearly_all_are_bad():
    aside = filled(2, 2 + LOOKED_FOR)
    with pytest.raises(DataError, match=f"got {3 + LOOKED_FOR}"):
        aside.add("x.csv, row 9999", "bad.", "x.csv")


def test_a_sample_is_noted_once_whatever_is_wrong_with_it():
    aside = Aside(9)
    nameless = Bad("a.png", "is damaged.")
    assert aside.add_new([nameless, Bad("b, row 1", "is empty.", 1), Bad("b, row 1", "is inf.", 1)])
    assert not aside.add_new([Bad("b, row 1", "is constant.", 1), nameless])
    assert aside.add_new([Bad("c.png", "is damaged.")])
    assert [one.where for one in aside.found] == ["a.png", "b, row 1", "c.png"]


def test_what_was_left_out_before_counting_has_no_number():
    aside = Aside(2)
    aside.add("a.png", "is damaged.", "folder")
    aside.add("b", "is bad.", "folder", 7)
    assert aside.samples == [7]
