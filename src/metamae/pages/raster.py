"""Arrays as small pictures inside a page: PNG and JPEG as data URIs."""

import base64
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Pixels = NDArray[np.uint8]
Limits = tuple[float, float]

HIDDEN = (140, 165, 215)
"""Colour of what was hidden, which is no colour of a grey picture."""
MISSING = (200, 200, 200)
LARGEST_PNG = 32  # pixels along a side above which a picture of many colours becomes a JPEG
SLICES = 3  # of a volume that are shown
SIDE = 192  # pixels along a side that a small picture is enlarged to, at most


def limits(values: Array) -> Limits:
    """Return the values that are black and white.

    A picture with values from 0 to 255, or from 0 to 1, keeps its brightness; others are
    stretched over what there is.
    """
    known = values[np.isfinite(values)] if values.dtype.kind == "f" else values
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    for top in (1.0, 255.0):
        # Values that went through standardising come back with a rounding error.
        if low >= -1e-4 * top and top / 4 < high <= top * (1 + 1e-4):
            return 0.0, top
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def paint(values: Array, scale: Limits, blank: NDArray[np.bool_] | None = None) -> Pixels:
    """Paint an image (C, H, W): three channels as colours, of others the first as grey.

    Args:
        values: The image; NaN where nothing is known.
        scale: Values that are black and white.
        blank: True where a value is hidden, (C, H, W).

    Returns:
        (H, W, 3).
    """
    shown = _channels(np.asarray(values, dtype=np.float64))
    low, high = scale
    unknown = ~np.isfinite(shown).all(axis=0)
    unit = np.clip((np.nan_to_num(shown, nan=low) - low) / (high - low), 0, 1)
    pixels = np.ascontiguousarray((unit * 255).round().astype(np.uint8).transpose(1, 2, 0))
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    pixels[unknown] = MISSING
    if blank is not None:
        pixels[_channels(blank).any(axis=0)] = HIDDEN
    return pixels


def paint_heat(values: Array, scale: Limits, blank: NDArray[np.bool_] | None = None) -> Pixels:
    """Paint a spectrogram (1, bands, frames), low bands at the bottom, from dark to bright."""
    grey = paint(values[:1], scale)[::-1, :, 0].astype(np.float64)
    # From near black by way of violet and orange to near white: brightness rises all the way.
    stops = np.array([[8, 6, 30], [110, 30, 110], [220, 80, 60], [250, 240, 180]])
    at = np.array([0.0, 85.0, 170.0, 255.0])
    mixed = [np.interp(grey, at, stops[:, channel]) for channel in range(3)]
    pixels = np.stack(mixed, axis=2).round().astype(np.uint8)
    if blank is not None:
        pixels[blank[0][::-1]] = HIDDEN
    return pixels


def montage(values: Array, chosen: NDArray[np.int64] | None = None) -> Array:
    """Put slices of a volume (C, depth, H, W) side by side: (C, H, slices times W).

    Args:
        values: The volume.
        chosen: Positions of the slices; the middles of equal parts if not given.
    """
    if chosen is None:
        depth = values.shape[1]
        chosen = np.unique(((np.arange(SLICES) + 0.5) * depth / SLICES).astype(np.int64))
    return np.concatenate([values[:, at] for at in chosen], axis=2)


def enlarged(pixels: Pixels, side: int = SIDE) -> Pixels:
    """Repeat the pixels of a small picture, so that they stay squares when a page is printed."""
    times = max(1, side // max(pixels.shape[:2]))
    return np.repeat(np.repeat(pixels, times, axis=0), times, axis=1)


def to_uri(pixels: Pixels, most: int | None = None) -> str:
    """Encode a picture (H, W, 3) as a data URI.

    Args:
        pixels: The picture.
        most: Pixels along its longer side that it is scaled down to.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    if most is not None and max(image.size) > most:
        share = most / max(image.size)
        size = tuple(max(1, round(n * share)) for n in image.size)
        image = image.resize((size[0], size[1]), Image.Resampling.BOX)
    buffer = BytesIO()
    if most is not None and max(image.size) > LARGEST_PNG:
        image.save(buffer, "JPEG", quality=75)
        return _uri("image/jpeg", buffer.getvalue())
    colours = image.getcolors(256)
    if colours is not None and all(c[0] == c[1] == c[2] for _, c in colours):  # type: ignore[index]
        image = image.convert("L")
    image.save(buffer, "PNG", optimize=most is None)
    return _uri("image/png", buffer.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _channels(values: Array) -> Array:
    return values[:3] if len(values) == 3 else values[:1]
