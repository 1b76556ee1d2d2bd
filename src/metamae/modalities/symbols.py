"""Sequences of symbols from a finite alphabet: text, DNA, proteins, SMILES, integer codes.

A symbol is one token. A prediction is scored by cross-entropy; its logits are the products with
the input embedding table, as in Jang et al. (arXiv:2310.16318). A symbol that the training data
did not hold is treated as missing: neither input nor target.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.checks import check_at_least
from metamae.columns import Index
from metamae.errors import ConfigError, DataError
from metamae.modalities.base import Features, Modality, Places, Tokenizer
from metamae.networks.positions import Line
from metamae.networks.transformer import xavier_linear
from metamae.records import Records
from metamae.types import Batch, Tokens

STATISTICS_FROM = 100_000  # samples that the alphabet is taken from
NGRAM_BUCKETS = 2048
UNKNOWN = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, kw_only=True)
class Symbols(Modality):
    """What one sample of symbols looks like.

    Args:
        column: Name of the input column.
        alphabet: The known symbols: characters, or integer codes, in the order of their ids.
        frequencies: Share of each in the training data.
        length: Symbols of the longest training sample.
        equal: Whether all training samples had that length.
        max_length: Longest sample that is accepted.
        padding_code: Integer code that means "no symbol", wherever it stands; None if there is
            none.
    """

    kind: ClassVar[str] = "symbols"
    description: ClassVar[str] = "strings or integer codes: text, DNA, proteins, SMILES"

    column: str
    alphabet: tuple[str | int, ...]
    frequencies: tuple[float, ...]
    length: int
    equal: bool
    max_length: int
    padding_code: int | None = None

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        max_symbols: int = 1024,
        max_length: int = 4096,
        padding_code: int | None = None,
    ) -> tuple["Symbols", list[str]]:
        """Measure the training data.

        Args:
            records: Training data with one column of strings (S,), of integer codes (S, N), or
                of arrays of codes.
            rng: Source of the subsample that statistics are taken from.
            max_symbols: Most symbols of the alphabet; rarer ones are treated as missing.
            max_length: Longest sample that is accepted; attention over a longer one would need
                more memory than most machines have.
            padding_code: Integer code that means "no symbol", wherever it stands.
        """
        check_at_least("Symbols.max_symbols", max_symbols, 2)
        check_at_least("Symbols.max_length", max_length, 2)
        if padding_code is not None and type(padding_code) is not int:
            raise ConfigError(
                f"Symbols.padding_code must be a whole number; got {padding_code!r}. 0 would do."
            )
        names = list(records)
        if len(names) != 1:
            raise DataError(
                f"{records.source}: symbols must come from one field; got {len(names)}: "
                f"{', '.join(names[:5])}. Choose one with `field`."
            )
        some = records.sample(STATISTICS_FROM, rng)
        rows = _rows(some, names[0], np.arange(len(some)), padding_code)
        counts: Counter[str | int] = Counter()
        for row in rows:
            counts.update(row if isinstance(row, str) else row.tolist())
        kept = counts.most_common(max_symbols)
        if len(kept) < 2:
            raise DataError(
                f"{records.source}: field {names[0]!r} must hold at least 2 different symbols; "
                f"got {[symbol for symbol, _ in kept]}. There is nothing to learn from."
            )
        lengths = np.array([len(row) for row in rows])
        kept.sort(key=lambda item: item[0])
        total = sum(count for _, count in kept)
        spec = cls(
            column=names[0],
            alphabet=tuple(symbol for symbol, _ in kept),
            frequencies=tuple(count / total for _, count in kept),
            length=int(lengths.max()),
            equal=bool((lengths == lengths[0]).all()),
            max_length=max_length,
            padding_code=padding_code,
        )
        _check_lengths(spec, some, np.arange(len(some)), lengths)
        notes = [f"{len(kept)} symbols, lengths {lengths.min()} to {lengths.max()}"]
        if len(kept) < len(counts):
            notes.append(f"{len(counts) - len(kept)} rare symbols are treated as missing")
        return spec, notes

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    @property
    def num_tokens(self) -> int:
        return self.length

    @property
    def mask_ratio(self) -> float:
        return 0.5

    def describe(self) -> str:
        span = f"{self.length}" if self.equal else f"up to {self.length}"
        return f"sequences of {span} symbols from an alphabet of {len(self.alphabet)}"

    @property
    def varies(self) -> bool:
        return True

    def lengths(self, records: Records) -> Index | None:
        column = records[self.column]
        if column.shape[1:] == (self.length,) and self.padding_code is None:
            return None
        index = np.arange(len(records))
        lengths = np.array([len(row) for row in self._rows(records, index)], dtype=np.int64)
        _check_lengths(self, records, index, lengths)
        return lengths

    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples: "codes" (B, N) int64, and "valid" (B, N) where not all are symbols."""
        rows = self._rows(records, index)
        lengths = np.array([len(row) for row in rows])
        _check_lengths(self, records, index, lengths)
        codes = np.full((len(rows), int(lengths.max())), -1, dtype=np.int64)
        there = np.arange(codes.shape[1]) < lengths[:, None]
        codes[there] = self._encode(rows)
        valid = codes >= 0
        if not valid.any(axis=1).all():
            row = int((~valid.any(axis=1)).argmax())
            raise DataError(
                f"{records.where(int(index[row]))}: field {self.column!r} must hold at least one "
                f"symbol that the training data held; got {rows[row]!r:.40}. Leave this sample out."
            )
        batch = {"codes": torch.from_numpy(np.maximum(codes, 0))}
        return batch if valid.all() else {**batch, "valid": torch.from_numpy(valid)}

    def _rows(self, records: Records, index: Index) -> list[Any]:
        text = isinstance(self.alphabet[0], str)
        return _rows(records, self.column, index, self.padding_code, text)

    def _encode(self, rows: list[Any]) -> Index:
        """Ids of all symbols of all rows, one after another; -1 for an unknown one."""
        if isinstance(self.alphabet[0], str):
            text = "".join(rows).encode("utf-32-le", errors="surrogatepass")
            found = np.frombuffer(text, dtype=np.uint32).astype(np.int64)
            known = np.array([ord(str(symbol)) for symbol in self.alphabet])
        else:
            found = np.concatenate(rows)
            known = np.array(self.alphabet)
        order = known.argsort()
        at = order[np.minimum(known[order].searchsorted(found), len(known) - 1)]
        return np.where(known[at] == found, at, -1)

    def raw(self, records: Records, index: Index) -> Features:
        """One-hot symbols where all samples have one length, else counts of 1- to 3-grams."""
        batch = self.batch(records, index)
        codes, valid = batch["codes"], batch.get("valid", torch.ones_like(batch["codes"]) > 0)
        size = len(self.alphabet)
        if self.equal:
            # Cut or filled up to the training length, so that every batch has as many features.
            hot = (F.one_hot(codes, size) * valid[..., None])[:, : self.length]
            short = self.length - hot.shape[1]
            return F.pad(hot, (0, 0, 0, short)).flatten(1).float().numpy()
        grams = np.zeros((len(codes), 3 * NGRAM_BUCKETS), dtype=np.float32)
        ids, there = codes.numpy().astype(np.uint64), valid.numpy()
        for n in range(1, 4):
            span = ids.shape[1] - n + 1
            if span < 1:
                break
            key, whole = np.zeros_like(ids[:, :span]), np.ones_like(there[:, :span])
            for shift in range(n):
                key = key * np.uint64(size) + ids[:, shift : shift + span]
                whole &= there[:, shift : shift + span]
            # Multiplicative hashing: neighbouring keys must not share a bucket systematically.
            if size**n > NGRAM_BUCKETS:
                key = (key * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(32)
            bucket = (key % np.uint64(NGRAM_BUCKETS)).astype(np.int64) + (n - 1) * NGRAM_BUCKETS
            row = np.broadcast_to(np.arange(len(ids))[:, None], bucket.shape)
            np.add.at(grams, (row[whole], bucket[whole]), 1.0)
        return np.log1p(grams)

    def tokenizer(self, width: int) -> "SymbolsTokenizer":
        return SymbolsTokenizer(self, width)

    @classmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        letters = np.array(list("ACGT"))
        rows = ["".join(rng.choice(letters, rng.integers(9, 17))) for _ in range(num)]
        return Records({"X": np.array(rows, dtype=object)}, "example")


class SymbolsTokenizer(Tokenizer):
    """Symbols in, tokens out."""

    frequencies: Tensor

    def __init__(self, spec: Symbols, width: int):
        super().__init__()
        self.spec, self.width = spec, width
        self.table = nn.Parameter(torch.empty(len(spec.alphabet), width))
        nn.init.xavier_uniform_(self.table)
        self.place = self.positions(width)
        shares = torch.tensor(spec.frequencies)
        self.register_buffer("frequencies", shares, persistent=False)

    def embed(self, batch: Batch) -> Tokens:
        codes = batch["codes"]
        N = codes.shape[1]
        at = torch.arange(N, device=codes.device)
        beside = torch.stack([at - 1, torch.where(at == N - 1, -1, at + 1)], dim=1)
        values = F.embedding(codes, self.table) + self.place(batch)
        return Tokens(values, beside, ~batch["valid"] if "valid" in batch else None)

    def positions(self, width: int) -> nn.Module:
        return Places(Line(self.spec.length, width), "codes")

    def head(self, width: int) -> nn.Module:
        """Return the map to width D; `logits` completes it with the embedding table."""
        return xavier_linear(width, self.width)

    def logits(self, predicted: Tensor) -> Tensor:
        """Score every symbol of the alphabet, (B, N, D) -> (B, N, symbols)."""
        return predicted @ self.table.T

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each token in nats."""
        logits = self.logits(predicted).transpose(1, 2)
        return F.cross_entropy(logits, batch["codes"], reduction="none")

    def baseline(self, batch: Batch) -> Tensor:
        return -self.frequencies.log()[batch["codes"]]

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Name the likeliest symbol of each token: strings (B,), or codes (B, N).

        Where there is no symbol, a string has none or, before its last one, the replacement
        character, and an array of codes has the padding code, or -1.
        """
        return self._name(self.logits(predicted).argmax(dim=-1), batch)

    def original(self, batch: Batch) -> NDArray[Any]:
        return self._name(batch["codes"], batch)

    def _name(self, ids: Tensor, batch: Batch) -> NDArray[Any]:
        text = isinstance(self.spec.alphabet[0], str)
        # Objects and not numpy's own strings, which lose a NUL.
        alphabet = np.array(self.spec.alphabet, dtype=object if text else np.int64)
        symbols: NDArray[Any] = alphabet[ids.cpu().numpy()]
        if "valid" in batch:
            code = self.spec.padding_code
            none = UNKNOWN if text else -1 if code is None else code
            symbols[~batch["valid"].cpu().numpy()] = none
        if not text:
            return symbols
        return np.array(["".join(row).rstrip(UNKNOWN) for row in symbols], dtype=object)

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[np.bool_]:
        spread: NDArray[np.bool_] = hidden.cpu().numpy()
        return spread


def _rows(
    records: Records, name: str, index: Index, padding_code: int | None, text: bool | None = None
) -> list[Any]:
    """Read strings or arrays of codes, without padding; refuse what is neither, and mixtures."""
    rows = list(records[name][index])
    for position, row in enumerate(rows):
        is_text = isinstance(row, str)
        is_codes = isinstance(row, np.ndarray) and row.ndim == 1 and row.dtype.kind in "iu"
        if not (is_text or is_codes) or (text is not None and text != is_text):
            wanted = {None: "text or integer codes", True: "text", False: "integer codes"}[text]
            got = "a missing value" if row is None else repr(row)[:40]
            raise DataError(
                f"{records.where(int(index[position]))}: field {name!r} must hold {wanted}; "
                f"got {got}. Leave this sample out, or choose another field or modality."
            )
        text = is_text
    return rows if text or padding_code is None else [row[row != padding_code] for row in rows]


def _check_lengths(spec: Symbols, records: Records, index: Index, lengths: Index) -> None:
    for position in np.flatnonzero((lengths < 1) | (lengths > spec.max_length))[:1]:
        raise DataError(
            f"{records.where(int(index[position]))}: field {spec.column!r} must hold between 1 "
            f"and {spec.max_length} symbols; got {lengths[position]}. Cut the sample, leave it "
            f"out, or raise max_length."
        )
    if spec.length < 2:
        raise ConfigError(
            f"{records.source}: field {spec.column!r} must hold samples of at least 2 symbols; "
            f"got 1. One symbol leaves nothing to predict; a table column would do."
        )
