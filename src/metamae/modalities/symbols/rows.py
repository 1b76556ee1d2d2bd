"""Values of a field of texts or integer codes: read, checked, and cut after encoding."""

import os
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np

from metamae.data.columns.base import Column, Index, OneByOne, sizes_of, stretch_of
from metamae.data.records import Records

# What statistics are taken from, at most, in characters or codes: of all samples and of one. The
# first gives three digits of the frequency of a symbol that makes up a thousandth of the text.
STATISTICS_FROM = 2**24
MOST_OF_ONE = 2**20
CHUNK = 2**20  # characters or codes that are read at once
CHUNK_ROWS = 4096
KEPT = 2**23  # ids of encoded texts that are kept in memory: 32 MB
KEPT_BLOCKS = 10  # parts that those are of: the 8 that training mixes, and some room


@dataclass(frozen=True, slots=True, eq=False)
class Encoded:
    """A piece of a text that is numbers already.

    Attributes:
        ids: Positions of its symbols in the alphabet, -1 where unknown, (N,).
    """

    ids: Index

    def __len__(self) -> int:
        return len(self.ids)


class Pieces(OneByOne):
    """Pieces of the values of a column, cut after encoding: a column of `Encoded`.

    This serves units whose symbols stand at places of a text that only encoding tells. Texts
    that were encoded lately are kept; where all do not fit, `blocks` has training take the
    pieces of some texts after those of others.

    Args:
        num_texts: Values of the column.
        encode: Position of a value -> its ids, (L,); None if it is missing.
        owner: Position of the value that each piece is cut from, (W,) ascending.
        start: Its first symbol, (W,).
        stop: Behind its last, (W,).
    """

    decodes = True

    def __init__(
        self,
        num_texts: int,
        encode: Callable[[int], Index | None],
        owner: Index,
        start: Index,
        stop: Index,
    ):
        self.encode, self.owner, self.start, self.stop = encode, owner, start, stop
        lengths = np.zeros(num_texts, dtype=np.int64)
        np.maximum.at(lengths, owner, stop)
        self.blocks = _blocks(owner, lengths)
        self._forget()

    @property
    def sizes(self) -> Index:
        return (self.stop - self.start)[:, None]

    def __len__(self) -> int:
        return len(self.owner)

    def value(self, position: int) -> Any:
        ids = self._text(int(self.owner[position]))
        return ids if ids is None else Encoded(ids[self.start[position] : self.stop[position]])

    def _text(self, position: int) -> Any:
        if self._process != os.getpid():
            self._forget()
        with self._lock:
            if position in self._kept:
                self._kept.move_to_end(position)
                return self._kept[position]
        ids = self.encode(position)
        if ids is not None:
            with self._lock:
                self._kept[position] = ids.astype(np.int32)
                self._num_kept += len(ids)
                while self._num_kept > KEPT and len(self._kept) > 1:
                    self._num_kept -= len(self._kept.popitem(last=False)[1])
        return ids

    def _forget(self) -> None:
        # A forked process begins anew: the lock may have been held when it was forked.
        self._lock, self._process = Lock(), os.getpid()
        self._kept: OrderedDict[int, Any] = OrderedDict()
        self._num_kept = 0


def _blocks(owner: Index, lengths: Index) -> Index | None:
    """Where pieces begin that are best read together; None if all texts can be kept."""
    if lengths.sum() <= KEPT:
        return None
    part = (np.cumsum(lengths) - lengths) // (KEPT // KEPT_BLOCKS)
    first = np.flatnonzero(np.diff(part[owner], prepend=-1))
    return np.append(first, len(owner))


