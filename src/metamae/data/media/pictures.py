"""Pictures as arrays: judged by their headers, decoded upright, brought to one kind and size."""

import io
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metamae.data.columns.base import Array
from metamae.data.files import UNPACKED_MOST, legible
from metamae.data.media.tiffs import tiff_header, tiff_pages
from metamae.errors import DataError

_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF")
_TIFF = (".tif", ".tiff")
_PNG = b"\x89PNG\r\n\x1a\n"
# Pillow's mode of a file -> mode in which it is given out; 16-bit grey stays 16-bit.
_MODES = {
    "1": "L",
    "L": "L",
    "LA": "LA",
    "P": "RGB",
    "PA": "RGB",
    "RGB": "RGB",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "RGBA": "RGBA",
    "RGBa": "RGBA",
    "I;16": "I;16",
    "I;16B": "I;16",
    "I;16L": "I;16",
    "I;16N": "I;16",
}
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}
# Tags of a TIFF file; of EXIF, where orientations 5 to 8 exchange width and height.
_SUBFILE, _BITS, _SAMPLES, _ORIENTATION = 254, 258, 277, 0x0112
_COPY = 1 | 4  # Bits of the first of them: a smaller copy, a mask of transparency.


@dataclass(frozen=True)
class Picture:
    """What a header says of a picture as it will be given out.

    Attributes:
        kind: "L", "LA", "RGB", "RGBA" or "I;16" (16-bit grey), or bands and type in words.
        shape: (C, H, W).
        dtype: Of the values.
        bands: Whether it is a TIFF file of other values than 8-bit colours or 16-bit grey.
        cut: Whether 16-bit colours lose their lower 8 bits.
    """

    kind: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    bands: bool = False
    cut: bool = False


def probe(path: Path, mode: str) -> Picture:
    """Read a picture's header.

    Args:
        path: A PNG, JPEG, WebP, BMP or TIFF file.
        mode: "RGB" or "L" to convert to; "auto" keeps the kind of the file.

    Raises:
        DataError: If it is damaged, too large, or not one picture.
        ConfigError: If it needs a library that is not installed.
    """
    if path.suffix.lower() in _TIFF and _needs_bands(path, mode):
        return _probe_bands(path, mode)
    with _opened(path) as image:
        kind = "I;16" if (image.mode, image.format) == ("I", "PNG") else _MODES.get(image.mode)
        frames, size = _num_frames(image), (image.height, image.width)
        if _orientation(image) >= 5:
            size = size[::-1]
        cut = kind != "I;16" and any(";16" in str(tile[3]) for tile in image.tile)
    if kind is None or frames > 1:
        got = f"{frames} images in one file" if frames > 1 else f"mode {image.mode!r}"
        remedy = (
            "reader='volumes' reads a stack of images as a volume."
            if image.format == "TIFF"
            else "Save such data as an array in a .npy file."
        )
        raise DataError(
            f"{path} must hold one image of 8-bit channels or of 16-bit grey; got {got}. {remedy}"
        )
    kind = kind if mode == "auto" else mode
    dtype = np.dtype(np.uint16 if kind == "I;16" else np.uint8)
    return Picture(kind, (_CHANNELS[kind], *size), dtype, cut=cut and mode == "auto")


def decode(path: Path, mode: str, size: tuple[int, int] | None) -> Array:
    """Decode a picture as (C, H, W).

    Args:
        path: The file.
        mode: "L", "LA", "RGB", "RGBA" or "I;16" to convert it to.
        size: (H, W) to bring it to; None keeps its own.

    Raises:
        DataError: If the file is damaged.
    """
    with _opened(path, verify=True) as image:
        if size is not None and image.format in ("JPEG", "MPO"):
            # Decode at half, a quarter or an eighth of the size, but at least twice the target.
            height, width = size if _orientation(image) < 5 else size[::-1]
            image.draft(None, (2 * width, 2 * height))
        pixels = _pixels(_upright(image), mode, size)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def decode_bands(path: Path, size: tuple[int, int] | None) -> Array:
    """Decode a TIFF file of many bands or deep values as (C, H, W) of its own type.

    Args:
        path: The file.
        size: (H, W) to bring it to; None keeps its own.

    Raises:
        DataError: If the file is damaged.
    """
    image: Array = tiff_pages(path, 0, 1)[0]
    if size is None or image.shape[1:] == size:
        return image
    bands = np.stack([_resized_band(band, size) for band in image])
    if image.dtype.kind in "iu":
        limits = np.iinfo(image.dtype)
        # A float32 holds no exact bound of 32-bit numbers, hence the detour.
        bands = bands.astype(np.float64).round().clip(limits.min, limits.max)
    return np.asarray(bands, dtype=image.dtype)


