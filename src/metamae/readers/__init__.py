"""One file per kind of source: a file format, a folder, or an object in memory."""

from collections import Counter
from pathlib import Path
from typing import Any

from metamae.errors import DataError
from metamae.files import find_path, peek
from metamae.readers.base import Reader
from metamae.records import Records
from metamae.registry import Registry

READERS = Registry(
    __name__,
    "reader",
    {
        "npy": "NpyReader",
        "npz": "NpzReader",
        "csv": "CsvReader",
        "parquet": "ParquetReader",
        "images": "ImagesReader",
        "memory": "MemoryReader",
    },
)


def read(
    data: Any,
    *,
    reader: str = "auto",
    field: str | None = None,
    skip_bad: int = 0,
    **settings: Any,
) -> Records:
    """Read whatever a user has.

    Args:
        data: Path of a file or folder, or an array, list, dict or table in memory.
        reader: Name of the reader; "auto" picks it by the type or the name of `data`.
        field: The one field to keep, e.g. a key of an .npz file; None keeps all.
        skip_bad: How many bad samples may be set aside; they are listed in the records' `aside`.
        **settings: Settings of that reader, e.g. `resize` for images.

    Raises:
        DataError: If `data` is missing, of an unknown kind, or cannot be read.
        ConfigError: If there is no such reader or it has no such setting.
    """
    name = pick(data) if reader == "auto" else reader
    chosen: Reader = READERS.build(name, **settings)
    return chosen.read(data, field, skip_bad=skip_bad)


def pick(data: Any) -> str:
    """Return the name of the reader for `data`.

    Raises:
        DataError: If there is none.
    """
    for name in READERS.entries:
        if READERS.build(name).accepts(data):
            return name
    known = ", ".join(sorted({e for name in READERS.entries for e in READERS.get(name).extensions}))
    path = find_path(data)
    if path.is_dir():
        ends = Counter(Path(name).suffix or "without extension" for name in peek(path))
        got = ", ".join(f"{count} {end}" for end, count in ends.most_common(5))
        raise DataError(
            f"{data} must hold files of a known format; got {got or 'an empty folder'}. "
            f"Known: {known}."
        )
    raise DataError(
        f"{data} must have an extension that tells its format; got {path.suffix or 'none'!r}. "
        f"Known: {known}. If it has another name but one of these formats, name it, e.g. "
        "reader='csv'."
    )
