"""Sequences of symbols from a finite alphabet: text, DNA, proteins, SMILES, integer codes.

A symbol is one token: a character, a byte, a run of k characters, a subword, or an integer code.
A prediction is scored by cross-entropy; its logits are the products with the input embedding
table, as in Jang et al. (arXiv:2310.16318). A symbol that the training data did not hold is
treated as missing: neither input nor target.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from metamae.data.columns.base import Column, Index, Stretches
from metamae.data.records import Records
from metamae.data.windows import windows
from metamae.errors import ConfigError, DataError
from metamae.modalities.base import Features, Modality
from metamae.modalities.symbols.alphabet import Alphabet
from metamae.modalities.symbols.grams import count_grams
from metamae.modalities.symbols.learning import Learnt, Wanted, both_cases, learn, unit_of
from metamae.modalities.symbols.rows import (
    Pieces,
    are_encoded,
    chunks,
    elements,
    has_symbols,
    read_rows,
)
from metamae.modalities.symbols.windows import window_and_stride
from metamae.model.tokens import Batch

STATISTICS_FROM = 100_000  # samples that the alphabet is taken from
MOST_ONE_HOT = 2**16  # raw features; more would fill the memory


@dataclass(frozen=True, kw_only=True)
class SymbolsSpec(Modality):
    """What one sample of symbols looks like.

    Args:
        column: Name of the input column.
        alphabet: The known symbols in the order of their ids: characters, k-mers, integer codes,
            bytes, or numbers of a tokenizer's tokens.
        frequencies: Share of each in the training data.
        length: Symbols of the longest training sample, or piece of one.
        equal: Whether all training samples had that length, in one piece.
        max_length: Longest sample that is taken in one piece.
        stride: Symbols from the start of a piece to that of the next; None for `max_length`.
        padding_code: Integer code that means "no symbol", wherever it stands; None if there is
            none.
        unit: What a symbol is: "code", "character", "byte", "kmer" or "subword".
        k: Characters of a k-mer.
        kmer_stride: Characters from the start of a k-mer to that of the next.
        tokenizer_json: Text of the `tokenizer.json` that subwords come from; None for others.
    """

    kind: ClassVar[str] = "symbols"
    description: ClassVar[str] = "strings or integer codes: text, DNA, proteins, SMILES"
    content = "codes"

    column: str
    alphabet: tuple[str | int, ...]
    frequencies: tuple[float, ...]
    length: int
    equal: bool
    max_length: int
    stride: int | None = None
    padding_code: int | None = None
    unit: str = "code"
    k: int = 1
    kmer_stride: int = 1
    tokenizer_json: str | None = None

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        unit: str = "character",
        k: int = 3,
        kmer_stride: int | str = "auto",
        max_symbols: int | str = "auto",
        max_length: int = 1024,
        window: int | str = "auto",
        stride: int | str = "auto",
        padding_code: int | None = None,
    ) -> tuple["SymbolsSpec", list[str]]:
        """Measure the training data.

        Args:
            records: Training data with one column of strings (S,), of integer codes (S, N), or
                of arrays of codes.
            rng: Source of the subsample that statistics are taken from.
            unit: What a symbol of a text is: "character", "byte" (of UTF-8), "kmer", "bpe" for
                subwords that are learnt from the training data, or the path of a
                `tokenizer.json` of the library tokenizers.
            k: Characters of a k-mer.
            kmer_stride: Characters from the start of a k-mer to that of the next: "auto" for k,
                1 for k-mers that overlap.
            max_symbols: Most symbols of the alphabet, rarer ones are treated as missing; "auto"
                for 1,024 characters, codes or subwords, 8,192 k-mers, or all of a tokenizer.json.
            max_length: Longest sample that is taken in one piece. Attention needs memory for the
                square of it: at 1,024 symbols, a batch of 16 samples and 4 heads, 0.3 GB a layer.
            window: Symbols of a piece that longer samples are cut into; "auto" for `max_length`.
            stride: Symbols from the start of a piece to that of the next; "auto" for `window`.
            padding_code: Integer code that means "no symbol", wherever it stands.
        """
        wanted = Wanted(unit, k, kmer_stride, max_symbols, padding_code)
        length, step = window_and_stride(max_length, window, stride)
        names = list(records)
        if len(names) != 1:
            raise DataError(
                f"{records.source}: symbols must come from one field; got {len(names)}: "
                f"{', '.join(names[:5])}. Choose one with `field`."
            )
        some = records.sample(STATISTICS_FROM, rng)
        learnt = learn(some, names[0], rng, wanted)
        longest = int(learnt.lengths.max())
        spec = cls(
            column=names[0],
            alphabet=learnt.symbols,
            frequencies=tuple((learnt.counts / learnt.counts.sum()).tolist()),
            length=min(longest, length),
            equal=bool((learnt.lengths == longest).all()) and longest <= length,
            max_length=length,
            stride=step,
            padding_code=padding_code,
            unit=learnt.unit,
            k=k if learnt.unit == "kmer" else 1,
            kmer_stride=wanted.stride if learnt.unit == "kmer" else 1,
            tokenizer_json=learnt.tokenizer,
        )
        _check_lengths(spec, some, np.arange(len(some)), np.minimum(learnt.lengths, length))
        return spec, _notes(spec, learnt)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def num_tokens(self) -> int:
        return self.length

    @property
    def mask_ratio(self) -> float:
        return 0.5

    @property
    def suited(self) -> dict[str, Any]:
        # A longer step leaves too little to the encoder (docs/defaults.md).
        return {"inner_lr": 5.0}

    @property
    def word(self) -> str:
        """What several symbols are called."""
        return f"{self.k}-mers" if self.unit == "kmer" else self.vocabulary.unit.word

    def describe(self) -> str:
        span = f"{self.length}" if self.equal else f"up to {self.length}"
        size = len(self.alphabet)
        return f"sequences of {span} symbols ({self.word}) from an alphabet of {size}"

    @property
    def varies(self) -> bool:
        return True

    @cached_property
    def vocabulary(self) -> Alphabet:
        """The alphabet, ready to encode."""
        unit = unit_of(
            self.unit,
            self.alphabet,
            k=self.k,
            stride=self.kmer_stride,
            padding=self.padding_code,
            tokenizer=self.tokenizer_json,
        )
        return Alphabet(unit, self.alphabet)

    def lengths(self, records: Records) -> Index | None:
        if records[self.column].shape[1:] == (self.length,) and self.padding_code is None:
            return None
        lengths = self._lengths(records)
        _check_lengths(self, records, np.arange(len(records)), lengths)
        return lengths

    def _lengths(self, records: Records) -> Index:
        """Symbols of each sample, (S,); 0 where one is missing."""
        column = records[self.column]
        sizes = elements(column)
        known = sizes if are_encoded(column) else self.vocabulary.unit.count(sizes)
        if known is not None:
            return known
        lengths = np.zeros(len(records), dtype=np.int64)
        for index in chunks(sizes):
            own = index[sizes[index] > 0]
            if len(own):
                lengths[own] = self.vocabulary.encode(self._rows(records, own))[1]
        return lengths

    def rough_lengths(self, records: Records) -> Index | None:
        # Characters, where counting learnt units would be encoding all texts once more.
        return elements(records[self.column]) if self.tokenizer_json else self.lengths(records)

    def unfold(self, records: Records) -> tuple[Records, Index | None]:
        column, unit = records[self.column], self.vocabulary.unit
        sizes = elements(column)
        if unit.most is not None and not (sizes * unit.most > self.max_length).any():
            return records, None
        lengths = self._lengths(records)
        if not (lengths > self.max_length).any():
            return records, None
        owner, start, stop = windows(lengths, self.max_length, self.stride or self.max_length)
        if unit.count(sizes) is None:
            pieces: Column = Pieces(len(records), partial(self._ids, records), owner, start, stop)
        else:
            begin, end = unit.extent(start, stop)
            end = np.minimum(end, sizes[owner])
            pieces = Stretches(column, owner, begin, end, sizes[:, None])
        origin = owner if records.index is None else records.index[owner]
        return replace(records, columns={self.column: pieces}, index=origin), owner

    def _ids(self, records: Records, position: int) -> Index | None:
        """Ids of all symbols of a sample; None if it is missing."""
        row = np.array([position])
        missing = records[self.column][row][0] is None
        return None if missing else self.vocabulary.encode(self._rows(records, row))[0]

    def _rows(self, records: Records, index: Index) -> list[Any]:
        return read_rows(records, self.column, index, self.unit != "code")

    def present(self, records: Records, index: Index) -> NDArray[np.bool_]:
        rows, padding = records[self.column][index], self.padding_code
        return np.array([row is not None and has_symbols(row, padding) for row in rows], dtype=bool)

    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples: "codes" (B, N) int64, and "valid" (B, N) where not all are symbols."""
        rows = self._rows(records, index)
        ids, lengths = self.vocabulary.encode(rows)
        _check_lengths(self, records, index, lengths)
        codes = np.full((len(rows), int(lengths.max())), -1, dtype=np.int64)
        codes[np.arange(codes.shape[1]) < lengths[:, None]] = ids
        valid = codes >= 0
        if not valid.any(axis=1).all():
            row = int((~valid.any(axis=1)).argmax())
            raise records.error(
                int(index[row]),
                f"field {self.column!r} must hold at least one symbol that the training data "
                f"held; got {rows[row]!r:.40}. Leave this sample out.",
            )
        batch = {"codes": torch.from_numpy(np.maximum(codes, 0))}
        return batch if valid.all() else {**batch, "valid": torch.from_numpy(valid)}

    def raw(self, records: Records, index: Index) -> Features:
        """One-hot symbols where all samples have one length, else counts of short runs."""
        batch = self.batch(records, index)
        codes, valid = batch["codes"], batch.get("valid", torch.ones_like(batch["codes"]) > 0)
        size = len(self.alphabet)
        if self.equal and size * self.length <= MOST_ONE_HOT:
            # Cut or filled up to the training length, so that every batch has as many features.
            hot = (F.one_hot(codes, size) * valid[..., None])[:, : self.length]
            short = self.length - hot.shape[1]
            return F.pad(hot, (0, 0, 0, short)).flatten(1).float().numpy()
        return count_grams(codes.numpy(), valid.numpy(), size, self.vocabulary.unit.grams)

    @classmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        letters = np.array(list("ACGT"))
        rows = ["".join(rng.choice(letters, rng.integers(9, 17))) for _ in range(num)]
        return Records({"X": np.array(rows, dtype=object)}, "example")


