"""Sequences of symbols: the alphabet, lengths, what is missing and what is refused."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cases import objects
from metamae.errors import ConfigError, DataError
from metamae.modalities.symbols import Symbols
from metamae.records import Records

TEXTS = ["ACGT", "AAC", "GATTACA", "CC"]
CODES = [np.array(row) for row in ([3, 5, 7], [7, 7], [5, 3, 3, -1], [3, 3])]


def infer(rows, **settings):
    column = rows if isinstance(rows, np.ndarray) else objects(rows)
    return Symbols.infer(Records({"X": column}, "array"), np.random.default_rng(0), **settings)


def batch(spec, rows, index=None):
    column = rows if isinstance(rows, np.ndarray) else objects(rows)
    return spec.batch(
        Records({"X": column}, "array"), np.arange(len(rows)) if index is None else index
    )


def test_texts_are_measured():
    spec, notes = infer(TEXTS)
    counts = Counter("".join(TEXTS))
    assert spec.alphabet == ("A", "C", "G", "T")
    assert spec.frequencies == tuple(counts[s] / 16 for s in "ACGT")
    assert (spec.length, spec.equal, spec.num_tokens) == (7, False, 7)
    assert spec.describe() == "sequences of up to 7 symbols from an alphabet of 4"
    assert notes == ["4 symbols, lengths 2 to 7"]


def test_codes_are_measured():
    spec, _ = infer(CODES)
    assert spec.alphabet == (-1, 3, 5, 7)
    assert all(type(symbol) is int for symbol in spec.alphabet)
    equal, _ = infer(np.array([[1, 2, 3], [3, 2, 1]], dtype=np.uint8))
    assert equal.equal
    assert equal.describe() == "sequences of 3 symbols from an alphabet of 3"
    assert equal.lengths(Records({"X": np.array([[1, 2, 3]])}, "array")) is None


def test_ids_are_places_in_the_alphabet():
    spec, _ = infer(TEXTS)
    made = batch(spec, TEXTS)
    assert made["codes"].dtype == torch.int64
    for row, codes, valid in zip(TEXTS, made["codes"], made["valid"], strict=True):
        assert valid.tolist() == [n < len(row) for n in range(7)]
        assert "".join(spec.alphabet[c] for c in codes[valid]) == row
    assert "valid" not in batch(spec, TEXTS[:1])
    spec, _ = infer(CODES)
    made = batch(spec, CODES)
    assert [spec.alphabet[c] for c in made["codes"][2]] == [5, 3, 3, -1]


def test_symbols_of_all_kinds():
    rows = ["aä漢", "😀a\n", "\x00 \ud800"]
    spec, _ = infer(rows)
    assert list(spec.tokenizer(4).original(batch(spec, rows))) == rows
    assert Symbols.from_dict(spec.to_dict()) == spec


def test_unknown_symbols_are_missing():
    spec, _ = infer(TEXTS)
    made = batch(spec, ["AXGX", "ACGT", "X\U0010ffffA"])
    assert made["valid"].tolist() == [
        [True, False, True, False],
        [True] * 4,
        [False, False, True, False],
    ]
    # Each one that is shown stands where its token stands.
    assert list(spec.tokenizer(4).original(made)) == ["A�G", "ACGT", "��A"]
    codes, _ = infer(CODES)
    made = batch(codes, np.array([[3, 4, 99], [7, -5, 3]]))
    assert made["valid"].tolist() == [[True, False, False], [True, False, True]]
    assert codes.tokenizer(4).original(made).tolist() == [[3, -1, -1], [7, -1, 3]]


def test_rare_symbols_are_missing():
    spec, notes = infer(["AAAB", "BBAZ", "AABA"], max_symbols=2)
    assert spec.alphabet == ("A", "B")
    assert "1 rare symbols are treated as missing" in notes
    assert sum(spec.frequencies) == pytest.approx(1)
    assert batch(spec, ["BBAZ"])["valid"].tolist() == [[True, True, True, False]]


def test_padding_codes_are_no_symbols():
    rows = np.array([[0, 4, 5, 6, 0], [5, 0, 0, 0, 0], [4, 4, 6, 6, 5]])
    spec, _ = infer(rows, padding_code=0)
    assert spec.alphabet == (4, 5, 6)
    assert spec.length == 5
    made = batch(spec, rows)
    assert made["valid"].sum(dim=1).tolist() == [3, 1, 5]
    # One sample alone has no padding at all, however its row was filled up.
    assert batch(spec, rows[:1])["codes"].shape == (1, 3)
    assert spec.lengths(Records({"X": rows}, "array")).tolist() == [3, 1, 5]
    assert spec.tokenizer(4).original(made).tolist() == [
        [4, 5, 6, 0, 0],
        [5, 0, 0, 0, 0],
        [4, 4, 6, 6, 5],
    ]


def test_padding_does_not_count_for_the_greatest_length():
    rows = np.zeros((3, 50), dtype=np.int64)
    rows[:, :4] = [[1, 2, 3, 4]] * 3
    spec, _ = infer(rows, padding_code=0, max_length=8)
    assert spec.length == 4
    assert batch(spec, rows)["codes"].shape == (3, 4)


def test_neighbours_stand_left_and_right():
    spec, _ = infer(TEXTS)
    tokens = spec.tokenizer(4).embed(batch(spec, ["ACG", "ACG"]))
    assert tokens.neighbours.tolist() == [[-1, 1], [0, 2], [1, -1]]
    assert spec.tokenizer(4).embed(batch(spec, ["A"])).neighbours.tolist() == [[-1, -1]]


def test_errors_and_guesses_against_loops():
    spec, _ = infer(TEXTS)
    made = batch(spec, TEXTS)
    tokenizer = spec.tokenizer(4)
    predicted = torch.randn(4, 7, 4, generator=torch.Generator().manual_seed(0))
    errors, guesses = tokenizer.error(predicted, made), tokenizer.baseline(made)
    for b, row in enumerate(TEXTS):
        for n, symbol in enumerate(row):
            logits = (predicted[b, n] @ tokenizer.table.T).tolist()
            right = spec.alphabet.index(symbol)
            surprise = math.log(sum(map(math.exp, logits))) - logits[right]
            assert errors[b, n].item() == pytest.approx(surprise, rel=1e-4)
            assert guesses[b, n].item() == pytest.approx(-math.log(spec.frequencies[right]))


def test_the_frequencies_are_the_best_constant_guess():
    spec, _ = infer(["ABBB", "BABB", "CBAB"])
    made = batch(spec, ["ABBB", "BABB", "CBAB"])
    guess = spec.tokenizer(4).baseline(made).mean()
    shares = torch.tensor(spec.frequencies)
    for other in (shares + 0.01, shares * torch.tensor([1, 0.9, 1])):
        worse = -(other / other.sum()).log()[made["codes"]].mean()
        assert guess < worse


def test_predictions_are_the_likeliest_symbols():
    spec, _ = infer(TEXTS)
    made = batch(spec, ["ACGT", "CC"])
    tokenizer = spec.tokenizer(8)
    # States that lie along the rows of the table give back these rows' symbols.
    with torch.no_grad():
        tokenizer.table.copy_(F.normalize(torch.randn(4, 8, generator=torch.Generator())))
    assert list(tokenizer.decode(tokenizer.table[made["codes"]], made)) == ["ACGT", "CC"]
    assert (tokenizer.head(5).in_features, tokenizer.head(5).out_features) == (5, 8)


def test_raw_features_of_equal_lengths_are_one_hot_whatever_the_batch():
    spec, _ = infer(["ABC", "CBA"])
    records = Records({"X": objects(["ABC", "AB", "CBAA", "XBC"])}, "array")
    raw = spec.raw(records, np.arange(4)).reshape(4, 3, 3)
    a, b, c, none = np.eye(4, 3)
    expected = [[a, b, c], [a, b, none], [c, b, a], [none, b, c]]
    np.testing.assert_array_equal(raw, expected)
    for row in range(4):
        np.testing.assert_array_equal(spec.raw(records, np.array([row]))[0], raw[row].ravel())


def test_raw_features_of_unequal_lengths_count_short_runs():
    spec, _ = infer(["AB", "ABBA", "B"])
    raw = spec.raw(Records({"X": objects(["ABBA", "B", "ABAB", "BX"])}, "array"), np.arange(4))
    counts = np.expm1(raw).round().reshape(4, 3, -1)
    assert counts.sum(axis=2).tolist() == [[4, 3, 2], [1, 0, 0], [4, 3, 2], [1, 0, 0]]
    assert counts[0, 0].max() == 2
    assert sorted(counts[2, 1])[-2:] == [1, 2]  # AB twice, BA once


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (["ACGT", None, "AC"], r"array, sample 1: field 'X' must hold text; got a missing value"),
        (["ACGT", 5, "AC"], r"array, sample 1: field 'X' must hold text; got 5\. Leave this"),
        (["ACGT", np.array([1, 2])], r"array, sample 1: .* must hold text; got array\(\[1, 2\]\)"),
        ([np.array([1, 2]), "AC"], r"array, sample 1: .* must hold integer codes; got 'AC'"),
        ([None, "AC"], r"array, sample 0: .*must hold text or integer codes; got a missing value"),
        (["ACGT", "", "AC"], r"array, sample 1: .*between 1 and 4096 symbols; got 0\. Cut the"),
        (["ACGT", "A" * 4097], r"array, sample 1: .* 4096 symbols; got 4097\. .*raise max_length"),
        (["AAAA", "AAA"], r"at least 2 different symbols; got \['A'\]\. There is nothing to learn"),
        ([np.array([0.5, 1.0])], r"must hold text or integer codes; got array\(\[0\.5, 1"),
        ([np.array([[1, 2]])], r"must hold text or integer codes; got array\(\[\[1, 2\]\]\)"),
        ([b"ACGT", b"A"], r"must hold text or integer codes; got b'ACGT'"),
        (np.array([1, 2, 3]), r"must hold text or integer codes; got np\.int64\(1\)"),
    ],
)
def test_data_that_cannot_be_learnt_from_are_refused(rows, rule):
    with pytest.raises(DataError, match=rule):
        infer(rows)


def test_single_symbols_are_refused():
    with pytest.raises(ConfigError, match=r"'X' must hold samples of at least 2 symbols; got 1\."):
        infer(["A", "B", "C"])


def test_more_than_one_field_is_refused():
    records = Records({"a": objects(TEXTS), "b": objects(TEXTS)}, "array")
    with pytest.raises(DataError, match=r"symbols must come from one field; got 2: a, b\. Choose"):
        Symbols.infer(records, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"max_symbols": 1}, r"Symbols\.max_symbols must be a whole number of at least 2; got 1"),
        ({"max_length": "long"}, r"Symbols\.max_length must be a whole number .*; got 'long'"),
        ({"padding_code": "-"}, r"Symbols\.padding_code must be a whole number; got '-'\. 0 would"),
        ({"padding_code": 0.0}, r"Symbols\.padding_code must be a whole number; got 0\.0"),
        ({"padding_code": True}, r"Symbols\.padding_code must be a whole number; got True"),
    ],
)
def test_settings_are_checked(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        infer(TEXTS, **settings)


@pytest.mark.parametrize(
    ("rows", "rule"),
    [
        (["AC", "XYZ"], r"array, sample 1: .*one symbol that the training data held; got 'XYZ'"),
        (["AC", ""], r"array, sample 1: .*between 1 and 9 symbols; got 0"),
        (["AC", "A" * 10], r"array, sample 1: .*between 1 and 9 symbols; got 10"),
        (["AC", None], r"array, sample 1: field 'X' must hold text; got a missing value"),
        ([np.array([1])], r"array, sample 0: field 'X' must hold text; got array"),
    ],
)
def test_batches_that_do_not_fit_are_refused(rows, rule):
    spec, _ = infer(TEXTS, max_length=9)
    with pytest.raises(DataError, match=rule):
        batch(spec, rows)


def test_lengths_refuse_what_no_batch_could_hold():
    # Embedding sorts samples by length first; it must not stumble over an empty one.
    spec, _ = infer(TEXTS)
    with pytest.raises(DataError, match=r"array, sample 1: .*between 1 and 4096 symbols; got 0"):
        spec.lengths(Records({"X": objects(["AC", "", "A"])}, "array"))


def test_longer_samples_than_in_training_are_welcome():
    spec, _ = infer(TEXTS)
    made = batch(spec, ["ACGT" * 5])
    assert spec.tokenizer(4).embed(made).values.shape == (1, 20, 4)
