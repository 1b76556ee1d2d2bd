"""Runs of k characters as symbols."""

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.errors import ConfigError
from metamae.modalities.symbols.units import UNKNOWN, Keys, Symbol, Unit, points

LARGEST = 2**62  # keys stay below


class Kmers(Unit):
    """Runs of k characters, one beginning every `stride` characters.

    What is left at the end of a text is a shorter symbol, so that nothing of it is lost and no
    text is too short. The key of a run is a number whose digits are its letters, counted from
    1, with 0 where a shorter one has none; it is -1 if a letter is unknown.

    Args:
        k: Characters of a run.
        stride: From the start of one to the start of the next, at most k.
        letters: All characters that known runs consist of.

    Raises:
        ConfigError: If runs of so many characters have no keys of 62 bits.
    """

    word: ClassVar[str] = "k-mers"
    grams: ClassVar[int] = 2

    def __init__(self, k: int, stride: int, letters: Iterable[str]):
        self.k, self.stride, self.letters = k, stride, sorted(set(letters))
        base = len(self.letters) + 1
        if base**k > LARGEST:
            most = max(n for n in range(1, k) if base**n <= LARGEST)
            raise ConfigError(
                f"Symbols.k must be at most {most} for texts of {base - 1} different characters; "
                f"got {k}. {min(3, most)} would do."
            )

    @cached_property
    def _digits(self) -> NDArray[Any]:
        """Digit of every code point up to the largest known one, and -1 for those beyond."""
        known = points("".join(self.letters))
        small = (len(self.letters) + 1) ** self.k < 2**31  # half the time
        digits = np.full(int(known.max(initial=0)) + 2, -1, dtype=np.int32 if small else np.int64)
        digits[known] = 1 + np.arange(len(known))
        return digits

    def split(self, rows: Sequence[Any]) -> tuple[Keys, Index]:
        # Behind each row stand k - 1 places without a letter.
        gap = "\0" * (self.k - 1)
        digits = self._digits.take(points(gap.join(rows) + gap), mode="clip")
        lengths = np.array([len(row) for row in rows])
        begins = np.cumsum(lengths + self.k - 1) - lengths - (self.k - 1)
        digits[(begins + lengths)[:, None] + np.arange(self.k - 1)] = 0
        num = self.count(lengths)
        turn = np.arange(num.sum())
        turn *= self.stride
        turn += np.repeat(begins - self.stride * (np.cumsum(num) - num), num)
        return self._runs(digits).take(turn), num

    def _runs(self, digits: NDArray[Any]) -> Keys:
        """Keys of the runs that begin at each place but the last k - 1, (L - k + 1,)."""
        whole = len(digits) - self.k + 1
        keys, unknown = digits[:whole].copy(), digits < 0
        for shift in range(1, self.k):
            keys *= len(self.letters) + 1
            keys += digits[shift : shift + whole]
        if unknown.any():
            for shift in range(self.k):
                keys[unknown[shift : shift + whole]] = -1
        return keys

    def symbol(self, key: int) -> str:
        letters, base = [], len(self.letters) + 1
        while key > 0:
            key, digit = divmod(key, base)
            if digit:
                letters.append(self.letters[digit - 1])
        return "".join(reversed(letters))

    def keys(self, symbols: Iterable[Symbol]) -> Index:
        place = {letter: 1 + n for n, letter in enumerate(self.letters)}
        base, keys = len(self.letters) + 1, []
        for symbol in symbols:
            key = 0
            for letter in str(symbol):
                key = key * base + place[letter]
            keys.append(key * base ** (self.k - len(str(symbol))))
        return np.array(keys, dtype=np.int64)

    def join(self, symbols: Sequence[Symbol | None]) -> str:
        """Put runs together; of runs that overlap, each says the characters it begins with."""
        parts = [UNKNOWN * self.k if run is None else str(run) for run in symbols]
        return "".join([part[: self.stride] for part in parts[:-1]] + parts[-1:])

    def count(self, sizes: Index) -> Index:
        beyond = np.maximum(sizes - self.k, 0)
        counts: Index = np.where(sizes > 0, 1 - -beyond // self.stride, 0)
        return counts

    def extent(self, start: Index, stop: Index) -> tuple[Index, Index]:
        return start * self.stride, np.where(stop > start, (stop - 1) * self.stride + self.k, 0)
