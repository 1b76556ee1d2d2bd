"""Spectrograms against a slow reference and against scipy; waves; settings."""

import math

import numpy as np
import pytest
import scipy.signal

from metamae.errors import ConfigError
from metamae.modalities.grid.preparation import Preparation, in_points, mel, mel_filters


def noise(points):
    return np.random.default_rng(0).normal(size=points).astype(np.float32) * 0.1


def slow_log_mel(wave, rate, mels, frame, hop, fmin, fmax, size):
    """One frame and one band at a time, by the sums that define them."""
    length, step = round(frame * rate), round(hop * rate)
    window = [0.5 - 0.5 * math.cos(2 * math.pi * n / length) for n in range(length)]
    low, high = (2595 * math.log10(1 + f / 700) for f in (fmin, fmax))
    edges = [
        700 * (10 ** ((low + (high - low) * m / (mels + 1)) / 2595) - 1) for m in range(mels + 2)
    ]
    bank = np.zeros((mels, 1 + len(wave) // step))
    for t in range(bank.shape[1]):
        part = np.zeros(length)
        for n in range(length):
            at = t * step - length // 2 + n
            if 0 <= at < len(wave):
                part[n] = wave[at] * window[n]
        for k in range(size // 2 + 1):
            angle = 2 * np.pi * k * np.arange(length) / size
            power = abs((part * np.exp(-1j * angle)).sum()) ** 2 / sum(window) ** 2
            f = k * rate / size
            for m in range(mels):
                if edges[m] < f < edges[m + 2]:
                    rise = (f - edges[m]) / (edges[m + 1] - edges[m])
                    fall = (edges[m + 2] - f) / (edges[m + 2] - edges[m + 1])
                    bank[m, t] += min(rise, fall) * power
    return 10 * np.log10(np.maximum(bank, 1e-10))


def test_a_spectrogram_against_a_slow_reference():
    settings = {"mels": 6, "frame": 0.032, "hop": 0.012, "fmin": 50.0, "fmax": 900.0}
    preparation = Preparation(name="log_mel", rate=2000, **settings)
    wave = noise(170)
    found = preparation.log_mel(wave)
    bank, size = preparation.filters()
    assert bank.shape == (6, size // 2 + 1)
    np.testing.assert_allclose(found, slow_log_mel(wave, 2000, size=size, **settings), atol=1e-3)
    assert preparation.sizes(np.array([170, 0])).tolist() == [list(found.shape), [0, 0]]


def test_the_power_spectrum_is_that_of_scipy():
    rate, wave = 8000, noise(4000)
    preparation = Preparation(name="log_mel", rate=rate)
    bank, size = preparation.filters()
    _, _, theirs = scipy.signal.stft(
        np.pad(wave, 100),  # frames of scipy begin where they do, ours are centred
        nperseg=200,
        noverlap=120,
        nfft=size,
        window="hann",
        boundary=None,
        padded=False,
        scaling="spectrum",
    )
    power = bank.numpy() @ (np.abs(theirs) ** 2)
    found = preparation.log_mel(wave)
    np.testing.assert_allclose(found, 10 * np.log10(np.maximum(power, 1e-10)), atol=1e-2)


def test_a_tone_is_found_in_its_band_at_its_power():
    rate = 8000
    preparation = Preparation(name="log_mel", rate=rate, mels=40)
    tone = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate).astype(np.float32)
    spectrum = preparation.log_mel(tone)[:, 50]
    edges = np.linspace(0, mel(np.array(4000.0)), 42)[1:-1]
    assert abs(edges[spectrum.argmax()] - mel(np.array(1000.0))) < edges[0]
    assert -9 < spectrum.max() < 0  # a wave of size 1 has a quarter of the power at one frequency
    assert preparation.log_mel(np.zeros(rate, dtype=np.float32)).max() == -100


def test_mel_is_that_of_htk():
    np.testing.assert_allclose(mel(np.array([0.0, 700.0, 1000.0])), [0, 781.17, 999.99], atol=0.01)


def test_filters_are_triangles():
    bank = mel_filters(np.array([0.0, 2, 4, 8]), np.arange(9.0))
    assert bank.tolist() == [
        [0, 0.5, 1, 0.5, 0, 0, 0, 0, 0],
        [0, 0, 0, 0.5, 1, 0.75, 0.5, 0.25, 0],
    ]


@pytest.mark.parametrize("rate", [2000, 4000, 8000, 16000, 44100, 96000])
def test_every_band_hears_something(rate):
    bank, size = Preparation(name="log_mel", rate=rate).filters()
    assert (bank.amax(dim=1) > 0).all()
    assert size >= 0.025 * rate


def test_a_gap_silences_the_frames_that_it_touches_and_no_other():
    preparation = Preparation(name="log_mel", rate=8000)
    wave = noise(8000)
    whole = preparation.log_mel(wave)
    wave[4000:4010] = np.nan
    found = preparation.log_mel(wave)
    gone = np.isnan(found).any(axis=0)
    assert np.flatnonzero(gone).tolist() == [49, 50, 51]
    np.testing.assert_array_equal(found[:, ~gone], whole[:, ~gone])


def test_even_one_point_is_a_frame():
    preparation = Preparation(name="log_mel", rate=8000)
    assert preparation(np.ones((1, 1)), None).shape == (1, 64, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0, 16384, -32768]], dtype=np.int16), [0, 0.5, -1]),
        (np.array([[0, 2**30, -(2**31)]], dtype=np.int32), [0, 0.5, -1]),
        (np.array([[128, 192, 0]], dtype=np.uint8), [0, 0.5, -1]),
        (np.array([[0.25, -2.0]]), [0.25, -2]),
        (np.array([[3, -5]]), [3, -5]),
        (np.array([[0.0, 2], [1, 4]]), [0.5, 3]),
    ],
)
def test_sound_is_scaled_and_mixed(values, expected):
    found = Preparation(name="waveform", rate=8000)(values, None)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [expected])


