"""Volumes: medical images, and stacks of microscope images, decoded when they are asked for."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.core.extras import require
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array
from metamae.data.files import UNPACKED_MOST, check_unpacked, legible
from metamae.data.media.labels import check_labels
from metamae.data.media.samples import SampleFiles, Shape
from metamae.data.media.tiffs import tiff_header, tiff_pages
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import DataError

_STACKS = (".tif", ".tiff")
_GZIP_MOST = 1032  # Largest factor by which deflate can pack (RFC 1951: 258 bytes in 2 bits).


class VolumesReader(Reader):
    """Reads every volume below a folder as field "volume" (X, Y, Z), or (C, X, Y, Z).

    Values are of float32, scaled as the header says. A fourth axis, time or channels, comes
    first. Multi-page TIFF files are read as (Z, Y, X), or (C, Z, Y, X) if their pages have
    several bands; as `.tif` means images elsewhere, name the reader for them: reader="volumes".

    Class folders become field "label", a table of labels its columns.

    Args:
        labels: Path of a CSV, TSV or Parquet table with a column that names the files; "auto"
            takes the only CSV or TSV file in the folder, "none" none.
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "a folder of NIfTI, MGH, MINC or Analyze volumes, or one of them"
    extensions: ClassVar[tuple[str, ...]] = (".nii", ".nii.gz", ".mgz", ".mgh", ".mnc", ".img")
    folders: ClassVar[bool] = True
    local: ClassVar[tuple[str, ...]] = ("labels", "max_bytes")

    def __init__(self, *, labels: str = "auto", max_bytes: int = UNPACKED_MOST):
        self.labels = check_labels("VolumesReader.labels", labels)
        self.max_bytes = check_at_least("VolumesReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        files = SampleFiles.find(data, (*self.extensions, *_STACKS), "volume")
        files, shapes = files.probe(self._shape, aside)
        rule = "must have {usual} axes like most; got {got}. Store one volume per file."
        files, shapes = files.agreeing(shapes, len, rule, aside)
        if len(shapes[0]) == 4:
            rule = "must have {usual} channels like most; got {got}. Give the others a folder."
            files, shapes = files.agreeing(shapes, lambda shape: shape[0], rule, aside)
        volume = files.column(
            shapes, np.float32, _decode, decode_part=_decode, remedy="Resample them to one shape."
        )
        return files.records({"volume": volume}, field, self.labels)

    def _shape(self, path: Path) -> Shape:
        if _is_stack(path):
            header = tiff_header(path, self.max_bytes)
            (bands, height, width), pages = header.shape, header.pages
            return (pages, height, width) if bands == 1 else (bands, pages, height, width)
        with _opened(path) as image:
            layout = _layout(path, image)
            self._check_size(path, image)
        return layout.shape

    def _check_size(self, path: Path, image: Any) -> None:
        # Nothing may be allocated by what a header claims before the file's size is known.
        file = Path(getattr(image.dataobj, "file_like", path))
        size, dtype = file.stat().st_size, image.get_data_dtype()
        count = math.prod(map(int, image.shape))
        check_unpacked(str(path), size, 4 * count, self.max_bytes)
        packs = file.name.lower().endswith((".gz", ".mgz", ".mnc"))
        if count * dtype.itemsize > size * (_GZIP_MOST if packs else 1):
            raise DataError(
                f"{path} must hold {count * dtype.itemsize} bytes of values, as its header says; "
                f"got a file of {size} bytes. Copy or write it again."
            )


@dataclass(frozen=True)
class _Layout:
    """Where X, Y and Z stand among the axes of a file, and the one for time or channels."""

    shape: Shape
    space: tuple[int, ...]
    channels: int | None


def _layout(path: Path, image: Any) -> _Layout:
    stored = tuple(map(int, image.shape))
    # MINC has the axis of time first.
    first = len(stored) - 3 if path.name.lower().endswith(".mnc") else 0
    space = tuple(range(first, first + 3))
    others = [axis for axis, size in enumerate(stored) if axis not in space and size != 1]
    dtype = image.get_data_dtype()
    if len(stored) < 3 or len(others) > 1 or min(stored) < 1 or dtype.kind not in "uifb":
        raise DataError(
            f"{path} must hold real numbers with axes X, Y, Z and at most one for time or "
            f"channels; got {dtype} of shape {stored}. Save such data as an array in a .npy file."
        )
    shape = tuple(stored[axis] for axis in (*others, *space))
    return _Layout(shape, space, others[0] if others else None)


def _decode(path: Path, start: int = 0, stop: int | None = None) -> Array:
    # The part from `start` to `stop` along the last axis of a volume.
    if _is_stack(path):
        pages = tiff_pages(path)
        volume = (pages[:, 0] if pages.shape[1] == 1 else pages.swapaxes(0, 1))[..., start:stop]
        return np.ascontiguousarray(volume, dtype=np.float32)
    with _opened(path) as image:
        layout = _layout(path, image)
        index: list[Any] = [0] * len(image.shape)
        for axis in (*layout.space, *([] if layout.channels is None else [layout.channels])):
            index[axis] = slice(None)
        index[layout.space[-1]] = slice(start, stop)
        values = np.asarray(image.dataobj[tuple(index)])
        if layout.channels is not None and layout.channels > layout.space[0]:
            values = np.moveaxis(values, -1, 0)
        return np.ascontiguousarray(values, dtype=np.float32)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    nibabel = require("nibabel", "volumes", "Reading volumes")
    with legible(str(path), "must be a complete volume", "Repair or remove it."):
        yield nibabel.load(path)


def _is_stack(path: Path) -> bool:
    return path.name.lower().endswith(_STACKS)
