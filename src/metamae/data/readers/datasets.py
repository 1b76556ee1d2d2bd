"""A folder saved by the library `datasets` of Hugging Face, read without that library."""

import json
from pathlib import Path
from typing import Any, ClassVar

from metamae.core.checks import check_at_least
from metamae.core.registry import did_you_mean
from metamae.data.arrow import IN_MEMORY, TableFiles
from metamae.data.bad_samples import Aside
from metamae.data.files import UNPACKED_MOST, find_file, find_path, is_path, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.shards import read_shards
from metamae.errors import ConfigError, DataError

_RULE = "must be a folder written by save_to_disk"
_REMEDY = "Save the data set again with its method save_to_disk."
_STATE, _SPLITS = "state.json", "dataset_dict.json"
_MOST_BYTES = 2**26  # of a description


class DatasetsReader(Reader):
    """Reads every column as a field of its own.

    Args:
        split: Which part of a saved DatasetDict to read, e.g. "train".
        in_memory: Size in bytes up to which the data are loaded as a whole; beyond it, files are
            mapped.
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "a folder of Hugging Face datasets, written by save_to_disk"
    local: ClassVar[tuple[str, ...]] = ("split", "in_memory", "max_bytes")

    def __init__(
        self,
        *,
        split: str | None = None,
        in_memory: int = IN_MEMORY,
        max_bytes: int = UNPACKED_MOST,
    ):
        if split is not None and not isinstance(split, str):
            raise ConfigError(
                f"DatasetsReader.split must be the name of a split; got {split!r}. "
                "'train' would do."
            )
        self.split = split
        self.in_memory = check_at_least("DatasetsReader.in_memory", in_memory, 0)
        self.max_bytes = check_at_least("DatasetsReader.max_bytes", max_bytes, 1)

    def accepts(self, data: Any) -> bool:
        if not is_path(data):
            return False
        path = find_path(data)
        return (path / _SPLITS).is_file() or (
            (path / _STATE).is_file() and (path / "dataset_info.json").is_file()
        )

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        folder, source = self._folder(find_path(data), str(data))
        paths = _files(folder, source)
        files = TableFiles(self.in_memory // (self.parts * len(paths)), self.max_bytes)
        if len(paths) == 1:
            return files.read(find_file(paths[0]), source, field)
        return read_shards(
            paths,
            source,
            lambda path: files.read(find_file(path), str(path), field),
            aside,
            uniform=False,
        )

    def _folder(self, path: Path, source: str) -> tuple[Path, str]:
        """Return the folder of the split asked for, and its name."""
        if not (path / _SPLITS).is_file():
            if self.split is not None:
                raise DataError(
                    f"{source} must hold several splits to choose one; got split={self.split!r} "
                    "for a folder that is one data set. Leave the setting out."
                )
            return path, source
        splits = _described(path / _SPLITS, source).get("splits")
        if not isinstance(splits, list) or not all(isinstance(name, str) for name in splits):
            raise DataError(f"{source} {_RULE}; got no list of splits in {_SPLITS}. {_REMEDY}")
        chosen = splits[0] if self.split is None and len(splits) == 1 else self.split
        if chosen is None:
            raise DataError(
                f"{source} must be read one split at a time; got none chosen among "
                f"{', '.join(splits)}. split={next(iter(splits), 'train')!r} would do."
            )
        if chosen not in splits:
            raise DataError(
                f"{source} must hold the split asked for; got split={chosen!r}."
                f"{did_you_mean(chosen, splits)}"
            )
        return path / _plain(chosen, source), f"{source}, split {chosen!r}"


def _files(folder: Path, source: str) -> list[Path]:
    state = _described(folder / _STATE, source)
    # Older versions kept a selection of the rows in a file of its own.
    if state.get("_indices_data_files") or state.get("_indices_files"):
        raise DataError(
            f"{source} must hold its rows as they are; got a selection of them. Call its method "
            "flatten_indices before save_to_disk."
        )
    listed = state.get("_data_files")
    names = [
        item.get("filename") if isinstance(item, dict) else item
        for item in (listed if isinstance(listed, list) else ())
    ]
    if not names:
        raise DataError(f"{source} {_RULE}; got no list of files in {_STATE}. {_REMEDY}")
    return [folder / _plain(name, source) for name in names]


def _described(path: Path, source: str) -> dict[str, Any]:
    with legible(source, _RULE, _REMEDY):
        with find_file(path).open("rb") as file:
            described = json.loads(file.read(_MOST_BYTES))
        if not isinstance(described, dict):
            raise ValueError(f"{path.name} holds no object")
    return described


def _plain(name: Any, source: str) -> str:
    """Return a file's name if it stays within its folder."""
    if not isinstance(name, str) or name in ("", ".", "..") or Path(name).name != name:
        raise DataError(f"{source} {_RULE}; got a file named {name!r}. {_REMEDY}")
    return name
