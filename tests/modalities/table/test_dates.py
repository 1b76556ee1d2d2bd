"""Parts of dates, against the calendar of Python."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.modalities.table.dates import part_of, show, unfit

EPOCH = datetime(1970, 1, 1)


@settings(max_examples=100, deadline=None)
@given(st.datetimes(), st.sampled_from(["h", "s", "ms", "us"]))
def test_parts_are_those_of_the_calendar(date, unit):
    dates = np.array([date, "NaT"], dtype=f"M8[{unit}]")
    date = dates[0].astype("M8[us]").item()
    parts = [part_of(dates, part) for part in ("month", "weekday", "hour")]
    assert [part[0] for part in parts] == [date.strftime("%B"), date.strftime("%A"), str(date.hour)]
    assert [part[1] for part in parts] == [None] * 3
    seconds = part_of(dates, "time")
    assert seconds[0] == pytest.approx((date - EPOCH).total_seconds(), abs=1e-6, rel=1e-15)
    assert np.isnan(seconds[1])
    assert not unfit(dates).any()


def test_days_have_no_hours():
    assert part_of(np.array(["2024-02-29"], dtype="M8[D]"), "hour").tolist() == ["0"]


def test_times_are_written_as_text():
    seconds = part_of(np.array(["2024-02-29T13:30:05.4", "0001-01-01"], dtype="M8[ms]"), "time")
    sure = np.zeros(2)
    assert show(seconds, sure).tolist() == ["2024-02-29T13:30:05", "0001-01-01T00:00:00"]
    assert show(np.array([-1e300, 1e300]), sure).tolist() == [
        "0001-01-01T00:00:00",
        "9999-12-31T23:59:59",
    ]


def test_what_is_in_doubt_is_rounded_away():
    (midnight,) = part_of(np.array(["2024-02-20"], dtype="M8[D]"), "time")
    doubt = np.array([0.2, 0.6, 20.0, 40.0, 5000.0])
    found = show(midnight + np.array([-0.2, -0.6, -20.0, -40.0, -5000.0]), doubt)
    assert found.tolist() == ["2024-02-20T00:00:00"] * 5
    # Seconds that are sure stay.
    assert show(np.array([midnight - 1]), np.zeros(1)).tolist() == ["2024-02-19T23:59:59"]


def test_dates_of_no_calendar_are_unfit():
    years = np.array(["0000", "0001", "9999", "NaT"], dtype="M8[Y]")
    assert unfit(years).tolist() == [True, False, False, False]
    assert unfit(np.array([2**62, -(2**62)], dtype="M8[D]")).all()
