"""Several named numpy arrays in an .npz file."""

import logging
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array
from metamae.data.columns.values import as_column
from metamae.data.files import UNPACKED_MOST, check_field, check_unpacked, find_file, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import DataError

_log = logging.getLogger("metamae")
_REMEDY = "Write it again with np.savez."


@dataclass(frozen=True)
class _Entry:
    """An array of the archive, known by its header alone."""

    member: zipfile.ZipInfo
    shape: tuple[int, ...]


class NpzReader(Reader):
    """Reads every array (S, ...) of the file as a field of its own.

    Args:
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "named numpy arrays of one length, one field each"
    extensions: ClassVar[tuple[str, ...]] = (".npz",)

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("NpzReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        path, source = find_file(data), str(data)
        with (
            legible(source, "must be a complete .npz file", _REMEDY),
            zipfile.ZipFile(path) as file,
        ):
            entries = self._entries(source, path, file, field)
            columns = {name: _load(f"{source}, {name!r}", file, e) for name, e in entries.items()}
        return Records(columns, source)

    def _entries(
        self, source: str, path: Path, file: zipfile.ZipFile, field: str | None
    ) -> dict[str, _Entry]:
        members = {
            member.filename.removesuffix(".npy"): member
            for member in file.infolist()
            if member.filename.endswith(".npy")
        }
        if not members:
            raise DataError(f"{source} must hold at least one array; got none. {_REMEDY}")
        check_field(source, field, members)
        members = {name: m for name, m in members.items() if field in (None, name)}
        unpacked = sum(member.file_size for member in members.values())
        check_unpacked(source, path.stat().st_size, unpacked, self.max_bytes)
        entries = {name: _entry(f"{source}, {name!r}", file, m) for name, m in members.items()}
        samples = {name: entry for name, entry in entries.items() if entry.shape}
        if not samples:
            raise DataError(
                f"{source} must hold an array with an axis for the samples; got only single "
                f"values: {', '.join(entries)}. Save the samples as one array."
            )
        if left_out := [name for name in entries if name not in samples]:
            _log.info("%s: left out single values, not samples: %s", source, ", ".join(left_out))
        _check_lengths(source, samples)
        return samples


def _check_lengths(source: str, entries: Mapping[str, _Entry]) -> None:
    lengths = {name: entry.shape[0] for name, entry in entries.items()}
    (usual, _), *others = Counter(lengths.values()).most_common()
    if not others:
        return
    odd = ", ".join(repr(name) for name, length in lengths.items() if length != usual)
    kept = next(name for name, length in lengths.items() if length == usual)
    raise DataError(
        f"{source} must hold arrays of one length, a row per sample; got {lengths}. "
        f"If {odd} describe the data set and not its samples, leave them out of the file, or "
        f"read one field: field={kept!r} would do."
    )


def _entry(owner: str, file: zipfile.ZipFile, member: zipfile.ZipInfo) -> _Entry:
    with legible(owner, "must be a complete array", _REMEDY), file.open(member) as stream:
        shape, dtype = _header(stream)
        size = stream.tell() + prod(shape) * dtype.itemsize
    # Checked before numpy reserves memory for whatever size a damaged header states.
    if dtype.hasobject or size != member.file_size:
        got = "Python objects" if dtype.hasobject else f"{member.file_size} bytes, not {size}"
        raise DataError(
            f"{owner} must be a complete array of numbers or strings; got {got}. "
            "Convert it with astype(float) or astype(str) and save it again."
        )
    return _Entry(member, shape)


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    # Version 3 differs from 2 only for structured arrays, which cannot be columns.
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"version {version} of the array format is not supported")
    shape, _, dtype = read(stream)
    return shape, dtype


def _load(owner: str, file: zipfile.ZipFile, entry: _Entry) -> Array:
    # Reading to the end also checks the sum that the archive keeps of the entry.
    with legible(owner, "must be a complete array", _REMEDY), file.open(entry.member) as stream:
        array = np.lib.format.read_array(stream, allow_pickle=False)
    return as_column(owner, np.asarray(array))
