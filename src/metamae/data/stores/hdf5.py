"""Datasets of HDF5 files, looked at before they are trusted."""

import mmap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.extras import require
from metamae.data.columns.base import Array
from metamae.data.files import check_field, check_unpacked, legible
from metamae.data.stores.fields import Stored
from metamae.errors import DataError

_REMEDY = "Write it again with h5py."
# How a string or list of any length is stored: its length, and where it lies in a heap.
_POINTER = np.dtype([("length", "<u4"), ("address", "<u8"), ("index", "<u4")])
_MOST = 10_000  # objects in a file; more are no fields


def opened(path: Path) -> Any:
    """Open a file to read it, for one read: neither threads nor processes may share a handle."""
    h5py = require("h5py", "hdf5", "Reading HDF5 files")
    return h5py.File(path, "r", locking="best-effort")


def stored_datasets(
    source: str, path: Path, field: str | None, most: int
) -> tuple[dict[str, Stored], list[str]]:
    """Return the datasets that could be a field, by name; and what the others are.

    Args:
        source: What messages call the file.
        path: The file.
        field: The one to keep; None keeps all.
        most: Bytes above which lists that pack suspiciously well are refused.

    Raises:
        DataError: If the file is damaged, holds its data elsewhere or not the field asked for.
    """
    fit, left_out = {}, []
    with (
        legible(source, "must be a complete HDF5 file", _REMEDY),
        path.open("rb"),  # says what is wrong with permissions
        opened(path) as file,
    ):
        for name, item in _walk(source, file):
            if isinstance(item, str):
                left_out.append(f"{name} ({item})")
            else:
                fit[name] = item
        check_field(source, field, fit)
        kept = {name: item for name, item in fit.items() if field in (None, name)}
        for name, item in kept.items():
            if item.dtype.kind == "O":
                check_lengths(f"{source}, {name!r}", path, item, most)
        if any(item.dtype.kind == "O" for item in kept.values()):
            check_heaps(source, path)
        arrays = {name: stored(f"{source}, {name!r}", path, item) for name, item in kept.items()}
    return arrays, left_out


def _walk(source: str, file: Any) -> Iterator[tuple[str, Any]]:
    """Yield the name of every dataset, and the dataset or why it is no field."""
    h5py = require("h5py", "hdf5", "Reading HDF5 files")
    seen, waiting, count = set(), [("", file)], 0
    while waiting:
        prefix, group = waiting.pop()
        for key in group:
            count += 1
            link, name = group.get(key, getlink=True), prefix + key
            if count > _MOST:
                raise DataError(f"{source} must hold at most {_MOST} objects; got more. {_REMEDY}")
            if isinstance(link, h5py.ExternalLink):
                raise DataError(
                    f"{source} must hold its data itself; got a link from {name!r} to another "
                    "file. Copy the data into one file."
                )
            if isinstance(link, h5py.SoftLink):
                yield name, "a link"
                continue
            item = group[key]
            if isinstance(item, h5py.Group):
                identity = h5py.h5o.get_info(item.id).addr
                if identity not in seen:
                    seen.add(identity)
                    waiting.append((f"{name}/", item))
            elif isinstance(item, h5py.Dataset):
                yield name, _unfit(h5py, item) or item


def _unfit(h5py: Any, dataset: Any) -> str:
    """Say why a dataset cannot be a field; nothing if it can."""
    if dataset.shape is None or dataset.ndim == 0:
        return "scalar"
    if not dataset.size:
        return "empty"
    dtype, vlen = dataset.dtype, h5py.check_vlen_dtype(dataset.dtype)
    text = h5py.check_string_dtype(dtype)
    if text and dataset.ndim > 1:
        return f"strings of shape {dataset.shape}"
    if vlen not in (None, str, bytes) and (dataset.ndim > 1 or np.dtype(vlen).kind not in "biuf"):
        return f"lists of {vlen}, shape {dataset.shape}"
    if dtype.kind == "O" and _pointers(h5py, dataset) is None:
        return "strings or lists in compressed chunks"
    return "" if text or dtype.kind in "biufO" else f"type {dtype}"


def _pointers(h5py: Any, dataset: Any) -> list[tuple[int, int]] | None:
    """Return the places and sizes in the file of a dataset's pointers to lists, in bytes."""
    place, properties = dataset.id.get_offset(), dataset.id.get_create_plist()
    if dataset.file.id.get_create_plist().get_sizes() != (8, 8) or properties.get_nfilters():
        return None
    if place is not None:
        return [(place, dataset.size * _POINTER.itemsize)]
    if dataset.chunks is None or dataset.is_virtual:
        return None
    chunks = (dataset.id.get_chunk_info(n) for n in range(dataset.id.get_num_chunks()))
    return [(chunk.byte_offset, chunk.size) for chunk in chunks]


