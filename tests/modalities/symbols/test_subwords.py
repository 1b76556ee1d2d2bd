"""Byte-pair encoding that is learnt from the data, and tokenizers that users give."""

import hashlib
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from metamae.errors import ConfigError, DataError
from metamae.modalities.symbols import subwords as module
from metamae.modalities.symbols.subwords import Subwords, read_tokenizer, train_bpe

ENGLISH = ["the cat sat on the mat", "the dog sat on the log", "a cat and a dog"] * 5


@pytest.fixture(scope="module")
def english():
    return Subwords(train_bpe([ENGLISH], 300, at_spaces=True))


def tokens(unit, text):
    return [unit.join([key]) for key in unit.split([text])[0].tolist()]


def word_pieces(**settings):
    """A tokenizer with what other people's have: unknown words, a normaliser, special tokens."""
    vocabulary = ["[UNK]", "[CLS]", "un", "##do", "##ne", "cat", "café"]
    model = models.WordPiece({word: n for n, word in enumerate(vocabulary)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer


def test_frequent_pieces_become_symbols(english):
    assert tokens(english, "the cat sat") == ["the", " cat", " sat"]
    # What never occurred falls into bytes, of which none is unknown.
    assert tokens(english, "xyz") == ["x", "y", "z"]
    keys, lengths = english.split(["the 漢", "", "a"])
    assert lengths.tolist() == [5, 0, 1] and len(keys) == 6


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1, max_size=4
    )
)
def test_texts_come_together_again(english, rows):
    unit = english
    keys, lengths = unit.split(rows)
    ends = np.cumsum(lengths)
    assert [
        unit.join(keys[end - n : end].tolist()) for end, n in zip(ends, lengths, strict=True)
    ] == rows
    assert all(n <= unit.most * len(row) for n, row in zip(lengths, rows, strict=True))


def test_symbols_reach_over_words_only_where_there_are_none():
    rows = ["C(=O)NC(=O)N"] * 9
    apart = Subwords(train_bpe([rows], 320, at_spaces=True))
    across = Subwords(train_bpe([rows], 320, at_spaces=False))
    assert len(tokens(across, rows[0])) == 1 < len(tokens(apart, rows[0]))


def test_the_same_texts_give_the_same_tokenizer_in_every_process():
    # Rust's hash tables are seeded anew in each; ties between pairs must not show it.
    code = (
        "import sys\n"
        "from metamae.modalities.symbols.subwords import train_bpe\n"
        "rows = [''.join('ACGT'[(n * n * 7 + i * i * n) % 4] for i in range(40)) "
        "for n in range(200)]\n"
        "sys.stdout.write(train_bpe([rows[:90], rows[90:]], 400, at_spaces=False))"
    )
    found = {
        hashlib.sha256(
            subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
        ).hexdigest()
        for _ in range(2)
    }
    assert len(found) == 1


def test_neither_training_nor_encoding_prints_or_warns_in_forked_processes():
    code = (
        "import os\n"
        "from metamae.modalities.symbols.subwords import Subwords, train_bpe\n"
        "unit = Subwords(train_bpe([['the cat', 'the dog'] * 50], 300, at_spaces=True))\n"
        "unit.split(['the cat'] * 50)\n"
        "assert os.environ['TOKENIZERS_PARALLELISM'] == 'false'\n"
        "child = os.fork()\n"
        "unit.split(['the cat'] * 50)\n"
        "if not child: os._exit(0)\n"
        "os.waitpid(child, 0)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, env=environment
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_long_text_is_encoded_in_parts(english, monkeypatch):
    text = " ".join(ENGLISH)
    whole = english.split([text, "a cat"])
    monkeypatch.setattr(module, "AT_ONCE", 50)
    found = english.split([text, "a cat"])
    assert [ids.tolist() for ids in found] == [ids.tolist() for ids in whole]
    assert max(map(len, module._parts(text))) <= 50 and "".join(module._parts(text)) == text
    assert "".join(module._parts("x" * 333)) == "x" * 333


def test_half_surrogates_are_no_reason_to_stop(english):
    assert english.split(["a\ud800b"])[1].tolist() == [3]


def test_tokenizers_of_other_people(tmp_path):
    tokenizer = word_pieces()
    tokenizer.enable_truncation(2)
    tokenizer.enable_padding(length=9)
    tokenizer.save(str(tmp_path / "own.json"))
    unit = Subwords(read_tokenizer(tmp_path / "own.json"))
    keys, lengths = unit.split(["Undone cat cat", "café xyz", ""])
    assert keys.tolist() == [2, 3, 4, 5, 5, 6, -1]  # nothing added, cut or filled up
    assert lengths.tolist() == [5, 2, 0]
    assert unit.join([2, 3, 4, 5]) == "undone cat"
    assert unit.join([5, None, 5]) == "cat\ufffdcat"
    assert unit.most is None


def test_random_choices_are_switched_off(tmp_path):
    values = json.loads(train_bpe([ENGLISH], 300, at_spaces=True))
    values["model"]["dropout"] = 0.9
    (tmp_path / "own.json").write_text(json.dumps(values))
    unit = Subwords(read_tokenizer(tmp_path / "own.json"))
    assert len({tuple(unit.split(ENGLISH)[0].tolist()) for _ in range(5)}) == 1
    assert unit.most == 4.0


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"[" * 100_000,
        b'{"model": {}}',
        b'{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]}}',
        b"\xff\xfe",
        b"PK\x03\x04 no json",
    ],
)
def test_files_that_are_no_tokenizers_are_refused(tmp_path, text):
    (tmp_path / "own.json").write_bytes(text)
    with pytest.raises(DataError, match=r"own\.json must be a tokenizer\.json of the library tok"):
        read_tokenizer(tmp_path / "own.json")


def test_huge_files_are_refused_unread(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_FILE", 10)
    (tmp_path / "own.json").write_bytes(b"x" * 11)
    with pytest.raises(DataError, match=r"own\.json must have at most 10 bytes .*; got 11"):
        read_tokenizer(tmp_path / "own.json")


def test_a_damaged_tokenizer_in_a_run_is_no_traceback():
    with pytest.raises(
        DataError, match=r"The tokenizer of a run must be a tokenizer\.json of the lib"
    ):
        Subwords("{}")


def test_a_panic_of_the_library_is_an_error_like_others(monkeypatch):
    class PanicException(BaseException):  # its name in the library
        pass

    def panic(text):
        raise PanicException("index out of bounds")

    library = type("Library", (), {"Tokenizer": type("T", (), {"from_str": staticmethod(panic)})})
    monkeypatch.setattr(module, "_library", lambda: library)
    with pytest.raises(DataError, match="index out of bounds"):
        Subwords("{}")


def test_the_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ConfigError, match=r"pip install 'metamae\[tokenizers\]' would do"):
        train_bpe([ENGLISH], 300, at_spaces=True)


def test_users_may_have_threads(monkeypatch):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    with warnings.catch_warnings():
        train_bpe([["a b"]], 258, at_spaces=True)
    assert os.environ["TOKENIZERS_PARALLELISM"] == "true"
