"""The symbols that are known, and the number of each."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.modalities.symbols.rows import Encoded
from metamae.modalities.symbols.units import Keys, Symbol, Unit

DENSE = 2**22  # largest key up to which a table of all keys is made


class Alphabet:
    """Symbols of a unit with their ids, which are their places here.

    Args:
        unit: How texts fall into symbols.
        symbols: The known ones.
    """

    def __init__(self, unit: Unit, symbols: Sequence[Symbol]):
        self.unit, self.symbols = unit, tuple(symbols)
        keys = unit.keys(self.symbols)
        self._order = keys.argsort()
        self._keys = keys[self._order]
        self._table: Index | None = None
        if len(keys) and self._keys[0] >= 0 and self._keys[-1] < DENSE:
            # One place more, for all keys beyond.
            self._table = np.full(int(self._keys[-1]) + 2, -1, dtype=np.int64)
            self._table[keys] = np.arange(len(keys))

    def encode(self, rows: Sequence[Any]) -> tuple[Index, Index]:
        """Turn texts, arrays of codes or encoded pieces into ids.

        Returns:
            Ids of all symbols, one row after another, -1 for an unknown one; and the number of
            symbols in each row.
        """
        if any(isinstance(row, Encoded) for row in rows):
            parts = [row.ids if isinstance(row, Encoded) else self.encode([row])[0] for row in rows]
            return np.concatenate(parts).astype(np.int64), np.array([len(part) for part in parts])
        keys, lengths = self.unit.split(rows)
        return self._ids(keys), lengths

    def _ids(self, keys: Keys) -> Index:
        if self._table is not None:
            if keys.dtype.kind == "i" and keys.min(initial=0) < 0:
                keys = np.where(keys < 0, len(self._table) - 1, keys)
            return self._table.take(keys, mode="clip")
        at = np.minimum(self._keys.searchsorted(keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._order[at], -1)

    def decode(self, ids: Index, there: NDArray[np.bool_]) -> NDArray[Any]:
        """Turn ids (B, N) into texts (B,); what is not `there` at the end of a row is nothing."""
        texts = np.empty(len(ids), dtype=object)
        for row, (own, known) in enumerate(zip(ids.tolist(), there.tolist(), strict=True)):
            end = max((n + 1 for n, is_known in enumerate(known) if is_known), default=0)
            symbols = (self.symbols[own[n]] if known[n] else None for n in range(end))
            texts[row] = self.unit.join(list(symbols))
        return texts


def tally(unit: Unit, parts: Iterable[Sequence[Any]]) -> tuple[Index, Index, Index]:
    """Count symbols.

    Args:
        unit: How texts fall into symbols.
        parts: Texts or arrays of codes, some at a time.

    Returns:
        Keys of the symbols that occur, ascending, (K,); how often each does, (K,); and the number
        of symbols of each row, (S,).
    """
    keys, counts = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    lengths = [np.empty(0, dtype=np.int64)]
    for rows in parts:
        found, own = unit.split(rows)
        more, times = np.unique(found, return_counts=True)
        keys, place = np.unique(np.concatenate([keys, more]), return_inverse=True)
        weights = np.concatenate([counts, times])
        counts = np.zeros(len(keys), dtype=np.int64)
        np.add.at(counts, place, weights)
        lengths.append(own)
    return keys, counts, np.concatenate(lengths)
