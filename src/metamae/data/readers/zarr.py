"""The arrays of a Zarr store: a folder or a Zip file, in version 2 or 3 of the format."""

import json
import os
import stat
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.core.extras import require
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array
from metamae.data.columns.blocks import Recent
from metamae.data.files import (
    UNPACKED_MOST,
    check_field,
    check_unpacked,
    find_path,
    is_path,
    legible,
)
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.stores import CHUNK_BYTES, Stored, columns_of
from metamae.errors import DataError

_REMEDY = "Write it again with zarr."
_MARKS = ("zarr.json", ".zgroup", ".zarray")  # one of these lies in the folder of every store
_DESCRIPTIONS = ("zarr.json", ".zgroup", ".zarray", ".zattrs")
_DESCRIPTION_BYTES = 2**24
_ZIP = ".zarr.zip"
_MOST = 10_000  # arrays in a store; more are no fields
# Codecs that only compute. Others may run what a file says: numcodecs knows one for pickles.
_CODECS = frozenset(
    "adler32 astype bitround blosc bytes bz2 cast_value crc32 crc32c delta fixedscaleoffset "
    "fletcher32 gzip jenkins_lookup3 lz4 lzma packbits pcodec quantize scale_offset "
    "sharding_indexed shuffle transpose zfpy zlib zstd".split()
)
# Their codecs trust a count of strings that may be damaged, and fill the memory.
_TEXTS = frozenset(("vlen-utf8", "vlen-bytes"))


class ZarrReader(Reader):
    """Reads every array (S, ...) of the store as a field of its own, "group/name" in groups.

    Chunks are read when they are asked for, and a few are kept. A store that is one array is
    field "X".

    Args:
        max_bytes: Size in memory above which an array that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "a Zarr folder or .zarr.zip file, a field per array"
    extensions: ClassVar[tuple[str, ...]] = (".zarr", _ZIP)

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("ZarrReader.max_bytes", max_bytes, 1)
        self._recent: dict[str, Recent] = {}

    def accepts(self, data: Any) -> bool:
        if not is_path(data):
            return False
        path = find_path(data)
        named = path.name.lower().endswith(self.extensions)
        return named or any((path / mark).is_file() for mark in _MARKS)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        require("zarr", "zarr", "Reading Zarr stores")
        path, source = find_path(data), str(data)
        with (
            legible(source, "must be a complete Zarr store", _REMEDY),
            # About foreign files in the folder, and types whose form may change in later versions.
            warnings.catch_warnings(action="ignore"),
        ):
            packed = dict(_entries(source, path))
            nodes, left_out = _nodes(source, path, packed)
            store, fit = _Store(path, nodes), {}
            for name, array in store.arrays().items():
                unfit = _unfit(array)
                if unfit:
                    left_out.append(f"{name} ({unfit})")
                else:
                    fit[name] = array
            check_field(source, field, fit)
            arrays = {
                name: _stored(store, name, array, packed)
                for name, array in fit.items()
                if field in (None, name)
            }
        columns = columns_of(source, arrays, left_out, field, self.max_bytes, self._recent)
        return Records(columns, source, row_word="row")


class _Store:
    """The arrays of a store, opened once per process: zarr has threads, which no fork survives."""

    def __init__(self, path: Path, nodes: Sequence[str]):
        self.path, self.nodes = path, list(nodes)
        self._opened: tuple[int, Mapping[str, Any]] = (-1, {})
        self._lock = (-1, Lock())

    def arrays(self) -> Mapping[str, Any]:
        process = os.getpid()
        if self._lock[0] != process:
            self._lock = (process, Lock())
        with self._lock[1]:
            if self._opened[0] != process:
                self._opened = (process, self._open())
            return self._opened[1]

    def read(self, name: str, start: int, stop: int) -> Array:
        values = np.asarray(self.arrays()[name][start:stop])
        return values.astype(object) if values.dtype.kind == "U" else values

    def _open(self) -> dict[str, Any]:
        zarr = require("zarr", "zarr", "Reading Zarr stores")
        store: Any = self.path
        if self.path.is_file():
            store = zarr.storage.ZipStore(self.path, mode="r")
        with warnings.catch_warnings(action="ignore"):
            # One after the other, because zarr logs what fails of several at once.
            return {
                node or "X": zarr.open_array(store, path=node or None, mode="r")
                for node in self.nodes
            }


def _entries(source: str, path: Path) -> Iterator[tuple[str, int]]:
    """Yield the name and the size in bytes of every file of a store, none of which is opened."""
    if path.is_file():
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                owner = f"{source}, {member.filename}"
                check_unpacked(owner, member.compress_size, member.file_size, CHUNK_BYTES)
                yield member.filename, member.file_size
        return
    if not path.is_dir():
        raise DataError(f"{source} must be a file or a folder; got a pipe, socket or device.")
    waiting = [path]
    while waiting:
        folder = waiting.pop()
        for entry in os.scandir(folder):
            status = entry.stat()
            if stat.S_ISREG(status.st_mode):
                yield Path(entry.path).relative_to(path).as_posix(), status.st_size
            elif stat.S_ISDIR(status.st_mode) and not entry.is_symlink():
                waiting.append(Path(entry.path))
            else:
                raise DataError(
                    f"{source} must hold files and folders only; got a link to a folder, a pipe or "
                    f"a device: {entry.path}. Remove it or put the folder in its place."
                )


def _nodes(source: str, path: Path, entries: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the paths of the arrays within a store; and what the others are.

    The path of a store that is an array is "".
    """
    nodes, left_out = [], []
    for entry in sorted(entries):
        folder, _, name = entry.rpartition("/")
        if name not in _DESCRIPTIONS:
            continue
        described = json.loads(_description(source, path, entry))
        if name == ".zarray" or (name == "zarr.json" and described.get("node_type") == "array"):
            unsafe = _unsafe(described)
            if unsafe:
                left_out.append(f"{folder or 'X'} ({unsafe})")
            else:
                nodes.append(folder)
    if len(nodes) > _MOST:
        raise DataError(f"{source} must hold at most {_MOST} arrays; got {len(nodes)}. {_REMEDY}")
    return nodes, left_out


