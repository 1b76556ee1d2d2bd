"""One file per kind of source: a file format, a folder, or an object in memory."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from metamae.core.registry import Registry
from metamae.data.bad_samples import Aside
from metamae.data.files import find_in_folder, find_path, is_path, peek
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.shards import find_shards, name_of, read_shards
from metamae.errors import DataError

_log = logging.getLogger("metamae")
# Files that often lie beside shards and are none: _SUCCESS, README.md, dataset_infos.json, ...
_BESIDE = re.compile(
    r"_.*|(readme|licen[cs]e|notice|citation)(\.\w+)?|.*\.(md|json|ya?ml|toml|crc|md5|sha256)"
)

READERS = Registry(
    __name__,
    "reader",
    {
        "npy": "NpyReader",
        "npz": "NpzReader",
        "csv": "CsvReader",
        "parquet": "ParquetReader",
        "hdf5": "Hdf5Reader",
        "zarr": "ZarrReader",
        "datasets": "DatasetsReader",
        "anndata": "AnndataReader",
        "idx": "IdxReader",
        "images": "ImagesReader",
        "audio": "AudioReader",
        "video": "VideoReader",
        "volumes": "VolumesReader",
        "points": "PointsReader",
        "memory": "MemoryReader",
        "text": "TextReader",
        "jsonl": "JsonlReader",
        "fasta": "FastaReader",
        "smiles": "SmilesReader",
        "ts": "TsReader",
    },
    group="metamae.readers",
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
        data: Path of a file or folder, or an array, list, dict or table in memory. A pattern
            ("data/*.parquet"), a list of `pathlib.Path`, or a folder of files of one kind is one
            data set in shards; a list of strings holds samples.
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
    paths = find_shards(data)
    if paths is None:
        paths = _shards_of_folder(data, chosen)
    if paths is None:
        return chosen.read(data, field, skip_bad=skip_bad)
    return _Shards(chosen, paths).read(name_of(data), field, skip_bad=skip_bad)


def pick(data: Any) -> str:
    """Return the name of the reader for `data`.

    Raises:
        DataError: If there is none, or files that are to be one data set are of several kinds.
    """
    paths = find_shards(data)
    if paths is not None:
        # Files of one ending have one reader; folders are looked into.
        some = {str(path) if path.is_dir() else path.suffix.lower(): path for path in paths}
        names = {pick(path): path for path in some.values()}
        if len(names) > 1:
            got = ", ".join(f"{path} ({name})" for name, path in sorted(names.items()))
            raise DataError(
                f"{name_of(data)} must be files of one kind to be one data set; got {got}. "
                "Give files of one format."
            )
        return next(iter(names))
    found = [name for name in READERS.entries if READERS.build(name).accepts(data)]
    if found:
        return found[0] if len(found) == 1 else _most_files(find_path(data), found)
    path = find_path(data)
    if path.is_dir() and (kind := _kind_of_shards(path)):
        return kind
    known = ", ".join(sorted({e for name in READERS.entries for e in READERS.get(name).extensions}))
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


def _most_files(folder: Path, readers: list[str]) -> str:
    """Return the reader of most files in a folder: sounds with a cover picture are sounds."""
    # A folder that is a format of its own, such as Zarr's, is that whatever else lies in it.
    formats = [reader for reader in readers if not READERS.get(reader).folders]
    if formats:
        return formats[0]
    names = peek(folder)
    counts = {r: sum(n.endswith(READERS.get(r).extensions) for n in names) for r in readers}
    return max(readers, key=lambda reader: counts[reader])


class _Shards(Reader):
    """Reads several files of one kind as one data set."""

    description: ClassVar[str] = "several files of one kind"

    def __init__(self, reader: Reader, paths: Sequence[Path]):
        self.reader, self.paths = reader, paths

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        reader, source = self.reader, str(data)
        reader.parts = len(self.paths)
        hint = " (each_file='sample' takes each for a sample)" if reader.uniform else ""
        _log.info("%s: %d files taken for shards of one data set%s", source, reader.parts, hint)
        return read_shards(
            self.paths,
            source,
            lambda path: reader.load(path, field, aside),
            aside,
            uniform=reader.uniform,
        )


def _shards_of_folder(data: Any, reader: Reader) -> list[Path] | None:
    if not is_path(data) or not find_path(data).is_dir() or reader.accepts(data):
        return None
    if not any(name.endswith(reader.extensions) for name in peek(find_path(data))):
        return None
    return find_in_folder(find_path(data), str(data), reader.extensions, "shard")


def _kind_of_shards(folder: Path) -> str | None:
    """Return the reader of the files in a folder, if they all have one."""
    names = [name for name in peek(folder) if not _BESIDE.fullmatch(name)]
    for reader in READERS.entries:
        ends = READERS.get(reader).extensions
        if names and ends and all(name.endswith(ends) for name in names):
            return reader
    return None
