"""Whether two results are the same: to the last digit on one machine, nearly so on two."""

import json
import math
import re
from functools import cache
from typing import Any

from .made import STEPS, kernels

NUMBER = re.compile(r"[-+−]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?")


@cache
def is_this_machine() -> bool:
    """Say whether the references were made by the kernels that compute here."""
    made: dict[str, str] = json.loads(STEPS.read_text(encoding="utf-8"))["kernels"]
    return made == kernels()


def assert_same(
    found: Any, expected: Any, *, rtol: float = 0.0, atol: float = 0.0, at: str = ""
) -> None:
    """Compare JSON values; within texts too, numbers may differ a little and words may not.

    Raises:
        AssertionError: At the first place where they differ.
    """
    more = {"rtol": rtol, "atol": atol}
    if isinstance(expected, dict):
        assert isinstance(found, dict) and found.keys() == expected.keys(), f"{at}: {found}"
        for key, value in expected.items():
            assert_same(found[key], value, at=f"{at}/{key}", **more)
    elif isinstance(expected, list):
        assert isinstance(found, list) and len(found) == len(expected), f"{at}: {found}"
        for number, value in enumerate(expected):
            assert_same(found[number], value, at=f"{at}/{number}", **more)
    elif isinstance(expected, bool) or not isinstance(expected, int | float | str):
        assert found == expected, f"{at}: {found!r} is not {expected!r}"
    elif isinstance(expected, str):
        if found != expected:
            assert rtol or atol, f"{at}: {found!r} is not {expected!r}"
            assert NUMBER.sub("#", found) == NUMBER.sub("#", expected), f"{at}: {found!r}"
            assert_same(_numbers(found), _numbers(expected), at=at, **more)
    else:
        both_missing = math.isnan(found) and math.isnan(expected)
        near = math.isclose(found, expected, rel_tol=rtol, abs_tol=atol)
        assert near or both_missing, f"{at}: {found!r} is not {expected!r}"


def _numbers(text: str) -> list[float]:
    return [float(n.replace(",", "").replace("−", "-")) for n in NUMBER.findall(text)]
