"""What happens to a recording before it is cut into tokens: one rate, and for sound a spectrogram.

A log-mel spectrogram is the power of short frames of sound in bands that are as wide as the ear
tells frequencies apart, in decibels.
"""

import math
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.core.checks import check_at_least, check_between, check_one_of
from metamae.errors import ConfigError
from metamae.modalities.grid.resampling import resample, resampled_lengths

Array = NDArray[Any]
Index = NDArray[np.int64]

NAMES = ("none", "waveform", "log_mel")
FLOOR = 1e-10  # power below which there is silence: -100 dB of a wave of full size
BANDS = 8  # tokens along the mel axis where no cell is asked for
LONGEST_CELL = 16  # frames of such a token
SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
USUAL_SECONDS = 5.0  # of sound, which an automatic cell is chosen for at most


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How recordings become samples of one kind.

    Args:
        name: "log_mel", a spectrogram of sound (1, mels, frames); "waveform", sound itself
            (1, samples); "none", any series (C, L). Sound is the mean of its channels, and whole
            numbers of up to 32 bits are scaled to the range from -1 to 1.
        rate: Points per second that recordings are resampled to; for "none", per any unit.
        rate_field: Field that holds the rate of each recording; None if all have the rate above.
        mels: Bands of a spectrogram.
        frame: Length of a frame, in seconds.
        hop: Distance between the middles of frames, in seconds.
        fmin: Where the lowest band begins, in Hz.
        fmax: Where the highest band ends, in Hz; 0 for half the rate.

    Raises:
        ConfigError: If a setting is out of its range.
    """

    name: str = "none"
    rate: float
    rate_field: str | None = None
    mels: int = 64
    frame: float = 0.025
    hop: float = 0.01
    fmin: float = 0.0
    fmax: float = 0.0

    def __post_init__(self) -> None:
        check_one_of("Preparation.name", self.name, NAMES)
        check_between("Preparation.rate", self.rate, 0, float("inf"))
        check_at_least("Preparation.mels", self.mels, 2)
        if self.name != "log_mel":
            return
        # A frame of two points is the shortest that has a frequency at all.
        check_between("Preparation.frame", self.frame, 2 / self.rate, 10)
        check_between("Preparation.hop", self.hop, 1 / self.rate, 10, closed=True)
        check_between("Preparation.fmax", self.fmax, 0, self.rate / 2, closed=True)
        check_between("Preparation.fmin", self.fmin, 0, self.highest, closed=True)
        if not self.fmin < self.highest:
            raise ConfigError(
                f"Preparation.fmin must lie below fmax = {self.highest:g}; got {self.fmin:g}. 0 "
                f"would do."
            )
        self.filters()

    def settings(self) -> dict[str, Any]:
        """Return what a user may want to change, as settings of a grid."""
        own = ("name", "mels", "frame", "hop", "fmin", "fmax") if self.name == "log_mel" else ()
        chosen: dict[str, Any] = {"rate": self.rate}
        if self.rate_field is not None:
            chosen["rate_field"] = self.rate_field
        return chosen | ({"prepare": {name: getattr(self, name) for name in own}} if own else {})

    @property
    def sound(self) -> bool:
        """Whether a recording is a wave of sound."""
        return self.name != "none"

    @property
    def highest(self) -> float:
        """Where the highest band ends, in Hz."""
        return self.fmax or self.rate / 2

    @property
    def step(self) -> int:
        """Points between the middles of two frames."""
        return max(1, round(self.hop * self.rate))

    def points(self, points: Index, rates: Array | None) -> Index:
        """Points of recordings (S,) at the common rate, given the rate of each, (S,)."""
        return points if rates is None else resampled_lengths(points, rates, self.rate)

    def sizes(self, points: Index) -> Index:
        """Sizes of the samples made of so many points at the common rate: (S,) -> (S, axes)."""
        if self.name != "log_mel":
            return points[:, None]
        frames = np.where(points > 0, 1 + points // self.step, 0)
        return np.stack([np.where(points > 0, self.mels, 0), frames], axis=1)

    def auto_cell(self, points: int) -> tuple[int, ...]:
        """Choose the cell of a spectrogram of so many points at the common rate.

        Eight bands of tokens, about as many in a row, and none longer than 16 frames.
        """
        frames = 1 + points // self.step
        wide = min(LONGEST_CELL, max(1, round(frames / BANDS)))
        return max(1, round(self.mels / BANDS)), wide

    def __call__(self, values: Array, rate: float | None) -> Array:
        """Prepare one recording.

        Args:
            values: (C, L), NaN where missing.
            rate: Its points per unit; None if it has the common rate.

        Returns:
            (C, L'), (1, L') or (1, mels, frames).
        """
        if self.sound:
            values = _wave(values)
        if rate is not None:
            values = resample(values, rate, self.rate)
        return self.log_mel(values[0])[None] if self.name == "log_mel" else values

    def log_mel(self, wave: Array) -> NDArray[np.float32]:
        """Return the spectrogram of a wave (L,) at the common rate: (mels, frames), in decibels.

        Frames are weighed by a Hann window and centred on multiples of the hop, with silence
        beyond the ends. 0 dB is the power that a constant wave of size 1 would have. A frame
        that touches a missing value is missing.
        """
        bank, size = self.filters()
        length = round(self.frame * self.rate)
        window = torch.hann_window(length)
        x = torch.from_numpy(np.ascontiguousarray(wave, dtype=np.float32))
        spectrum = torch.stft(
            x,
            size,
            hop_length=self.step,
            win_length=length,
            window=window,
            center=True,
            pad_mode="constant",
            return_complex=True,
        )
        power = spectrum.abs().square() / window.sum().square()  # (size / 2 + 1, frames)
        decibels: NDArray[np.float32] = (10 * (bank @ power).clamp(min=FLOOR).log10()).numpy()
        return decibels

    def filters(self) -> tuple[Tensor, int]:
        """Return the mel filters (mels, bins), and the points of a frame filled up with zeros.

        Raises:
            ConfigError: If there are more bands than frequencies to tell apart.
        """
        length = round(self.frame * self.rate)
        return _filters(self.rate, length, self.mels, self.fmin, self.highest)


def in_points(owner: str, length: int | str, rate: float | None) -> int:
    """Return a length as a whole number of points, at least 1.

    Args:
        owner: Setting that messages name, e.g. "Grid.window".
        length: Points, or a time such as "2 s", "500 ms" or "1 min".
        rate: Points per second; None if it is not known.

    Raises:
        ConfigError: If it is neither, or a time without a known rate.
    """
    if not isinstance(length, str):
        return check_at_least(owner, length, 1)
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(ms|s|min|h)\s*", length)
    if found is None:
        raise ConfigError(
            f"{owner} must be a number of points or a time in ms, s, min or h; got {length!r}. "
            f"'2 s' would do."
        )
    if rate is None:
        raise ConfigError(
            f"{owner} must be a number of points where the sampling rate is not known; got "
            f"{length!r}. rate=100 would say that there are 100 points in a second."
        )
    # Longer than any recording is as good as endless, and still a whole number.
    return int(min(max(1.0, float(found[1]) * SECONDS[found[2]] * rate), 2.0**62))


def mel(frequency: Array) -> Array:
    """Hz -> mel, in the form of O'Shaughnessy (1987) that HTK uses: 2595 log10(1 + f / 700)."""
    return np.asarray(2595 * np.log10(1 + frequency / 700))


