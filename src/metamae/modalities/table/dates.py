"""Dates as several columns: the time that has passed, and what recurs with the calendar.

What recurs becomes categories and not sines and cosines: a category is predicted with the doubt
that is in it (summer or winter, not the spring between), and needs no scale.
"""

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Array

TIME = "time"
MONTHS = tuple(
    "January February March April May June July August September October November December".split()
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = tuple(str(hour) for hour in range(24))
RECURRING = {"month": MONTHS, "weekday": WEEKDAYS, "hour": HOURS}
"""Part of a date -> its values in the order of the calendar."""
UNITS = np.array([1.0, 60.0, 3600.0, 86400.0])  # seconds of a second, minute, hour and day
# What ISO 8601 can write in four digits, in seconds since 1970.
_FIRST, _LAST = -62_135_596_800, 253_402_300_799


def unfit(dates: Array) -> NDArray[np.bool_]:
    """Say which dates (B,) lie outside the years 1 to 9999, for which the rest here is made."""
    years = dates.astype("M8[Y]").astype(np.int64) + 1970
    found: NDArray[np.bool_] = ~np.isnat(dates) & ((years < 1) | (years > 9999))
    return found


def part_of(dates: Array, part: str) -> Array:
    """Return one part of dates.

    Args:
        dates: (B,) datetime64, NaT where missing.
        part: "time", or a key of `RECURRING`.

    Returns:
        (B,): seconds since 1970, NaN where missing; or names, None where missing.
    """
    if part == TIME:
        # Microseconds would be the finest whose whole numbers float64 holds for centuries.
        seconds = dates.astype("M8[us]").astype(np.int64) / 1e6
        return np.where(np.isnat(dates), np.nan, seconds)
    if part == "month":
        index = dates.astype("M8[M]").astype(np.int64) % 12
    elif part == "weekday":
        index = (dates.astype("M8[D]").astype(np.int64) + 3) % 7  # 1970 began on a Thursday
    else:
        index = dates.astype("M8[h]").astype(np.int64) % 24
    names = np.array([*RECURRING[part], None], dtype=object)
    return names[np.where(np.isnat(dates), -1, index)]


def show(seconds: NDArray[np.float64], doubt: NDArray[np.float64]) -> Array:
    """Write seconds since 1970 (B,) as ISO 8601 text, of the nearest of the years 1 to 9999.

    Args:
        seconds: (B,).
        doubt: By how many seconds each may be wrong at most, (B,): float32 holds the seconds of
            weeks, not those of years. Values are rounded to the finest of second, minute, hour
            and day that is beyond doubt, so that a midnight is not written as the day before.
    """
    unit = UNITS[np.searchsorted(UNITS[:-1], 2 * doubt)]
    nearest = (np.nan_to_num(seconds) / unit).round() * unit
    whole: Array = np.clip(nearest, _FIRST, _LAST).astype("M8[s]")
    return np.datetime_as_string(whole).astype(object)
