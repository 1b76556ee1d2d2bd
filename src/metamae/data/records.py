"""Samples as they come from a reader: named columns of plain numpy values.

S is the number of samples. Nothing here knows torch, a modality or a file format.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from metamae.core.registry import did_you_mean
from metamae.data.bad_samples import Bad
from metamae.data.columns.base import Column, Index, Subset, decodes
from metamae.data.columns.indexing import AllBut, Chosen, chosen_among
from metamae.errors import DataError


@dataclass(frozen=True)
class Records:
    """A data set: columns of equal length, and where each sample came from.

    Attributes:
        columns: Field name -> column.
        source: What a user calls this data set: a path, or "array" for one in memory.
        row_word: What one sample is called there, e.g. "row" or "sample".
        first_row: Number that the source gives its first sample (2 in a CSV file with a header).
        names: A name for each sample where it has one of its own, such as a file's path.
        index: Position of each sample in the source where this is a part of it, (S,).
        aside: Bad samples of the source that are not among these.
        vetted: Whether bad samples were looked for among these already.

    Raises:
        DataError: If there are no columns or their lengths differ.
    """

    columns: Mapping[str, Column]
    source: str
    row_word: str = "sample"
    first_row: int = 0
    names: Sequence[str] | None = None
    index: Chosen | None = field(default=None, repr=False)
    aside: tuple[Bad, ...] = field(default=(), repr=False)
    vetted: bool = field(default=False, repr=False)

    def __post_init__(self) -> None:
        lengths = {name: len(column) for name, column in self.columns.items()}
        if not lengths:
            raise DataError(f"{self.source} must hold at least one field; got none.")
        if len(set(lengths.values())) > 1:
            raise DataError(
                f"{self.source}: every field must have the same number of samples; got {lengths}."
            )

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, name: str) -> Column:
        """Return one column.

        Raises:
            DataError: If there is none of that name.
        """
        if name not in self.columns:
            raise DataError(
                f"{self.source} has no field {name!r}.{did_you_mean(name, self.columns)}"
            )
        return self.columns[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    @property
    def decoded(self) -> bool:
        """Whether reading a sample is work for a processor."""
        return any(decodes(column) for column in self.columns.values())

    def where(self, position: int) -> str:
        """Name one sample so that a user finds it: source, and row or file."""
        if self.index is not None:
            position = int(self.index[position])
        if self.names is not None:
            return f"{self.source}, {self.names[position]}"
        return f"{self.source}, {self.row_word} {position + self.first_row}"

    def error(self, position: int, message: str) -> DataError:
        """Return the error that blames one sample: its place, then the message."""
        origin = position if self.index is None else int(self.index[position])
        return DataError(f"{self.where(position)}: {message}", sample=origin)

    def without(self, names: Iterable[str]) -> "Records":
        """Return the same samples without some columns; unknown names are no mistake here."""
        dropped = set(names)
        return replace(self, columns={k: v for k, v in self.columns.items() if k not in dropped})

    def only(self, names: Iterable[str]) -> "Records":
        """Return the same samples with just the columns named, in that order."""
        return replace(self, columns={name: self[name] for name in names})

    def subset(self, index: Chosen) -> "Records":
        """Return some of the samples, in a given order; nothing is copied."""
        if not isinstance(index, AllBut):
            index = np.asarray(index, dtype=np.int64)
        origin = index if self.index is None else chosen_among(self.index, index)
        columns = {k: Subset(v, index) for k, v in self.columns.items()}
        return replace(self, columns=columns, index=origin)

    def sample(self, most: int, rng: np.random.Generator) -> "Records":
        """Return at most `most` samples, drawn without replacement, in their old order."""
        if len(self) <= most:
            return self
        return self.subset(np.sort(rng.choice(len(self), most, replace=False)))


def sample_names(records: Records, start: int = 0, stop: int | None = None) -> list[Any]:
    """Name samples from `start` to `stop` as their source does: by file names, or by numbers."""
    places = range(len(records))[start:stop]
    if records.index is not None:
        places = records.index[np.arange(places.start, places.stop)].tolist()
    if records.names is not None:
        return [records.names[i] for i in places]
    return [i + records.first_row for i in places]


def hold(records: Records, index: Index) -> Records:
    """Return some samples with their values in memory."""
    some = records.subset(index)
    every = np.arange(len(index))
    return replace(some, columns={name: np.asarray(some[name][every]) for name in some})
