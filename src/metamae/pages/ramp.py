"""Colours for strangeness: from white for the usual by way of yellow and red to dark violet.

Brightness falls all the way, so that a grey print and eyes that see few colours tell the order.
Strangeness may span orders of magnitude: colours follow it as it is near the usual, and by its
logarithm far from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.pages.raster import MISSING, Pixels

Array = NDArray[Any]

STOPS = np.array([[255, 255, 255], [255, 224, 130], [244, 140, 60], [196, 40, 60], [80, 20, 100]])
FULL = 0.99  # quantile of the strangeness of what is shown that has the last colour


@dataclass(frozen=True)
class Ramp:
    """Which strangeness has which colour.

    Attributes:
        low: White, like everything below: the median of the tokens of normal samples.
        rare: What one in a hundred tokens of normal samples exceeds.
        high: The last colour, like everything above.
    """

    low: float
    rare: float
    high: float

    @property
    def unit(self) -> float:
        """Where the logarithm takes over: what is rare lies one unit above the usual."""
        return self.rare - self.low if self.rare > self.low else self.high - self.low

    def share(self, values: Array) -> Array:
        """How far along the colours values lie, from 0 to 1; NaN stays."""
        steps = np.log1p(np.maximum((values - self.low) / self.unit, 0))
        shares: Array = np.minimum(steps / np.log1p((self.high - self.low) / self.unit), 1)
        return shares

    def value(self, shares: Array) -> Array:
        """Undo `share`."""
        whole = np.log1p((self.high - self.low) / self.unit)
        values: Array = self.low + self.unit * np.expm1(shares * whole)
        return values

    def colours(self, values: Array) -> Pixels:
        """Colours of values, (...,) -> (..., 3); what is NaN is grey."""
        known = ~np.isnan(values)
        within = np.clip(np.where(known, values, self.low), self.low, self.high)
        shares = np.nan_to_num(self.share(within))
        at = np.linspace(0, 1, len(STOPS))
        mixed = [np.interp(shares, at, STOPS[:, channel]) for channel in range(3)]
        pixels = np.stack(mixed, axis=-1).round().astype(np.uint8)
        pixels[~known] = MISSING
        return pixels


def ramp_of(usual: tuple[float, float], shown: Sequence[Array]) -> Ramp:
    """Choose the colours for some samples.

    Args:
        usual: Median of the strangeness of tokens of normal samples, and what one in a hundred of
            them exceeds.
        shown: Strangeness of the tokens of each sample that is shown; NaN where there is none.
    """
    low, rare = usual
    every = np.concatenate([np.empty(0), *(np.ravel(own) for own in shown)])
    known = every[np.isfinite(every)]
    high = max(rare, float(np.quantile(known, FULL))) if known.size else rare
    # Where all are alike there is nothing to tell apart, but a scale needs two ends.
    return Ramp(low, rare, high if high > low else low + max(1e-6, abs(low) * 1e-6))


def css(colour: Array) -> str:
    """Write a colour for a style."""
    return "#{:02x}{:02x}{:02x}".format(*(int(v) for v in colour))


def ink_on(colour: Array) -> str:
    """Return black or white, whichever is read better on a colour."""
    linear = (np.asarray(colour, dtype=np.float64) / 255) ** 2.2
    # Where both are read equally well (WCAG 2.2, contrast ratio).
    return "#000000" if linear @ [0.2126, 0.7152, 0.0722] > 0.179 else "#ffffff"
