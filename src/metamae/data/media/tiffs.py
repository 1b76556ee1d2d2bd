"""TIFF files that general image libraries cannot read: many bands, deep values, stacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.extras import require
from metamae.data.columns.base import Array
from metamae.data.files import check_unpacked, legible
from metamae.errors import DataError

_LAYOUTS = {"YX", "YXS", "SYX"}  # One band, bands by pixel, bands by plane.
_COPY = 1 | 4  # Bits of the tag NewSubfileType: a smaller copy, a mask of transparency.


@dataclass(frozen=True)
class TiffHeader:
    """What the tags of a TIFF file say.

    Attributes:
        pages: Number of full-size images.
        shape: (C, H, W) of each of them.
        dtype: Of their values, in the order of bytes of this machine.
    """

    pages: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]


def tiff_header(path: Path, max_bytes: int) -> TiffHeader:
    """Read the tags of a TIFF file, and compare what they claim with the file's size.

    Raises:
        DataError: If it is damaged, would expand beyond `max_bytes`, or is not a stack of
            equal images of real numbers.
        ConfigError: If tifffile is not installed.
    """
    with _opened(path) as pages:
        found = {_layout(path, page) for page in pages}
        if len(found) > 1:
            raise DataError(
                f"{path} must hold images of one shape and type; got {len(found)} kinds in "
                f"{len(pages)} images. Save them as separate files."
            )
        (shape, dtype), *_ = found
        header = TiffHeader(len(pages), shape, dtype)
        unpacked = len(pages) * int(np.prod(shape)) * dtype.itemsize
        size = path.stat().st_size
        check_unpacked(str(path), size, unpacked, max_bytes)
        for page in pages:
            _check_segments(path, page, size)
        return header


def tiff_pages(path: Path, start: int = 0, stop: int | None = None) -> Array:
    """Decode some of the images of a TIFF file as (pages, C, H, W).

    Raises:
        DataError: If it is damaged.
        ConfigError: If tifffile or the decoder of its compression is not installed.
    """
    with _opened(path) as pages:
        images = []
        for page in pages[start:stop]:
            image = page.asarray(maxworkers=1)
            if page.axes == "YX":
                image = image[None]
            elif page.axes == "YXS":
                image = image.transpose(2, 0, 1)
            images.append(image)
        return np.stack(images)


@contextmanager
def _opened(path: Path) -> Iterator[list[Any]]:
    tifffile = require("tifffile", "tiff", "Reading TIFF files of many bands, deep values or pages")
    with legible(str(path), "must be a complete TIFF file", "Repair or remove it."):
        # The description in an OME file may name other files, which are not to be opened.
        with tifffile.TiffFile(path, is_ome=False) as file:
            pages, seen = [], set[int]()
            for page in file.pages:
                # Each names the place of the next, which in a damaged file may lie before it.
                if page.offset in seen:
                    raise DataError(f"{path} must list each image once; got a circle. Remove it.")
                seen.add(page.offset)
                if not page.subfiletype & _COPY:
                    pages.append(page)
            if not pages:
                raise DataError(f"{path} must hold an image; got none. Remove it.")
            yield pages


def _layout(path: Path, page: Any) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    if page.dtype is None or page.dtype.kind not in "uifb" or page.axes not in _LAYOUTS:
        raise DataError(
            f"{path} must hold images of real numbers with axes {' or '.join(sorted(_LAYOUTS))}; "
            f"got {page.dtype} with axes {page.axes}. Save such data as an array in a .npy file."
        )
    shape = {"YX": (1, *page.shape), "SYX": page.shape}.get(
        page.axes, (page.shape[-1], *page.shape[:-1])
    )
    if min(shape) < 1:
        raise DataError(f"{path} must hold at least one pixel; got shape {shape}. Remove it.")
    return shape, page.dtype.newbyteorder("=")


def _check_segments(path: Path, page: Any, size: int) -> None:
    # Missing strips and tiles would be filled with zeros in silence.
    offsets, counts = np.array(page.dataoffsets), np.array(page.databytecounts)
    packed = int(counts.sum())
    if len(offsets) != len(counts) or (offsets + counts > size).any() or not packed:
        raise DataError(
            f"{path} must hold all the strips that its header lists; got {size} bytes. "
            "Copy or write it again."
        )
    if page.compression == 1 and packed < page.nbytes:
        raise DataError(
            f"{path} must hold {page.nbytes} bytes per image, as its header says; got {packed}. "
            "Copy or write it again."
        )