class Excerpts:
    """Some texts or codes of a column, not more than fit into memory; each turn reads them again.

    Args:
        records: The samples.
        name: Of the column.
        rng: Draws what is read where there is more.
        most: Characters or codes in all.
    """

    def __init__(
        self,
        records: Records,
        name: str,
        rng: np.random.Generator,
        most: int = STATISTICS_FROM,
    ):
        self.records, self.name = records, name
        self.text = isinstance(read_rows(records, name, np.array([0]))[0], str)
        self.sizes = elements(records[name])
        taken = np.minimum(self.sizes, MOST_OF_ONE)
        self.index = np.arange(len(records))
        if taken.sum() > most:
            order = rng.permutation(len(records))
            num = np.cumsum(taken[order]).searchsorted(most, side="right")
            self.index = np.sort(order[: max(2, int(num))])
        self.taken = taken[self.index]
        room = self.sizes[self.index] - self.taken
        self.start = rng.integers(0, room + 1) if room.any() else np.zeros_like(room)

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield texts or arrays of codes, some at a time.

        Raises:
            DataError: If one is neither, or not of the kind of the first.
        """
        begin = 0
        while begin < len(self.index):
            ends = np.cumsum(self.taken[begin : begin + CHUNK_ROWS])
            end = begin + max(1, int(ends.searchsorted(CHUNK, side="right")))
            yield self._read(begin, end)
            begin = end

    def _read(self, begin: int, end: int) -> list[Any]:
        positions, taken = self.index[begin:end], self.taken[begin:end]
        if (taken == self.sizes[positions]).all():
            return read_rows(self.records, self.name, positions, self.text)
        column = self.records[self.name]
        rows = []
        for n, start, size in zip(positions, self.start[begin:end], taken, strict=True):
            if size == self.sizes[n]:
                rows.append(column[np.array([n])][0])
            else:
                rows.append(stretch_of(column, int(n), int(start), int(start + size)))
        return checked(self.records, self.name, positions, rows, self.text)


def read_rows(
    records: Records, name: str, index: Index, text: bool | None = None
) -> list[str | Index | Encoded]:
    """Read texts, arrays of integer codes, or pieces that are encoded already.

    Args:
        records: The samples.
        name: Of the column.
        index: Positions of samples, (B,).
        text: Whether they must be texts, or must be codes; None if they must be alike.

    Raises:
        DataError: If one is missing or of another kind; the message names the sample.
    """
    return checked(records, name, index, list(records[name][index]), text)


def checked(
    records: Records, name: str, index: Index, rows: list[Any], text: bool | None
) -> list[Any]:
    """Return rows that are all texts or all codes, else raise as `read_rows` does."""
    for position, row in enumerate(rows):
        if isinstance(row, Encoded):
            continue
        is_text = isinstance(row, str)
        is_codes = isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind in "iu"
        if not (is_text or is_codes) or (text is not None and text != is_text):
            wanted = {None: "text or integer codes", True: "text", False: "integer codes"}[text]
            got = "a missing value" if row is None else f"{row!r:.40}"
            raise records.error(
                int(index[position]),
                f"field {name!r} must hold {wanted}; got {got}. Leave this sample out, or choose "
                f"another field or modality.",
            )
        text = is_text
    return rows


def elements(column: Column) -> Index:
    """Characters or codes of each value, (S,); 0 where there is neither."""
    sizes = sizes_of(column)
    return sizes[:, -1] if sizes.shape[1] else np.zeros(len(sizes), dtype=np.int64)


def are_encoded(column: Column) -> bool:
    """Whether a column holds pieces that are encoded already."""
    some = column[np.arange(min(1, len(column)))]
    return len(some) > 0 and isinstance(some[0], Encoded)


def has_symbols(row: Any, padding: int | None) -> bool:
    """Whether a text, an array of codes or a piece is more than nothing and padding codes."""
    if padding is None or not isinstance(row, np.ndarray):
        return len(row) > 0
    return bool((row != padding).any())


def chunks(sizes: Index) -> Iterator[Index]:
    """Yield positions of values, few enough at a time to be read at once."""
    part = (np.cumsum(sizes) - sizes) // CHUNK
    for start in range(0, len(sizes), CHUNK_ROWS):
        block = np.arange(start, min(start + CHUNK_ROWS, len(sizes)))
        yield from np.split(block, np.flatnonzero(np.diff(part[block])) + 1)
