"""The unit and the alphabet that a user's choices and the training data lead to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.checks import check_at_least
from metamae.core.registry import did_you_mean
from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.symbols.alphabet import tally
from metamae.modalities.symbols.kmers import Kmers
from metamae.modalities.symbols.rows import Excerpts
from metamae.modalities.symbols.subwords import Subwords, read_tokenizer, train_bpe
from metamae.modalities.symbols.units import Bytes, Characters, Codes, Symbol, Unit

UNITS = ("character", "byte", "kmer", "bpe")
"""What a user may choose besides the path of a tokenizer."""

BPE_FROM = 2**22  # characters that byte-pair encoding is learnt from: seconds, not minutes
# Most symbols where the user does not say. Runs of 3 amino acids have 8,000.
MOST_SYMBOLS, MOST_KMERS, ALL = 1024, 8192, 2**31
NUCLEOTIDES = frozenset("ACGTUNRYSWKMBDHV-*.")
SPACES = np.array([9, 10, 11, 12, 13, 32])  # bytes


@dataclass(frozen=True)
class Wanted:
    """What a user asks for.

    Args:
        unit: One of `UNITS`, or the path of a `tokenizer.json`.
        k: Characters of a k-mer.
        kmer_stride: From the start of a k-mer to that of the next; "auto" for k.
        max_symbols: Of the alphabet; "auto" for what suits the unit.
        padding_code: Integer code that means "no symbol"; None if there is none.

    Raises:
        ConfigError: If a number is none or too small, or k-mers would leave characters out.
    """

    unit: str = "character"
    k: int = 3
    kmer_stride: int | str = "auto"
    max_symbols: int | str = "auto"
    padding_code: int | None = None

    def __post_init__(self) -> None:
        check_at_least("Symbols.k", self.k, 1)
        if self.kmer_stride != "auto":
            check_at_least("Symbols.kmer_stride", self.stride, 1)
            if self.stride > self.k:
                raise ConfigError(
                    f"Symbols.kmer_stride must be at most k = {self.k}, or characters would be "
                    f"left out; got {self.stride}. {self.k} would do."
                )
        if self.max_symbols != "auto":
            check_at_least("Symbols.max_symbols", self.most(0), 2)
        if self.padding_code is not None and type(self.padding_code) is not int:
            raise ConfigError(
                f"Symbols.padding_code must be a whole number; got {self.padding_code!r}. 0 would "
                f"do."
            )

    @property
    def stride(self) -> int:
        """Characters from the start of a k-mer to that of the next."""
        return self.k if self.kmer_stride == "auto" else self.kmer_stride  # type: ignore[return-value]

    def most(self, suiting: int) -> int:
        """Symbols of the alphabet, where `suiting` would be right for the unit."""
        return suiting if self.max_symbols == "auto" else self.max_symbols  # type: ignore[return-value]


@dataclass(frozen=True)
class Learnt:
    """What the training data led to.

    Attributes:
        unit: One of "code", "character", "byte", "kmer" and "subword".
        tokenizer: Text of the `tokenizer.json` of subwords; None for other units.
        symbols: The known symbols, in the order of their ids.
        counts: How often each occurs in what was read, (K,).
        rest: The same for those that are not known.
        lengths: Symbols of each sample, (S,), estimated where not all was read.
    """

    unit: str
    tokenizer: str | None
    symbols: tuple[Symbol, ...]
    counts: Index
    rest: Index
    lengths: Index


def unit_of(
    name: str,
    symbols: Sequence[Symbol],
    *,
    k: int,
    stride: int,
    padding: int | None,
    tokenizer: str | None,
) -> Unit:
    """Return the unit of a name in `Learnt.unit`."""
    match name:
        case "code":
            return Codes(padding)
        case "byte":
            return Bytes()
        case "kmer":
            return Kmers(k, stride, "".join(map(str, symbols)))
        case "subword":
            return Subwords(tokenizer or "")
        case _:
            return Characters()


def learn(records: Records, name: str, rng: np.random.Generator, wanted: Wanted) -> Learnt:
    """Choose unit and alphabet.

    Args:
        records: Training data, or some of them.
        name: Of the column.
        rng: Draws what is read where there is too much of it.
        wanted: The user's choices.

    Raises:
        DataError: If the column holds neither texts nor codes, a tokenizer's file is none, or
            all symbols are the same.
        ConfigError: If the unit is unknown or does not suit the data.
    """
    source = _source(wanted.unit)
    excerpts = Excerpts(records, name, rng)
    if not excerpts.text and source != "character":
        raise ConfigError(
            f"Symbols.unit must be 'character' for integer codes, each of which is a symbol; got "
            f"{wanted.unit!r}. Leave it out."
        )
    kind, tokenizer, letters = "code", None, np.empty(0, dtype=np.int64)
    most = wanted.most(MOST_SYMBOLS)
    if source == "bpe":
        kind, tokenizer = "subword", _train(records, name, rng, most)
    elif isinstance(source, Path):
        kind, tokenizer, most = "subword", read_tokenizer(source), wanted.most(ALL)
    elif source == "kmer":
        kind, letters, most = "kmer", tally(Characters(), excerpts)[0], wanted.most(MOST_KMERS)
    elif excerpts.text:
        kind = source
    unit = unit_of(
        kind,
        [chr(letter) for letter in letters],
        k=wanted.k,
        stride=wanted.stride,
        padding=wanted.padding_code,
        tokenizer=tokenizer,
    )
    keys, counts, lengths = tally(unit, excerpts)
    keys, counts, rest = _known(unit, keys, counts, most)
    symbols = tuple(unit.symbol(int(key)) for key in keys)
    if np.count_nonzero(counts) < 2:
        raise DataError(
            f"{records.source}: field {name!r} must hold at least 2 different symbols; got "
            f"{[symbol for symbol, n in zip(symbols, counts, strict=True) if n]}. There is nothing "
            f"to learn from."
        )
    if kind == "byte":
        # Each counts once more, so that one that never occurred is no infinite surprise.
        counts = counts + 1
    return Learnt(kind, tokenizer, symbols, counts, rest, _lengths(excerpts, unit, lengths))


def _known(unit: Unit, keys: Index, counts: Index, most: int) -> tuple[Index, Index, Index]:
    """Keys of the symbols to know, how often each occurs, and how often each of the others."""
    if isinstance(unit, Bytes):
        every = np.zeros(256, dtype=np.int64)
        every[keys] = counts
        return np.arange(256), every, counts[:0]
    if isinstance(unit, Kmers | Subwords):
        keys, counts = keys[keys >= 0], counts[keys >= 0]  # others are unknown to the unit itself
    order = np.lexsort((keys, -counts))
    kept = np.sort(order[:most])
    return keys[kept], counts[kept], counts[order[most:]]


def both_cases(symbols: Sequence[Symbol]) -> tuple[str, str] | None:
    """Return a capital and a small letter that mean the same nucleotide, if there are some.

    Nothing is said of other alphabets: a small letter is an aromatic atom in SMILES.
    """
    known = {symbol for symbol in symbols if isinstance(symbol, str)}
    pairs = sorted((s, s.lower()) for s in known if s != s.lower() and s.lower() in known)
    if pairs and {letter.upper() for symbol in known for letter in symbol} <= NUCLEOTIDES:
        return pairs[0]
    return None


def _source(unit: Any) -> str | Path:
    if isinstance(unit, str) and unit in UNITS:
        return unit
    if isinstance(unit, str) and unit:
        path = Path(unit).expanduser()
        if path.is_file():
            return path
    raise ConfigError(
        f"Symbols.unit must be a known unit or the path of a tokenizer.json; got {unit!r}."
        f"{did_you_mean(unit, UNITS)}"
    )


def _train(records: Records, name: str, rng: np.random.Generator, size: int) -> str:
    """Learn byte-pair encoding so that about `size` symbols occur in the data."""
    excerpts = Excerpts(records, name, rng, BPE_FROM)
    seen, counts, _ = tally(Bytes(), excerpts)
    spaces = counts[np.isin(seen, SPACES)].sum()
    # Sequences without words, such as DNA, may have a space now and then.
    at_spaces = bool(spaces * 1000 > counts.sum())
    return train_bpe(excerpts, 256 + max(0, size - len(seen)), at_spaces=at_spaces)


def _lengths(excerpts: Excerpts, unit: Unit, found: Index) -> Index:
    exact = unit.count(excerpts.sizes)
    if exact is not None:
        return exact
    rate = float(found.sum()) / max(1, int(excerpts.taken.sum()))
    lengths: Index = np.ceil(excerpts.sizes * rate).astype(np.int64)
    read = excerpts.taken == excerpts.sizes[excerpts.index]
    lengths[excerpts.index[read]] = found[read]
    return lengths
