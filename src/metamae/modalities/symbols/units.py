"""How a text falls into symbols: characters, integer codes, bytes.

Every symbol has a key, an integer that only its unit understands; an alphabet turns keys into
ids.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index

Symbol = str | int
Keys = NDArray[np.integer[Any]]
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class Unit(ABC):
    """How a text, or an array of codes, falls into symbols."""

    word: ClassVar[str]
    """What several symbols are called in messages."""

    grams: ClassVar[int] = 3
    """Longest run of symbols that is counted as a raw feature."""

    most: float | None = 1.0
    """Most symbols that one character or code can become; None if that is not known."""

    @abstractmethod
    def split(self, rows: Sequence[Any]) -> tuple[Keys, Index]:
        """Return the keys of all symbols, one row after another, and their number in each row."""

    @abstractmethod
    def symbol(self, key: int) -> Symbol:
        """Name the symbol of a key, for JSON and for `join`."""

    @abstractmethod
    def keys(self, symbols: Iterable[Symbol]) -> Index:
        """Undo `symbol`."""

    @abstractmethod
    def join(self, symbols: Sequence[Symbol | None]) -> str:
        """Put symbols together again; None is an unknown one, and never the last."""

    def count(self, sizes: Index) -> Index | None:
        """Symbols of texts of so many characters, or None if that depends on the text."""
        return None

    def extent(self, start: Index, stop: Index) -> tuple[Index, Index]:
        """Where the characters of the symbols from `start` to `stop` are; see `count`."""
        return start, stop


class Characters(Unit):
    """One character, a code point of Unicode, is one symbol; its key is its number there."""

    word: ClassVar[str] = "characters"

    def split(self, rows: Sequence[Any]) -> tuple[Keys, Index]:
        return points("".join(rows)), np.array([len(row) for row in rows])

    def symbol(self, key: int) -> str:
        return chr(key)

    def keys(self, symbols: Iterable[Symbol]) -> Index:
        return np.array([ord(str(symbol)) for symbol in symbols], dtype=np.int64)

    def join(self, symbols: Sequence[Symbol | None]) -> str:
        return "".join(UNKNOWN if symbol is None else str(symbol) for symbol in symbols)

    def count(self, sizes: Index) -> Index:
        return sizes


class Codes(Unit):
    """One integer code is one symbol, and its key.

    Args:
        padding: Code that means "no symbol", wherever it stands; None if there is none.
    """

    word: ClassVar[str] = "codes"

    def __init__(self, padding: int | None = None):
        self.padding = padding

    def split(self, rows: Sequence[Any]) -> tuple[Keys, Index]:
        keys = np.concatenate(rows).astype(np.int64)
        lengths = np.array([len(row) for row in rows])
        if self.padding is None:
            return keys, lengths
        there = keys != self.padding
        before = np.concatenate([[0], np.cumsum(there)])
        ends = np.cumsum(lengths)
        return keys[there], before[ends] - before[ends - lengths]

    def symbol(self, key: int) -> int:
        return key

    def keys(self, symbols: Iterable[Symbol]) -> Index:
        return np.array(list(symbols), dtype=np.int64)

    def join(self, symbols: Sequence[Symbol | None]) -> str:
        return " ".join("?" if symbol is None else str(symbol) for symbol in symbols)

    def count(self, sizes: Index) -> Index | None:
        return sizes if self.padding is None else None


class Bytes(Unit):
    """One byte of a text in UTF-8 is one symbol, and its key; all 256 of them are known."""

    word: ClassVar[str] = "bytes"
    most: float | None = 4.0

    def split(self, rows: Sequence[Any]) -> tuple[Keys, Index]:
        encoded = [row.encode("utf-8", "surrogatepass") for row in rows]
        keys = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        return keys, np.array([len(row) for row in encoded])

    def symbol(self, key: int) -> int:
        return key

    def keys(self, symbols: Iterable[Symbol]) -> Index:
        return np.array(list(symbols), dtype=np.int64)

    def join(self, symbols: Sequence[Symbol | None]) -> str:
        parts = (UNKNOWN.encode() if n is None else bytes([int(n)]) for n in symbols)
        return b"".join(parts).decode("utf-8", errors="replace")


def points(text: str) -> NDArray[np.uint32]:
    """Code points of a text, (L,)."""
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), dtype=np.uint32)
