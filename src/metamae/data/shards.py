"""Several files as one data set: a pattern, a list of paths, or a folder of shards."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array, Chain, Column
from metamae.data.files import legible
from metamae.data.records import Records
from metamae.errors import DataError

_MAGIC = "*?["
_Shard = tuple[Path, Records]


class ShardNames(Sequence[str]):
    """The name of each sample of a data set in shards: its shard, and its row there.

    Args:
        shards: Short name of each shard, and its records.
    """

    def __init__(self, shards: Sequence[tuple[str, Records]]):
        self.shards = list(shards)
        self.starts = np.cumsum([0, *(len(records) for _, records in self.shards)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        part = int(self.starts.searchsorted(position, side="right")) - 1
        name, records = self.shards[part]
        place = records.where(position - int(self.starts[part]))
        return f"{name}, {place.removeprefix(f'{records.source}, ')}"


def find_shards(data: Any) -> list[Path] | None:
    """Return the paths that a pattern or a list of paths stands for; None for anything else.

    A list of strings is none, because it holds samples; a name that exists is no pattern.

    Raises:
        DataError: If a pattern matches nothing.
    """
    if isinstance(data, list | tuple):
        paths = [Path(path) for path in data if isinstance(path, os.PathLike)]
        return paths if paths and len(paths) == len(data) else None
    if not isinstance(data, str | os.PathLike) or not set(_MAGIC) & set(os.fspath(data)):
        return None
    rule = "must be a pattern of paths, such as 'data/*.parquet'"
    with legible(str(data), rule, "Check its spelling."):
        path = Path(data).expanduser()
        if path.exists():
            return None
        found = sorted(_matches(path))
    if not found:
        raise DataError(
            f"{data} must match at least one file; got none. Check the pattern, and that "
            f"{str(_fixed(path))!r} is the folder that is meant."
        )
    return found


def name_of(data: Any) -> str:
    """Return what messages call a data set of several files."""
    if isinstance(data, list | tuple):
        return str(data[0]) if len(data) == 1 else f"{data[0]} and {len(data) - 1} more"
    return str(data)


def read_shards(
    paths: Sequence[Path],
    source: str,
    load: Callable[[Path], Records],
    aside: Aside,
    *,
    uniform: bool,
) -> Records:
    """Read shards and join them; those that are damaged or unlike the others are set aside.

    Args:
        paths: The shards.
        source: What messages call the data set.
        load: Reads one.
        aside: Where to note bad ones.
        uniform: Whether the values of all must have one shape.

    Raises:
        DataError: If none is left.
    """
    parts = []
    for path in paths:
        try:
            parts.append((path, load(path)))
        except DataError as error:
            aside.add(str(path), str(error).removeprefix(f"{path} "), source)
    good = _of_one_form(_of_one_kind(parts, source, aside), source, aside, uniform)
    if not good:
        raise DataError(
            f"{source} must hold at least one shard that can be read; got none among {len(paths)}. "
            "Repair them, or give the path of one to see what is wrong with it."
        )
    fields = list(good[0][1])
    columns = {
        field: Chain([part[field] for _, part in good], f"{source}, field {field!r}")
        for field in fields
    }
    root = Path(os.path.commonpath([path.parent for path, _ in good]))
    shards = [(path.relative_to(root).as_posix(), part) for path, part in good]
    bad = tuple(one for _, part in good for one in part.aside)
    return Records(columns, source, names=ShardNames(shards), aside=bad)


def _of_one_kind(parts: Sequence[_Shard], source: str, aside: Aside) -> list[_Shard]:
    """Return the shards that have the fields of most, and note the others."""
    kept, kinds = [], Counter(frozenset(part) for _, part in parts)
    usual = max(kinds, key=lambda fields: kinds[fields], default=frozenset())
    for path, part in parts:
        if set(part) == usual:
            kept.append((path, part))
            continue
        lacks, more = sorted(usual - set(part)), sorted(set(part) - usual)
        without = f"none named {', '.join(map(repr, lacks))}" if lacks else "these"
        besides = f" and {', '.join(map(repr, more))} besides" if more else ""
        aside.add(
            str(path),
            f"must have the fields of the other shards ({', '.join(sorted(usual))}); got "
            f"{without}{besides}. Name them alike, or read one field: field=...",
            source,
        )
    return kept


def _of_one_form(parts: Sequence[_Shard], source: str, aside: Aside, uniform: bool) -> list[_Shard]:
    """Return the shards whose values are like those of most, and note the others."""
    columns = {
        field: _texts_filled([part[field] for _, part in parts])
        for field in (parts[0][1] if parts else ())
    }
    odd: dict[int, str] = {}
    for field, values in columns.items():
        forms = [_form(column, uniform) for column in values]
        usual = Counter(form for form in forms if form).most_common(1)
        for number, form in enumerate(forms):
            if form and form != usual[0][0]:
                odd.setdefault(
                    number,
                    f"must hold {usual[0][0]} in field {field!r} like the other shards; got "
                    f"{form}. Write it in their form"
                    + (", or read each file as a sample of its own." if uniform else "."),
                )
    for number, message in odd.items():
        aside.add(str(parts[number][0]), message, source)
    return [
        (path, replace(part, columns={field: columns[field][number] for field in part}))
        for number, (path, part) in enumerate(parts)
        if number not in odd
    ]


def _form(column: Column, uniform: bool) -> str:
    """Say what a column holds, as far as this is known without reading it."""
    if column.dtype.kind == "M":
        return "dates"
    if column.dtype != object:
        shape = column.shape[1:]
        if uniform:
            return f"values of shape {shape}"
        return f"arrays with {len(shape)} axes" if shape else "single numbers"
    if not isinstance(column, np.ndarray):
        return ""
    value = next((value for value in column if value is not None), None)
    if value is None:
        return ""
    return "strings" if isinstance(value, str) else f"arrays with {np.ndim(value)} axes"


def _texts_filled(columns: list[Column]) -> list[Column]:
    """Take numbers that are all missing for missing strings, where other shards hold strings."""
    if not any(_form(column, uniform=False) == "strings" for column in columns):
        return columns
    return [_nothing(len(column)) if _is_missing(column) else column for column in columns]


def _is_missing(column: Column) -> bool:
    if not isinstance(column, np.ndarray) or column.dtype.kind != "f" or column.ndim > 1:
        return False
    return bool(np.isnan(column).all())


def _nothing(length: int) -> Array:
    return np.full(length, None, dtype=object)


def _fixed(pattern: Path) -> Path:
    """Return the part of a pattern in front of its first wildcard."""
    parts = pattern.parts
    wild = next(i for i, part in enumerate(parts) if set(_MAGIC) & set(part))
    return Path(*parts[:wild])


def _matches(pattern: Path) -> Iterator[Path]:
    root = _fixed(pattern)
    wild = pattern.relative_to(root).as_posix()
    for path in root.glob(wild):
        if not any(part.startswith(".") for part in path.relative_to(root).parts):
            yield path
