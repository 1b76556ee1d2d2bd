"""Frequent pieces of words as symbols: byte-pair encoding, or a tokenizer that a user gives."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.extras import require
from metamae.data.columns.base import Index
from metamae.data.files import legible
from metamae.errors import DataError
from metamae.modalities.symbols.units import UNKNOWN, Keys, Symbol, Unit

LARGEST_FILE = 2**26  # bytes of a tokenizer.json; those of large language models have a sixth
# Characters that are encoded at once: the library holds about 150 bytes for each token.
AT_ONCE = 2**20
LONGEST_WORD = 1024  # characters of an unbroken text that is learnt from in one piece
RULE = "must be a tokenizer.json of the library tokenizers"
REMEDY = "Write one with Tokenizer.save()."
FEWEST = 2  # occurrences of a pair that becomes a symbol


class Subwords(Unit):
    """The tokens of a tokenizer; a symbol and its key are a token's number there.

    A text of more than about a million characters is encoded in parts that end behind a space.
    Special tokens, such as those for the end of a text, are not added.

    Args:
        description: Text of a `tokenizer.json` of the library tokenizers.

    Raises:
        DataError: If it is none.
        ConfigError: If the library is not installed.
    """

    word: ClassVar[str] = "subwords"
    grams: ClassVar[int] = 2

    def __init__(self, description: str):
        self._tokenizer = _load(description, "The tokenizer of a run")
        values = json.loads(description)
        model = values["model"]
        unknown = model.get("unk_token")
        found = model.get("unk_id") if unknown is None else self._tokenizer.token_to_id(unknown)
        self.unknown = -1 if found is None else int(found)
        before = values.get("pre_tokenizer") or {}
        plain = before.get("type") == "ByteLevel" and not before.get("add_prefix_space")
        # A token of bytes has at least one of a character's up to 4; of others nothing is known.
        self.most = 4.0 if plain and not values.get("normalizer") else None

    def split(self, rows: Sequence[Any]) -> tuple[Keys, Index]:
        parts = [_parts(row) for row in rows]
        found = self._encode([part for own in parts for part in own])
        lengths = np.array([len(ids) for ids in found], dtype=np.int64)
        keys = np.concatenate([np.empty(0, dtype=np.int64), *found])
        ends = np.cumsum([len(own) for own in parts])
        before = np.concatenate([[0], np.cumsum(lengths)])
        return np.where(keys == self.unknown, -1, keys), np.diff(before[ends], prepend=0)

    def _encode(self, texts: list[str]) -> list[Index]:
        found: list[Index] = []
        for some in _groups(texts):
            rule = "must be one that the tokenizer can encode"
            with legible("A text", rule, "Leave it out."), _without_panic():
                made = self._tokenizer.encode_batch_fast(some, add_special_tokens=False)
            found += [np.array(one.ids, dtype=np.int64) for one in made]
        return found

    def symbol(self, key: int) -> int:
        return key

    def keys(self, symbols: Iterable[Symbol]) -> Index:
        return np.array(list(symbols), dtype=np.int64)

    def join(self, symbols: Sequence[Symbol | None]) -> str:
        parts = []
        for known, run in groupby(symbols, lambda symbol: symbol is not None):
            ids = list(run)
            decoded = self._tokenizer.decode(ids, skip_special_tokens=False) if known else ""
            parts.append(decoded if known else UNKNOWN * len(ids))
        return "".join(parts)


def train_bpe(texts: Iterable[Sequence[str]], size: int, *, at_spaces: bool) -> str:
    """Learn which pieces are frequent; the same texts always give the same result.

    Source: Sennrich et al., ACL 2016, arXiv:1508.07909, on bytes as in Radford et al., "Language
    models are unsupervised multitask learners", 2019, section 2.2.

    Args:
        texts: Training data, some at a time.
        size: Symbols, the 256 bytes included.
        at_spaces: Whether no symbol reaches over the start of a word, a number or a run of
            punctuation; else, as in DNA or SMILES, it may begin and end anywhere.

    Returns:
        The text of a `tokenizer.json`.
    """
    library = _library()
    tokenizer = library.Tokenizer(library.models.BPE())
    before = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=at_spaces)
    tokenizer.pre_tokenizer, tokenizer.decoder = before, library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=FEWEST,
        show_progress=False,
        initial_alphabet=sorted(library.pre_tokenizers.ByteLevel.alphabet()),
    )
    tokenizer.train_from_iterator(_words(texts), trainer)
    return str(tokenizer.to_str())


def read_tokenizer(path: Path) -> str:
    """Read a tokenizer's file; truncation, padding and random choices are switched off.

    Returns:
        The text of a `tokenizer.json`.

    Raises:
        DataError: If the file is none, or too large.
    """
    if path.stat().st_size > LARGEST_FILE:
        raise DataError(
            f"{path} must have at most {LARGEST_FILE} bytes to be a tokenizer.json; got "
            f"{path.stat().st_size}. A tokenizer with fewer tokens would do."
        )
    with legible(str(path), RULE, REMEDY):
        values = json.loads(path.read_text(encoding="utf-8"))
        values |= {"truncation": None, "padding": None}
        for key in ("dropout", "alpha", "nbest_size"):
            if values["model"].get(key) is not None:
                values["model"][key] = None
        text = json.dumps(values, ensure_ascii=False)
    _load(text, str(path))
    return text


def _library() -> Any:
    # Its threads would only warn when a process that reads batches is forked.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    return require("tokenizers", "tokenizers", "A unit of subwords")


def _load(description: str, owner: str) -> Any:
    library = _library()
    with legible(owner, RULE, REMEDY), _without_panic():
        return library.Tokenizer.from_str(description)


@contextmanager
def _without_panic() -> Iterator[None]:
    # What a failed assertion of the library raises is no Exception.
    try:
        yield
    except BaseException as error:
        if type(error).__name__ == "PanicException":
            raise ValueError(str(error)) from error
        raise


def _words(texts: Iterable[Sequence[str]]) -> Iterator[list[str]]:
    for rows in texts:
        yield [
            row[start : start + LONGEST_WORD]
            for row in rows
            for start in range(0, len(row), LONGEST_WORD)
        ]


def _parts(text: str) -> list[str]:
    """Cut a long text behind spaces, where there are some."""
    if not text.isascii():
        # Half a surrogate pair is no character, and the library refuses it.
        text = text.encode("utf-8", "replace").decode("utf-8")
    parts, start = [], 0
    while len(text) - start > AT_ONCE:
        space = text.rfind(" ", start + AT_ONCE // 2, start + AT_ONCE)
        stop = start + AT_ONCE if space < 0 else space
        parts.append(text[start:stop])
        start = stop
    return [*parts, text[start:]]


def _groups(texts: list[str]) -> Iterator[list[str]]:
    """Put texts together that are encoded at once."""
    group: list[str] = []
    size = 0
    for text in texts:
        if group and size + len(text) > AT_ONCE:
            yield group
            group, size = [], 0
        group.append(text)
        size += len(text)
    yield group