def _notes(spec: SymbolsSpec, learnt: Learnt) -> list[str]:
    lengths, size = learnt.lengths, len(spec.alphabet)
    override = "" if spec.unit == "code" else " (override: unit)"
    notes = [f"{size} {spec.word}, lengths {lengths.min()} to {lengths.max()}{override}"]
    rest, total = int(learnt.rest.sum()), int(learnt.rest.sum() + learnt.counts.sum())
    if rest:
        notes.append(
            f"{len(learnt.rest)} rare {spec.word}, {rest / total:.2%} of the data, are treated as "
            f"missing (override: max_symbols)"
        )
    long = int((lengths > spec.max_length).sum())
    if long:
        notes.append(
            f"{long / len(lengths):.2%} of the samples are longer than {spec.max_length} symbols "
            f"and are cut into windows (override: window, stride)"
        )
    pair = both_cases(spec.alphabet)
    if pair:
        notes.append(
            f"{pair[0]!r} and {pair[1]!r} are different symbols (override: write the sequences in "
            f"one case)"
        )
    return notes


def _check_lengths(spec: SymbolsSpec, records: Records, index: Index, lengths: Index) -> None:
    for position in np.flatnonzero((lengths < 1) | (lengths > spec.max_length))[:1]:
        remedy = "Cut the sample, leave it out, or raise max_length."
        if lengths[position] < 1:
            spec._rows(records, index[position : position + 1])  # says so if it is missing
            remedy = "Leave this sample out."
        raise records.error(
            int(index[position]),
            f"field {spec.column!r} must hold between 1 and {spec.max_length} symbols; got "
            f"{lengths[position]}. {remedy}",
        )
    if spec.length < 2:
        raise ConfigError(
            f"{records.source}: field {spec.column!r} must hold samples of at least 2 symbols; "
            f"got 1. One symbol leaves nothing to predict; a table column would do."
        )