def _description(source: str, path: Path, entry: str) -> bytes:
    if path.is_dir():
        with (path / entry).open("rb") as file:
            raw = file.read(_DESCRIPTION_BYTES + 1)
    else:
        with zipfile.ZipFile(path) as archive, archive.open(entry) as member:
            raw = member.read(_DESCRIPTION_BYTES + 1)
    if len(raw) > _DESCRIPTION_BYTES:
        raise DataError(
            f"{source}, {entry} must describe an array or a group; got more than "
            f"{_DESCRIPTION_BYTES} bytes. {_REMEDY}"
        )
    return raw


def _unfit(array: Any) -> str:
    """Say why an array cannot be a field; nothing if it can."""
    if array.ndim == 0:
        return "scalar"
    if not array.size:
        return "empty"
    kind = array.dtype.kind
    if kind == "U":
        return "" if array.ndim == 1 else f"strings of shape {array.shape}"
    return "" if kind in "biuf" or (kind == "M" and array.ndim == 1) else f"type {array.dtype}"


def _unsafe(described: Mapping[str, Any]) -> str:
    """Say what forbids to decode an array, by its description; nothing if nothing does."""
    codecs = [described.get(key) for key in ("codecs", "filters", "compressor")]
    names = set(_codec_names(codecs))
    if names & _TEXTS:
        return "strings of any length"
    strange = sorted(names - _CODECS)
    return f"codec {', '.join(strange)}, which is not known to be safe" if strange else ""


def _codec_names(found: Any) -> Iterator[str]:
    if isinstance(found, list | tuple):
        for item in found:
            yield from _codec_names(item)
    elif isinstance(found, Mapping):
        name = found.get("name", found.get("id"))
        if isinstance(name, str):
            yield name.removeprefix("numcodecs.")
        configuration = found.get("configuration")
        if isinstance(configuration, Mapping):
            yield from _codec_names([configuration.get(k) for k in ("codecs", "index_codecs")])


def _stored(store: _Store, name: str, array: Any, packed: Mapping[str, int]) -> Stored:
    prefix = f"{array.path}/" if array.path else ""
    size = sum(num_bytes for entry, num_bytes in packed.items() if entry.startswith(prefix))
    text = array.dtype.kind == "U"
    return Stored(
        tuple(array.shape),
        np.dtype(object) if text else np.dtype(array.dtype),
        tuple(array.chunks),
        size,
        partial(store.read, name),
    )
