"""Texts fall into symbols and come together again; ids are places in the alphabet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.errors import ConfigError
from metamae.modalities.symbols.alphabet import Alphabet, tally
from metamae.modalities.symbols.kmers import Kmers
from metamae.modalities.symbols.rows import Encoded
from metamae.modalities.symbols.units import Bytes, Characters, Codes

texts = st.lists(st.text(max_size=12), min_size=1, max_size=6)
quick = settings(max_examples=30, deadline=None)


def kmers_of(text, k, stride):
    """The obvious way: a run every `stride` characters until one reaches the end."""
    found, start = [], 0
    while text:
        found.append(text[start : start + k])
        if start + k >= len(text):
            return found
        start += stride
    return found


def unit_and_runs(rows, k, stride):
    unit = Kmers(k, stride, "".join(rows))
    return unit, [kmers_of(row, k, stride) for row in rows]


def joined(unit, rows):
    """Encode rows with an alphabet of all their symbols, and decode them."""
    symbols = [unit.symbol(int(key)) for key in tally(unit, [rows])[0]]
    alphabet = Alphabet(unit, symbols)
    ids, lengths = alphabet.encode(rows)
    width = max(1, int(lengths.max()))
    there = np.arange(width) < lengths[:, None]
    padded = np.zeros((len(rows), width), dtype=np.int64)
    padded[there] = ids
    assert (ids >= 0).all()
    return list(alphabet.decode(padded, there))


@quick
@given(texts, st.integers(1, 5), st.data())
def test_kmers_against_slices(rows, k, data):
    stride = data.draw(st.integers(1, k))
    unit, expected = unit_and_runs(rows, k, stride)
    keys, lengths = unit.split(rows)
    assert [unit.symbol(int(key)) for key in keys] == [run for own in expected for run in own]
    assert lengths.tolist() == [len(own) for own in expected]
    assert unit.count(np.array([len(row) for row in rows])).tolist() == lengths.tolist()
    assert unit.keys([unit.symbol(int(key)) for key in keys]).tolist() == keys.tolist()


@quick
@given(texts, st.integers(1, 4), st.data())
def test_texts_come_together_again(rows, k, data):
    stride = data.draw(st.integers(1, k))
    assert joined(Kmers(k, stride, "".join(rows)), rows) == rows
    assert joined(Characters(), rows) == rows
    assert joined(Bytes(), rows) == rows


@quick
@given(st.text(min_size=1, max_size=30), st.integers(1, 4), st.data())
def test_a_piece_of_kmers_is_the_kmers_of_a_piece(text, k, data):
    unit = Kmers(k, data.draw(st.integers(1, k)), text)
    keys, lengths = unit.split([text])
    start = data.draw(st.integers(0, int(lengths[0]) - 1))
    stop = data.draw(st.integers(start + 1, int(lengths[0])))
    begin, end = unit.extent(np.array([start]), np.array([stop]))
    found, _ = unit.split([text[begin[0] : end[0]]])
    assert found.tolist() == keys[start:stop].tolist()


def test_long_runs_have_keys_of_their_own():
    # Keys beyond 2**31 are computed in 64 bits.
    rows = ["ACGTACGTACGTACGTACGT", "ACGTACGTACGTACGTACGA"]
    unit = Kmers(20, 20, "ACGT")
    keys, _ = unit.split(rows)
    assert keys[0] != keys[1]
    assert keys[0] > 2**31
    assert [unit.symbol(int(key)) for key in keys] == rows


def test_runs_beyond_62_bits_are_refused():
    with pytest.raises(
        ConfigError, match=r"k must be at most 26 for texts of 4 different .*; got 27\. 3 would do"
    ):
        Kmers(27, 27, "ACGT")
    Kmers(26, 26, "ACGT")


def test_unknown_letters_spoil_only_their_runs():
    unit = Kmers(2, 1, "ACGT")
    keys, _ = unit.split(["ACXGT", "zA"])
    known = [key >= 0 for key in keys]
    assert known == [True, False, False, True, False]
    assert unit.join(["AC", None, None, "GT"]) == "A\ufffd\ufffdGT"


def test_kmers_that_overlap_are_told_once():
    assert Kmers(3, 1, "ACGT").join(["ACG", "CGT", "GTA"]) == "ACGTA"
    assert Kmers(3, 2, "ACGT").join(["ACG", "GTA", "A"]) == "ACGTA"
    assert Kmers(3, 3, "ACGT").join(["ACG", None, "TA"]) == "ACG\ufffd\ufffd\ufffdTA"


def test_bytes_are_those_of_utf8():
    keys, lengths = Bytes().split(["aä", "", "漢"])
    assert bytes(keys.tolist()).decode() == "aä漢"
    assert lengths.tolist() == [3, 0, 3]
    assert Bytes().join(list("ä".encode())) == "ä"
    assert Bytes().join([0xC3, 97]) == "\ufffda"
    assert Bytes().join([97, None, 98]) == "a\ufffdb"


def test_padding_codes_are_left_out():
    rows = [np.array([0, 3, 0, 4]), np.array([], dtype=np.int64), np.array([0]), np.array([5, 0])]
    keys, lengths = Codes(padding=0).split(rows)
    assert keys.tolist() == [3, 4, 5]
    assert lengths.tolist() == [2, 0, 0, 1]
    assert Codes(padding=0).count(np.array([4])) is None
    assert Codes().split(rows)[1].tolist() == [4, 0, 1, 2]


@pytest.mark.parametrize("spread", [1, 2**40])
def test_ids_are_places_in_the_alphabet(spread):
    # With and without a table of all keys; -1 is a code like any other.
    symbols = [-1 * spread, 0, 3 * spread, 5 * spread]
    for known in (symbols, symbols[1:]):
        alphabet = Alphabet(Codes(), known)
        codes = np.array([5, -1, 0, 3, 4, -2, 6, 99]) * spread
        expected = [known.index(code) if code in known else -1 for code in codes.tolist()]
        assert alphabet.encode([codes])[0].tolist() == expected


def test_encoded_pieces_are_taken_as_they_are():
    alphabet = Alphabet(Characters(), "ab")
    ids, lengths = alphabet.encode([Encoded(np.array([1, -1], dtype=np.int32)), "ab"])
    assert ids.tolist() == [1, -1, 0, 1]
    assert ids.dtype == np.int64
    assert lengths.tolist() == [2, 2]


def test_what_is_not_there_has_no_text_at_the_end():
    alphabet = Alphabet(Characters(), "ab")
    there = np.array([[False, True, False], [False, False, False]])
    assert list(alphabet.decode(np.zeros((2, 3), dtype=np.int64), there)) == ["\ufffda", ""]


@quick
@given(st.lists(texts, min_size=1, max_size=4))
def test_symbols_are_counted_over_all_parts(parts):
    keys, counts, lengths = tally(Characters(), parts)
    everything = "".join(row for rows in parts for row in rows)
    assert dict(zip(map(chr, keys), counts, strict=True)) == {
        letter: everything.count(letter) for letter in everything
    }
    assert lengths.tolist() == [len(row) for rows in parts for row in rows]
