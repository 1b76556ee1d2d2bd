"""One file per kind of source: a file format, a folder, or an object in memory."""

from typing import Any

from metamae.errors import DataError
from metamae.readers.base import Reader, find_path
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


def read(data: Any, *, reader: str = "auto", field: str | None = None, **settings: Any) -> Records:
    """Read whatever a user has.

    Args:
        data: Path of a file or folder, or an array, list, dict or table in memory.
        reader: Name of the reader; "auto" picks it by the type or the name of `data`.
        field: The one field to keep, e.g. a key of an .npz file; None keeps all.
        **settings: Settings of that reader, e.g. `resize` for images.

    Raises:
        DataError: If `data` is missing, of an unknown kind, or cannot be read.
        ConfigError: If there is no such reader or it has no such setting.
    """
    name = _pick(data) if reader == "auto" else reader
    chosen: Reader = READERS.build(name, **settings)
    return chosen.read(data, field)


def _pick(data: Any) -> str:
    for name in READERS.entries:
        if READERS.build(name).accepts(data):
            return name
    known = sorted({end for name in READERS.entries for end in READERS.get(name).extensions})
    raise DataError(
        f"{data} must have an extension that tells its format; got "
        f"{find_path(data).suffix or 'none'!r}. Known: {', '.join(known)}. "
        "If it has another name but one of these formats, name it, e.g. reader='csv'."
    )
