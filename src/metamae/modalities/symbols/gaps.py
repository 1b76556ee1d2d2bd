"""Gaps of sequences: letters and codes that are unknown."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.data.columns.base import Array, Index
from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities.gaps import Canvas, Gaps, Holes, Laid, Marks, Sheet, span
from metamae.modalities.symbols.spec import SymbolsSpec
from metamae.model.tokens import Batch

LETTERS = ("character", "code")  # units of which one is one place of a sample
NO_LETTER = "\0"  # one that no alphabet holds


class SymbolsGaps(Gaps):
    """Unknown letters; how long a sample would be that is missing as a whole, nobody knows."""

    def __init__(self, spec: SymbolsSpec):
        self.spec = spec
        if spec.unit not in LETTERS:
            self.refusal = "only single characters and codes have a place of their own to fill"

    def check_blank(self, blank: str) -> None:
        codes = self.spec.unit == "code"
        fits = blank.removeprefix("-").isdigit() if codes else len(blank) == 1
        if self.refusal is None and not fits:
            raise ConfigError(
                f"Impute.blank must be one {'code' if codes else 'character'}; got {blank!r}. "
                f"{'0' if codes else 'N'} would do."
            )

    def found(self, records: Records, index: Index, blank: str | None) -> NDArray[np.bool_]:
        return np.array(
            [
                value is not None and bool(unknown_letters(self.spec, value, blank).any())
                for value in records[self.spec.column][index]
            ],
            dtype=bool,
        )

    def marks(self, held: Records, batch: Batch, blank: str | None) -> Marks:
        B, N = batch["codes"].shape
        known = batch.get("valid", torch.ones(B, N, dtype=torch.bool)).clone()
        gaps = torch.zeros(B, N, dtype=torch.bool)
        for row, value in enumerate(held[self.spec.column][np.arange(B)]):
            if value is None or len(value) == 0:
                continue
            unknown = torch.from_numpy(unknown_letters(self.spec, value, blank))[:N]
            gaps[row, : len(unknown)] = unknown
        nowhere = torch.zeros(B, N, 1, dtype=torch.bool)
        return Marks(gaps[..., None], (known & ~gaps)[..., None], nowhere)

    def canvas(self, column: str, records: Records) -> Canvas:
        return SymbolsCanvas(self.spec, column, records)

    def lay_out(self, columns: Mapping[str, Array]) -> Laid:
        rows = []
        for value in columns[self.spec.column]:
            unknown = unknown_letters(self.spec, value, None)
            symbols = [value[at] for at in letters_of(self.spec, value).tolist()]
            rows.append(
                [None if gone else str(s) for s, gone in zip(symbols, unknown, strict=True)]
            )
        longest = max(len(row) for row in rows)
        words = np.full((len(rows), longest), None, dtype=object)
        for number, row in enumerate(rows):
            words[number, : len(row)] = row
        return Laid(Sheet(np.empty((len(rows), 0)), words), [], ["symbol"] * longest)

    def spans(self, laid: Laid, rng: np.random.Generator) -> list[Holes]:
        words = np.zeros_like(laid.known_words)
        for row, own in enumerate(laid.known_words):
            words[row] = span(np.flatnonzero(own), words.shape[1], rng)
        return [Holes(np.zeros_like(laid.known), words & laid.known_words)]

    def punch(self, columns: Mapping[str, Array], laid: Laid, holes: Holes) -> dict[str, Array]:
        values = columns[self.spec.column]
        holed: Array = np.empty(len(values), dtype=object)
        for row, value in enumerate(values):
            holed[row] = self._unknown_at(value, np.flatnonzero(holes.words[row]))
        if values.dtype != object:
            holed = np.stack(list(holed))
        return {**columns, self.spec.column: holed}

    def _unknown_at(self, value: Any, hidden: NDArray[np.int64]) -> Any:
        if isinstance(value, str):
            letters = list(value)
            for at in hidden.tolist():
                letters[at] = NO_LETTER
            return "".join(letters)
        codes = np.array(value)
        # A code below all that are known, and not the one that means "no symbol".
        codes[letters_of(self.spec, value)[hidden]] = -2 if self.spec.padding_code == -1 else -1
        return codes


class SymbolsCanvas(Canvas):
    """A column of texts or codes."""

    def __init__(self, spec: SymbolsSpec, column: str, records: Records):
        super().__init__(column, records)
        self.spec = spec

    def put(self, sample: int, value: Any, begin: int, blank: str | None) -> None:
        old = self.values[sample]
        gaps = np.flatnonzero(unknown_letters(self.spec, old, blank))
        own = gaps[(gaps >= begin) & (gaps < begin + len(value))]
        if isinstance(old, str):
            spelled = list(old)
            for at in own.tolist():
                spelled[at] = value[at - begin]
            self.values[sample] = "".join(spelled)
        else:
            codes = np.array(old)
            codes[letters_of(self.spec, old)[own]] = value[own - begin]
            self.values[sample] = codes
        self.count += len(own)


def letters_of(spec: SymbolsSpec, value: Any) -> Index:
    """Where in one sample its letters or codes stand, (N,): all but the padding code."""
    if spec.unit != "code" or spec.padding_code is None:
        return np.arange(len(value))
    return np.flatnonzero(np.asarray(value).ravel() != spec.padding_code)


def unknown_letters(spec: SymbolsSpec, value: Any, blank: str | None) -> NDArray[np.bool_]:
    """Say which letters or codes of one sample are unknown, (N,), the padding code left out.

    A letter is unknown if the training data did not hold it, or if it is the `blank`.
    """
    ids, _ = spec.vocabulary.encode([value])
    unknown: NDArray[np.bool_] = ids < 0
    if blank is not None and spec.unit == "code":
        unknown |= np.asarray(value).ravel()[letters_of(spec, value)] == int(blank)
    elif blank is not None:
        unknown |= np.array([letter == blank for letter in value], dtype=bool)
    return unknown
