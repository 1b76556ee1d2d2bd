"""Arrays in the IDX format of the MNIST family, plain or packed with gzip.

The format: two zero bytes, a type, the number of axes, the length of each axis as a big-endian
32-bit number, then the values. Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database.
"""

import gzip
import math
import struct
from pathlib import Path
from typing import IO, Any, ClassVar, cast

import numpy as np

from metamae.core.checks import check_at_least
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array, Column
from metamae.data.columns.values import as_column
from metamae.data.files import UNPACKED_MOST, check_field, check_unpacked, find_file, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import DataError

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_AXES = 4


class IdxReader(Reader):
    """Reads an array (S, ...) as field "image", or "X" if it holds no images.

    Labels in a second file whose name tells that it belongs to the first, as in
    "train-images-idx3-ubyte" and "train-labels-idx1-ubyte", become field "label".

    Args:
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "arrays in the IDX format of MNIST, with labels in a second file"
    extensions: ClassVar[tuple[str, ...]] = ("-ubyte", "-ubyte.gz", ".idx", ".idx.gz")

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("IdxReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        path, source = find_file(data), str(data)
        values = self._array(path, source)
        columns: dict[str, Column] = {"image" if values.ndim > 2 else "X": values}
        beside = _labels_of(path)
        if beside is not None:
            labels = self._array(beside, str(beside))
            if labels.shape != values.shape[:1]:
                raise DataError(
                    f"{beside} must hold one label per sample of {source}; got shape "
                    f"{labels.shape} for {len(values)} samples. Move it away if it is not theirs."
                )
            columns["label"] = labels
        check_field(source, field, columns)
        records = Records(columns, source)
        return records if field is None else records.only([field])

    def _array(self, path: Path, source: str) -> Array:
        rule = "must be a complete file in IDX format"
        with legible(source, rule, "Fetch or write it again."), _opened(path) as file:
            dtype, shape = _header(file, source)
            size = math.prod(shape) * dtype.itemsize
            packed = path.stat().st_size
            check_unpacked(source, packed, size, self.max_bytes)
            # One byte more than promised shows a file that is too long. What is read is bounded
            # by the file where it is not packed, and by the check above where it is.
            raw = file.read(size + 1)
        if len(raw) != size:
            got = "more" if len(raw) > size else f"{len(raw)}"
            raise DataError(
                f"{source} must hold {size} bytes of values as its header says; got {got}. The "
                f"file is damaged: fetch or write it again."
            )
        return as_column(source, np.frombuffer(raw, dtype).reshape(shape))


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")


def _header(file: IO[bytes], source: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    zero, kind, axes = struct.unpack(">HBB", file.read(4))
    if zero != 0 or kind not in _TYPES or not 1 <= axes <= _MOST_AXES:
        raise DataError(
            f"{source} must begin with an IDX header; got type {kind:#x} and {axes} axes. Give a "
            f"file in that format, or name its reader."
        )
    shape = struct.unpack(f">{axes}I", file.read(4 * axes))
    return np.dtype(_TYPES[kind]), shape


def _labels_of(path: Path) -> Path | None:
    """The file of labels that belongs to a file of images, if it is there."""
    name = path.name.replace("images", "labels")
    for axes in range(2, _MOST_AXES + 1):
        name = name.replace(f"idx{axes}", "idx1")
    beside = path.with_name(name)
    return beside if name != path.name and beside.is_file() else None