def mel_filters(edges: Array, bins: Array) -> Array:
    """Triangles over frequencies: filter m rises from edge m to edge m + 1 and falls to m + 2.

    Args:
        edges: In Hz, ascending, (mels + 2,).
        bins: Frequencies, in Hz.

    Returns:
        (mels, bins), at most 1.
    """
    low, middle, high = (edges[n : len(edges) - 2 + n, None] for n in range(3))
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.asarray(np.minimum(rising, falling).clip(min=0))


@lru_cache(maxsize=16)
def _filters(rate: float, length: int, mels: int, fmin: float, fmax: float) -> tuple[Tensor, int]:
    low, high = mel(np.array([fmin, fmax]))
    edges = 700 * (10 ** (np.linspace(low, high, mels + 2) / 2595) - 1)
    first = 2 ** math.ceil(math.log2(length))
    # Zeros behind a frame give more frequencies, so that no band falls between two of them.
    for size in (first, 2 * first, 4 * first):
        bank = mel_filters(edges, np.arange(size // 2 + 1) * rate / size)
        if bank.any(axis=1).all():
            return torch.from_numpy(bank.astype(np.float32)), size
    raise ConfigError(
        f"Preparation.mels must be few enough for every band to hold a frequency; got {mels} from "
        f"{fmin:g} to {fmax:g} Hz with frames of {length} points. {max(2, mels // 2)}, or a "
        f"longer frame, would do."
    )


def _wave(values: Array) -> NDArray[np.float32]:
    """Mean of the channels of sound, (1, L), whole numbers scaled to -1 .. 1."""
    mean: NDArray[np.float32] = values.mean(axis=0, keepdims=True, dtype=np.float64)
    # A type that no sound is stored in tells nothing of the range.
    if values.dtype.kind in "iu" and values.dtype.itemsize <= 4:
        half = 2.0 ** (8 * values.dtype.itemsize - 1)
        # Whole numbers without a sign rest in the middle of their range.
        mean = (mean - half) / half if values.dtype.kind == "u" else mean / half
    return mean.astype(np.float32)