def stored(owner: str, path: Path, dataset: Any) -> Stored:
    """Describe a dataset.

    Raises:
        DataError: If its data lie in another file, or cannot be decoded.
    """
    h5py = require("h5py", "hdf5", "Reading HDF5 files")
    elsewhere = dataset.is_virtual and any(s.file_name != "." for s in dataset.virtual_sources())
    if dataset.external or elsewhere:
        raise DataError(
            f"{owner} must hold its data itself; got data in another file. Copy them into one file."
        )
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, *_, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise DataError(
                f"{owner} must be compressed with a filter that is installed; got filter {code} "
                f"({name.decode(errors='replace') or 'unnamed'}). The package hdf5plugin has many; "
                "or write it with gzip."
            )
    texts = h5py.check_string_dtype(dataset.dtype) is not None
    dtype = np.dtype(object) if texts else dataset.dtype
    size, packed = path.stat().st_size, int(dataset.id.get_storage_size())
    offset = dataset.id.get_offset()
    plain = offset is not None and dtype.kind != "O"
    needed = max(packed, dataset.size * dtype.itemsize) if plain else packed
    if (offset or 0) + needed > size:
        raise DataError(
            f"{owner} must lie within its file; got {needed} bytes in a file of {size}. {_REMEDY}"
        )
    return Stored(
        dataset.shape,
        dtype,
        None if dataset.is_virtual else dataset.chunks,
        packed,
        partial(_read, path, dataset.name),
        np.memmap(path, dtype, "r", offset, dataset.shape) if plain else None,
    )


def check_lengths(owner: str, path: Path, dataset: Any, most: int) -> None:
    """Refuse lists or strings that claim to be longer than all that is stored.

    Raises:
        DataError: If they do.
    """
    h5py = require("h5py", "hdf5", "Reading HDF5 files")
    total, size = 0, path.stat().st_size
    vlen = h5py.check_vlen_dtype(dataset.dtype)
    width = 1 if vlen in (str, bytes) else np.dtype(vlen).itemsize
    for place, num_bytes in _pointers(h5py, dataset) or ():
        if place + num_bytes > size:
            raise DataError(f"{owner} must lie within its file; got data beyond its end. {_REMEDY}")
        lengths = np.memmap(path, _POINTER, "r", place, num_bytes // _POINTER.itemsize)["length"]
        longest = int(lengths.max(initial=0)) * width
        total += int(lengths.sum(dtype=np.int64)) * width
        if longest > size:
            raise DataError(
                f"{owner} must hold lists no longer than its file; got one of {longest} bytes in a "
                f"file of {size}. {_REMEDY}"
            )
    check_unpacked(owner, size, total, most)


def check_group(source: str, path: Path, group: Any, most: int) -> None:
    """Refuse a group with strings or attributes on which the library could crash.

    Raises:
        DataError: If strings claim to be longer than all that is stored, an attribute is neither
            a number nor a string, or data lie in another file.
    """
    _check_attributes(source, group)
    group.visititems(lambda name, item: _check_attributes(f"{source}, {name!r}", item))
    for name, item in _walk(source, group):
        if not isinstance(item, str) and item.dtype.kind == "O":
            check_lengths(f"{source}, {name!r}", path, item, most)


def _check_attributes(owner: str, item: Any) -> None:
    h5py = require("h5py", "hdf5", "Reading HDF5 files")
    types = h5py.h5t
    plain = (types.INTEGER, types.FLOAT, types.STRING, types.ENUM, types.REFERENCE)
    for name in item.attrs:
        if h5py.h5a.open(item.id, name.encode()).get_type().get_class() not in plain:
            raise DataError(
                f"{owner} must have numbers or strings as attributes; got lists in {name!r}. "
                f"{_REMEDY}"
            )


def check_heaps(source: str, path: Path) -> None:
    """Refuse a file whose heaps, where strings and lists are stored, are damaged.

    The library follows some damage round in a circle for ever. Source: HDF5 File Format
    Specification 3.0, section III.E, "Global Heap".

    Raises:
        DataError: If one is damaged.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        start = raw.find(b"GCOL\1\0\0\0")
        while start >= 0:
            end = start + int.from_bytes(raw[start + 8 : start + 16], "little")
            place = start + 16
            while place + 16 <= end:
                size = int.from_bytes(raw[place + 8 : place + 16], "little")
                # Object 0 is what is free, its head included.
                free = raw[place : place + 2] == b"\0\0"
                place += size if free else 16 + -(-size // 8) * 8
                if (free and size < 16) or place > end or end > len(raw):
                    raise DataError(
                        f"{source} must be a complete HDF5 file; got a damaged heap of strings or "
                        f"lists at byte {start}. {_REMEDY}"
                    )
            start = raw.find(b"GCOL\1\0\0\0", start + 8)


def _read(path: Path, name: str, start: int, stop: int) -> Array:
    h5py = require("h5py", "hdf5", "Reading HDF5 files")
    with opened(path) as file:
        dataset = file[name]
        if h5py.check_string_dtype(dataset.dtype):
            dataset = dataset.asstr()
        return np.asarray(dataset[start:stop])
