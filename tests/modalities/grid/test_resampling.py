"""Rates, lengths and signals after resampling, against the obvious."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.modalities.grid.resampling import FINEST, ratio, resample, resampled_lengths

rates = st.floats(0.5, 500)


@given(rate=rates, target=rates)
@settings(max_examples=200, deadline=None)
def test_a_ratio_is_near_and_of_moderate_numbers(rate, target):
    up, down = ratio(rate, target)
    assert up / down == pytest.approx(target / rate, rel=1e-3)
    assert max(up, down) <= 1.5 * FINEST


@pytest.mark.parametrize(
    ("rate", "target", "expected"),
    [
        (8000, 16000, (2, 1)),
        (44100, 16000, (160, 441)),
        (16000, 44100, (441, 160)),
        (50, 50, (1, 1)),
        (0.1, 100, (1000, 1)),
        (100, 0.1, (1, 1000)),
    ],
)
def test_known_ratios(rate, target, expected):
    assert ratio(rate, target) == expected


@given(points=st.integers(1, 300), rate=st.sampled_from([25.0, 50.0, 60.0, 99.9, 200.0]))
@settings(max_examples=50, deadline=None)
def test_lengths_are_those_of_the_result(points, rate):
    values = np.random.default_rng(0).normal(size=(2, points))
    found = resample(values, rate, 50.0)
    assert resampled_lengths(np.array([points]), np.array([rate]), 50.0).tolist() == [
        found.shape[1]
    ]


def test_lengths_of_many_rates_at_once():
    lengths = resampled_lengths(np.array([10, 10, 11, 0]), np.array([50.0, 100, 100, 25]), 50.0)
    assert lengths.tolist() == [10, 5, 6, 0]


@pytest.mark.parametrize(("rate", "target"), [(100.0, 40.0), (40.0, 100.0), (44.1, 16.0)])
@pytest.mark.parametrize("offset", [0.0, 1000.0])
def test_a_slow_wave_is_the_same_wave_at_another_rate(rate, target, offset):
    points = int(4 * rate)
    wave = lambda r, n: offset + np.sin(2 * np.pi * 1.0 * np.arange(n) / r)  # noqa: E731
    found = resample(wave(rate, points)[None], rate, target)[0]
    middle = slice(len(found) // 8, -len(found) // 8)
    np.testing.assert_allclose(found[middle], wave(target, len(found))[middle], atol=0.01)
    assert abs(found - offset).max() < 1.3  # no jump at the ends either


def test_what_a_lower_rate_cannot_hold_is_filtered_out():
    fast = np.sin(2 * np.pi * 45 * np.arange(400) / 100)[None]
    assert abs(resample(fast, 100.0, 20.0)[0, 10:-10]).max() < 0.01


def test_the_right_rate_leaves_everything_alone():
    values = np.arange(6, dtype=np.int16).reshape(2, 3)
    assert resample(values, 50.0, 50.0) is values


def test_gaps_stay_gaps_and_nothing_leaks_out_of_them():
    wave = np.sin(2 * np.pi * np.arange(400) / 100)
    gappy = np.stack([wave, wave]).astype(np.float32)
    gappy[0, 100:140] = np.nan
    found = resample(gappy, 100.0, 50.0)
    assert found.dtype == np.float32
    assert np.flatnonzero(np.isnan(found[0])).tolist() == list(range(50, 70))
    assert not np.isnan(found[1]).any()
    known = np.r_[10:48, 72:190]
    np.testing.assert_allclose(found[0, known], wave[::2][known], atol=0.05)
    assert np.isnan(resample(np.full((1, 40), np.nan), 100.0, 50.0)).all()
