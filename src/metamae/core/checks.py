"""Checks on settings, so that every message has the same four parts.

Who owns the setting, the rule that it broke, the value it had, and a value that would do.
"""

import math
from collections.abc import Iterable
from typing import Any

from metamae.core.registry import did_you_mean
from metamae.errors import ConfigError


def check_between(
    name: str, value: float, low: float, high: float, *, closed: bool = False
) -> float:
    """Return `value` if it is a finite number between `low` and `high`.

    Args:
        name: Owner and setting, e.g. "RandomMasking.ratio".
        value: What was received.
        low: Lower bound.
        high: Upper bound.
        closed: Whether the bounds themselves are legal.

    Raises:
        ConfigError: If it is not.
    """
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if (
        not number
        or not math.isfinite(value)
        or not (low <= value <= high if closed else low < value < high)
    ):
        rule = "between" if closed else "strictly between"
        raise ConfigError(
            f"{name} must be a number {rule} {low:g} and {high:g}; got {value!r}. "
            f"{(low + high) / 2 if high < float('inf') else max(low + 1, 1):g} would do."
        )
    return value


def check_at_least(name: str, value: int, low: int) -> int:
    """Return `value` if it is a whole number of at least `low`, else raise ConfigError."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise ConfigError(
            f"{name} must be a whole number of at least {low}; got {value!r}. "
            f"{max(low, 1)} would do."
        )
    return value


def check_one_of(name: str, value: Any, known: Iterable[str]) -> str:
    """Return `value` if it is one of `known`, else raise ConfigError with the nearest."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise ConfigError(
            f"{name} must be one of its known values; got {value!r}.{did_you_mean(value, known)}"
        )
    return value


def check_flag(name: str, value: Any) -> bool:
    """Return `value` if it is True or False, else raise ConfigError."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false; got {value!r}. true would do.")
    return value