def test_sound_is_resampled_before_anything_else():
    preparation = Preparation(name="log_mel", rate=8000)
    tone = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)[None]
    slow = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)[None]
    fast_, slow_ = preparation(tone, 16000.0), preparation(slow, None)
    assert fast_.shape == slow_.shape
    band = slow_[0, :, 50].argmax()
    np.testing.assert_allclose(fast_[0, band, 10:-10], slow_[0, band, 10:-10], atol=0.1)
    points = preparation.points(np.array([16000]), np.array([16000.0]))
    assert preparation.sizes(points).tolist() == [list(fast_.shape[1:])]


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"name": "mfcc"}, r"Preparation\.name must be one of"),
        ({"rate": 0}, r"Preparation\.rate must be a number strictly between"),
        ({"mels": 1}, r"Preparation\.mels must be a whole number of at least 2; got 1"),
        ({"frame": 0.0001}, r"Preparation\.frame must be a number strictly between"),
        ({"hop": 0}, r"Preparation\.hop must be a number between"),
        ({"fmax": 5000.0}, r"Preparation\.fmax must be a number between 0 and 4000; got 5000"),
        ({"fmin": 4000.0}, r"Preparation\.fmin must lie below fmax = 4000; got 4000\. 0 would do"),
        ({"mels": 4000}, r"Preparation\.mels must be few enough .*; got 4000 .* 2000, or a longer"),
    ],
)
def test_settings_that_make_no_spectrogram_are_refused(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        Preparation(**{"name": "log_mel", "rate": 8000, **settings})


@pytest.mark.parametrize(
    ("length", "points"),
    [(40, 40), ("2 s", 200), ("500ms", 50), ("0.5 min", 3000), ("1 h", 360_000), ("1ms", 1)],
)
def test_lengths_are_points_or_times(length, points):
    assert in_points("Grid.window", length, 100.0) == points


@pytest.mark.parametrize(
    ("length", "rate", "rule"),
    [
        ("2 s", None, r"Grid\.window must be a number of points where the sampling rate is not"),
        ("2 days", 100.0, r"Grid\.window must be a number of points or a time .*; got '2 days'"),
        ("s", 100.0, r"or a time"),
        (-1, 100.0, r"Grid\.window must be a whole number of at least 1; got -1"),
        (2.5, 100.0, r"got 2\.5"),
        (True, 100.0, r"got True"),
    ],
)
def test_lengths_that_are_neither_are_refused(length, rate, rule):
    with pytest.raises(ConfigError, match=rule):
        in_points("Grid.window", length, rate)