def _resized_band(band: Array, size: tuple[int, int]) -> Array:
    from PIL import Image

    height, width = size
    image = Image.fromarray(band.astype(np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def _pixels(image: Any, mode: str, size: tuple[int, int] | None) -> Array:
    from PIL import Image

    if image.mode in ("I", "I;16", "I;16B", "I;16L", "I;16N"):
        deep = np.asarray(image).astype(np.int32)
        if mode == "I;16":
            if size is None:
                return deep.astype(np.uint16)
            deep = np.asarray(_resized(Image.fromarray(deep), size))
            return deep.clip(0, 2**16 - 1).astype(np.uint16)
        # Pillow has cut off instead of scaled here in some versions.
        image = Image.fromarray((deep >> 8).astype(np.uint8))
    if image.mode in ("P", "PA"):
        # By way of RGBA, because Pillow warns where a palette has transparent entries.
        image = image.convert("RGBA")
    if image.mode != mode:
        image = image.convert(mode)
    return np.asarray(image if size is None else _resized(image, size))


def _resized(image: Any, size: tuple[int, int]) -> Any:
    from PIL import Image

    height, width = size
    return image.resize((width, height), Image.Resampling.BILINEAR)


@contextmanager
def _opened(path: Path, verify: bool = False) -> Iterator[Any]:
    from PIL import Image

    remedy = "Repair or remove it."
    with legible(str(path), "must be a complete image", remedy), path.open("rb") as file:
        stream: Any = file
        # Only PNG keeps sums of its content, and loading does not compare them.
        if verify and file.read(len(_PNG)) == _PNG:
            raw = _PNG + file.read()
            _check_sums(path, raw)
            stream = io.BytesIO(raw)
        stream.seek(0)
        with Image.open(stream, formats=_FORMATS) as image:
            _check_pixels(path, image.width, image.height)
            yield image


def _check_sums(path: Path, raw: bytes) -> None:
    # Each chunk: length of its content, type, content, sum of type and content.
    position, kind = len(_PNG), b""
    while kind != b"IEND":
        end = position + 8 + int.from_bytes(raw[position : position + 4], "big")
        kind, body, stored = raw[position + 4 : position + 8], position + 4, raw[end : end + 4]
        if len(stored) < 4 or zlib.crc32(raw[body:end]) != int.from_bytes(stored, "big"):
            got = "a truncated one" if len(stored) < 4 else "a wrong sum of its content"
            raise DataError(f"{path} must be a complete image; got {got}. Repair or remove it.")
        position = end + 4


def _check_pixels(path: Path, width: int, height: int) -> None:
    from PIL import Image

    most = Image.MAX_IMAGE_PIXELS
    if most is not None and width * height > most:
        raise DataError(
            f"{path} must have at most {most} pixels; got {width} x {height}. Cut it into tiles."
        )


def _needs_bands(path: Path, mode: str) -> bool:
    # Whether Pillow would refuse a TIFF file, drop bands of it, or cut off bits.
    try:
        # Pillow warns of tags that it does not understand and tifffile does.
        with warnings.catch_warnings(action="ignore"), _opened(path) as image:
            known = _MODES.get(image.mode)
            if known is None or image.mode == "CMYK":
                return known is None
            tags = image.tag_v2
            deep = max(tags.get(_BITS, (1,))) > 8 and known != "I;16"
            more = tags.get(_SAMPLES, 1) > max(_CHANNELS[known], len(image.getbands()))
            return mode == "auto" and (deep or more or image.mode == "RGBX")
    except DataError:
        return True


def _probe_bands(path: Path, mode: str) -> Picture:
    header = tiff_header(path, UNPACKED_MOST)
    bands, height, width = header.shape
    _check_pixels(path, width, height)
    if header.pages > 1:
        raise DataError(
            f"{path} must hold one image; got {header.pages} images in one file. "
            "reader='volumes' reads a stack of images as a volume."
        )
    kind = f"{bands} bands of {header.dtype}"
    if mode != "auto":
        raise DataError(
            f"{path} must be convertible to mode={mode!r}; got {kind}. mode='auto' would do."
        )
    return Picture(kind, header.shape, header.dtype, bands=True)


def _num_frames(image: Any) -> int:
    # A JPEG may carry previews and depth maps, and its first image is the photograph.
    frames: int = 1 if image.format in ("JPEG", "MPO") else getattr(image, "n_frames", 1)
    if image.format == "TIFF" and frames > 1:
        full = 0
        for frame in range(frames):
            image.seek(frame)
            full += not image.tag_v2.get(_SUBFILE, 0) & _COPY
        image.seek(0)
        frames = full
    return frames


def _orientation(image: Any) -> int:
    # Pillow turns TIFF files by itself, and would have to decode a PNG to find the tag.
    if image.format not in ("JPEG", "MPO", "WEBP"):
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _upright(image: Any) -> Any:
    from PIL import ImageOps

    return ImageOps.exif_transpose(image) if _orientation(image) > 1 else image
