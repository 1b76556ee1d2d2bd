import pytest

from metamae.core.checks import check_at_least, check_between, check_flag, check_one_of
from metamae.errors import ConfigError, MetaMAEError

INF = float("inf")


@pytest.mark.parametrize(
    ("value", "low", "high", "closed"),
    [
        (0.5, 0, 1, False),
        (1, 0, 2, False),
        (0, 0, 1, True),
        (1.0, 0, 1, True),
        (1e300, 0, INF, False),
        (0, 0, INF, True),
    ],
)
def test_numbers_in_range_pass(value, low, high, closed):
    assert check_between("A.b", value, low, high, closed=closed) is value


@pytest.mark.parametrize(
    ("value", "low", "high", "closed", "message"),
    [
        (0, 0, 1, False, "A.b must be a number strictly between 0 and 1; got 0. 0.5 would do."),
        (1.5, 0, 1, True, "A.b must be a number between 0 and 1; got 1.5. 0.5 would do."),
        (-1, 0, INF, True, "A.b must be a number between 0 and inf; got -1. 1 would do."),
        (0, 4, INF, False, "A.b must be a number strictly between 4 and inf; got 0. 5 would do."),
        (INF, 0, INF, True, "A.b must be a number between 0 and inf; got inf. 1 would do."),
        (float("nan"), 0, 1, True, "A.b must be a number between 0 and 1; got nan. 0.5 would do."),
        (True, 0, 2, True, "A.b must be a number between 0 and 2; got True. 1 would do."),
        ("1", 0, 2, True, "A.b must be a number between 0 and 2; got '1'. 1 would do."),
        (None, 0, 2, True, "A.b must be a number between 0 and 2; got None. 1 would do."),
    ],
)
def test_other_numbers_are_refused(value, low, high, closed, message):
    with pytest.raises(ConfigError) as caught:
        check_between("A.b", value, low, high, closed=closed)
    assert str(caught.value) == message


def test_counts():
    assert check_at_least("A.b", 3, 3) == 3
    for value in (2, 3.0, "3", True, None, float("nan")):
        with pytest.raises(ConfigError) as caught:
            check_at_least("A.b", value, 3)
        rule = f"A.b must be a whole number of at least 3; got {value!r}. 3 would do."
        assert str(caught.value) == rule
    with pytest.raises(ConfigError, match=r"at least 0; got -1\. 1 would do\."):
        check_at_least("A.b", -1, 0)


def test_names():
    assert check_one_of("A.b", "x", ["x", "y"]) == "x"
    for value in ("X1", 1, None, ["x"]):
        with pytest.raises(ConfigError, match=r"A\.b must be one of its known .*Known: x, y\."):
            check_one_of("A.b", value, iter(["x", "y"]))
    with pytest.raises(ConfigError, match=r"got 'cosin'\. Did you mean 'cosine'\?"):
        check_one_of("A.b", "cosin", ["cosine", "constant"])


def test_flags():
    assert check_flag("A.b", True) is True
    assert check_flag("A.b", False) is False
    for value in (1, 0, "true", None):
        with pytest.raises(ConfigError) as caught:
            check_flag("A.b", value)
        assert str(caught.value) == f"A.b must be true or false; got {value!r}. true would do."


def test_a_refused_setting_is_a_value_error_too():
    assert issubclass(ConfigError, ValueError)
    assert issubclass(ConfigError, MetaMAEError)
