"""What vectors follow from, as short digests: to know whether others are of the same embedding."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metamae.core.version import VERSION
from metamae.data.columns.base import Column, Subset
from metamae.data.columns.indexing import AllBut
from metamae.data.files import find_path, is_path
from metamae.data.records import Records
from metamae.data.shards import find_shards
from metamae.encoder.pretrained import Pretrained
from metamae.run.folder import fingerprint
from metamae.training.checkpoint import digest
from metamae.training.device import choose_precision

# The part of an identity that tells what a row is, and its value where that is a token.
KIND, TOKENS = "--tokens", "True"
CHUNK = 2**14  # values hashed at once


def identity_of(
    pretrained: Pretrained,
    data: Any,
    records: Records,
    *,
    tokens: bool,
    precision: str = "float32",
    settings: Mapping[str, Any] | None,
) -> dict[str, str]:
    """Describe an embedding by all that its vectors follow from, by names that a user knows.

    Files are known by name, size and time of change, and by 64 of their samples; what is in
    memory by all of its values.

    Args:
        pretrained: The run.
        data: What the user gave.
        records: What was read from it.
        tokens: Whether there is a vector per token.
        precision: As it was asked for.
        settings: Settings of the reader in place of the run's.

    Raises:
        DataError: If one of the samples looked at does not fit the schema.
    """
    backbone, schema = pretrained.module.backbone, pretrained.schema
    device, width = backbone.cls.device, backbone.tokenizer.width
    reading = {"run": pretrained.config.settings["reader"], "given": dict(settings or {})}
    seen = [str(len(records)), fingerprint(records, schema.modality), *_index(records)]
    seen += _contents(records) if _in_memory(data) else _files(data)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "run": _hash([digest(backbone.state_dict()), schema.to_json()]),
        "data": _hash(seen),
        "settings": _hash([json.dumps(reading, sort_keys=True, default=str)]),
        KIND: str(tokens),
        "adapted": str(pretrained.adapted),
        "precision": choose_precision(precision, device.type, width),
        "device": name,
        "version": f"{VERSION}, torch {torch.__version__}",
    }


def _in_memory(data: Any) -> bool:
    return not is_path(data) and find_shards(data) is None


def _files(data: Any) -> Iterator[str]:
    """Describe every file that samples come from."""
    for path in find_shards(data) or [find_path(data)]:
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            facts = file.stat()
            yield f"{_below(file, path)} {facts.st_size} {facts.st_mtime_ns}"


def _below(file: Path, path: Path) -> str:
    return file.name if file == path else file.relative_to(path).as_posix()


def _index(records: Records) -> Iterator[str]:
    """Describe which samples of their source these are."""
    index = records.index
    if index is not None:
        yield _bytes(index.left_out if isinstance(index, AllBut) else index)


def _contents(records: Records) -> Iterator[str]:
    for name, column in records.columns.items():
        yield f"{name} {column.dtype} {column.shape}"
        if _is_loaded(column):
            for start in range(0, len(column), CHUNK):
                values = column[np.arange(start, min(start + CHUNK, len(column)))]
                yield _hash(map(_value, values)) if values.dtype == object else _bytes(values)


def _is_loaded(column: Column) -> bool:
    """Whether values are at hand; those of a view on files are not, and would take long."""
    whole = column.column if isinstance(column, Subset) else column
    return isinstance(whole, np.ndarray) and not isinstance(whole, np.memmap)


def _value(value: Any) -> str:
    return _bytes(value) if isinstance(value, np.ndarray) else repr(value)


def _bytes(values: Any) -> str:
    array = np.ascontiguousarray(values)
    seen = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=16)
    seen.update(array.reshape(-1).view(np.uint8).data)
    return seen.hexdigest()


def _hash(texts: Any) -> str:
    seen = hashlib.blake2b(digest_size=16)
    for text in texts:
        # A string may hold half a character (a lone surrogate), which has no bytes of its own.
        seen.update(text.encode("utf-8", "surrogatepass") + b"\0")
    return seen.hexdigest()
