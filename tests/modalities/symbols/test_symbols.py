"""Sequences of symbols: the alphabet, lengths, what is missing and what is refused."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, models, pre_tokenizers

from cases import build, objects
from metamae.data.records import Records
from metamae.encoder.embedding import embed_samples, embed_tokens
from metamae.errors import ConfigError, DataError
from metamae.modalities.symbols import rows as rows_module
from metamae.modalities.symbols import spec as symbols
from metamae.modalities.symbols.grams import BUCKETS
from metamae.modalities.symbols.subwords import train_bpe
from metamae.modalities.symbols.symbols import Symbols

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
    assert spec.describe() == "sequences of up to 7 symbols (characters) from an alphabet of 4"
    assert notes == ["4 characters, lengths 2 to 7 (override: unit)"]


def test_codes_are_measured():
    spec, notes = infer(CODES)
    assert notes == ["4 codes, lengths 2 to 4"]
    assert spec.alphabet == (-1, 3, 5, 7)
    assert all(type(symbol) is int for symbol in spec.alphabet)
    equal, _ = infer(np.array([[1, 2, 3], [3, 2, 1]], dtype=np.uint8))
    assert equal.equal
    assert equal.describe() == "sequences of 3 symbols (codes) from an alphabet of 3"
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
    assert notes[1:] == [
        "1 rare characters, 8.33% of the data, are treated as missing (override: max_symbols)"
    ]
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


def test_ties_between_rare_symbols_are_broken_by_the_symbols():
    assert infer(["ABCD", "DCBA"], max_symbols=3)[0].alphabet == ("A", "B", "C")


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
        (["ACGT", "", "AC"], r"array, sample 1: .*between 1 and 1024 symbols; got 0\. Leave"),
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
        ({"window": 1}, r"Symbols\.window must be a whole number of at least 2; got 1"),
        ({"window": "wide"}, r"Symbols\.window must be a whole number .*; got 'wide'"),
        ({"stride": 0}, r"Symbols\.stride must be a whole number of at least 1; got 0"),
        ({"stride": 9, "window": 8}, r"Symbols\.stride must be at most the window of 8 .*; got 9"),
        ({"k": 0}, r"Symbols\.k must be a whole number of at least 1; got 0"),
        ({"kmer_stride": 1.5}, r"Symbols\.kmer_stride must be a whole number .*; got 1\.5"),
        ({"kmer_stride": 4}, r"Symbols\.kmer_stride must be at most k = 3, .*; got 4\. 3 would"),
        ({"unit": "bytes"}, r"unit must be a known unit or .*; got 'bytes'\. Did you mean 'byte'"),
        ({"unit": 3}, r"Symbols\.unit must be a known unit or the path of .*; got 3\. Known: bpe,"),
        ({"unit": "/dev/zero"}, r"Symbols\.unit must be a known unit or the path .*'/dev/zero'"),
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
        (["AC", "A" * 10], r"array, sample 1: .*9 symbols; got 10\. Cut .*raise max_length"),
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
    with pytest.raises(DataError, match=r"array, sample 1: .*between 1 and 1024 symbols; got 0"):
        spec.lengths(Records({"X": objects(["AC", "", "A"])}, "array"))


def test_longer_samples_than_in_training_are_welcome():
    spec, _ = infer(TEXTS)
    made = batch(spec, ["ACGT" * 5])
    assert spec.tokenizer(4).embed(made).values.shape == (1, 20, 4)


MANY = [f"{n % 7} naïve 漢 texts, of unequal length {'x' * (n % 5)}" for n in range(20)]
UNITS = {
    "character": {},
    "byte": {"unit": "byte"},
    "k-mers": {"unit": "kmer", "k": 3},
    "k-mers that overlap": {"unit": "kmer", "k": 3, "kmer_stride": 1},
    "subwords": {"unit": "bpe", "max_symbols": 40},
}
every_unit = pytest.mark.parametrize("settings", UNITS.values(), ids=UNITS)


@every_unit
def test_texts_of_every_unit_come_back(settings):
    spec, notes = infer(MANY, **settings)
    made = batch(spec, MANY)
    assert list(spec.tokenizer(4).original(made)) == MANY
    assert spec.num_tokens == made["codes"].shape[1] == max(spec.lengths(records(MANY)))
    again = Symbols.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    assert torch.equal(batch(again, MANY)["codes"], made["codes"])
    assert sum(spec.frequencies) == pytest.approx(1)
    assert spec.word in notes[0] and spec.word in spec.describe()


def records(rows):
    return Records({"X": objects(rows)}, "array")


def test_no_byte_is_unknown():
    spec, _ = infer(TEXTS, unit="byte")
    assert len(spec.alphabet) == 256
    made = batch(spec, ["\x00\U0010ffff"])
    assert "valid" not in made and made["codes"].shape == (1, 5)
    assert spec.tokenizer(4).baseline(made).isfinite().all()


def test_kmers_that_are_new_are_missing():
    spec, _ = infer(["ACGTAC", "ACGAAC"], unit="kmer")
    assert spec.alphabet == ("AAC", "ACG", "TAC")
    made = batch(spec, ["ACGAAAACGxAC", "TACA"])
    assert made["valid"].tolist() == [[True, False, True, False], [True, False, False, False]]
    assert list(spec.tokenizer(4).original(made)) == ["ACG\ufffd\ufffd\ufffdACG", "TAC"]


def test_at_most_so_many_subwords_are_learnt():
    spec, _ = infer(MANY, unit="bpe", max_symbols=30)
    assert len(set("".join(MANY).encode())) < len(spec.alphabet) <= 30
    assert spec.unit == "subword"


def test_a_tokenizer_of_the_users_is_kept_in_the_spec(tmp_path):
    path = tmp_path / "own.json"
    path.write_text(train_bpe([TEXTS * 3], 260, at_spaces=False))
    spec, _ = infer(TEXTS, unit=str(path))
    path.unlink()
    again = Symbols.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert list(again.tokenizer(4).original(batch(again, TEXTS))) == TEXTS


def test_words_that_the_tokenizer_does_not_know_are_missing(tmp_path):
    model = models.WordLevel({"<unk>": 0, "cat": 1, "dog": 2}, unk_token="<unk>")
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "own.json"))
    spec, _ = infer(["cat dog", "dog cow cat"], unit=str(tmp_path / "own.json"))
    assert spec.alphabet == (1, 2)
    made = batch(spec, ["dog cow cat"])
    assert made["valid"].tolist() == [[True, False, True]]
    assert list(spec.tokenizer(4).original(made)) == ["dog\ufffdcat"]


def test_codes_have_no_other_unit():
    with pytest.raises(ConfigError, match=r"unit must be 'character' for integer .*; got 'byte'"):
        infer(CODES, unit="byte")


def test_both_cases_of_nucleotides_are_noted():
    both = "'A' and 'a' are different symbols (override: write the sequences in one case)"
    assert infer(["ACGT", "acgtNN"])[1][1:] == [both]
    assert infer(["CCO", "c1ccccc1O"])[1][1:] == []  # aromatic atoms
    assert infer(["ACGT", "ACCA"])[1][1:] == []


LONG = ["ACGTTGCA" * 4, "GATTACA", "CATGA" * 5 + "漢"]


def joined_pieces(spec, rows):
    """Ids of each sample, put together from pieces that do not overlap but at the end."""
    pieces, owner = spec.unfold(records(rows))
    assert spec.lengths(pieces).max() <= spec.max_length
    assert pieces.index.tolist() == owner.tolist()
    made = spec.batch(pieces, np.arange(len(pieces)))
    valid = made.get("valid", torch.ones_like(made["codes"], dtype=torch.bool))
    found = [[] for _ in rows]
    for codes, there, row in zip(made["codes"], valid, owner, strict=True):
        found[row].append(codes[there].tolist())
    return found


@every_unit
def test_pieces_are_those_of_the_whole(settings):
    whole, _ = infer(LONG, max_length=100, **settings)
    spec, notes = infer(LONG, window=5, **settings)
    assert spec.length == spec.max_length == 5 and not spec.equal
    assert any("longer than 5 symbols and are cut into windows" in note for note in notes)
    made = batch(whole, LONG)
    for row, pieces in enumerate(joined_pieces(spec, LONG)):
        ids = made["codes"][row].tolist()
        if "valid" in made:
            ids = made["codes"][row][made["valid"][row]].tolist()
        starts = [min(5 * n, max(0, len(ids) - 5)) for n in range(max(1, -(-len(ids) // 5)))]
        assert pieces == [ids[start : start + 5] for start in starts]


def test_samples_of_equal_length_are_not_equal_in_pieces():
    spec, _ = infer(["ABCDEFGH", "HGFEDCBA"], window=4)
    assert not spec.equal
    assert spec.raw(records(["ABCD"]), np.arange(1)).shape == (1, 3 * BUCKETS)


def test_few_characters_may_be_many_bytes():
    spec, _ = infer(["漢字", "漢"], unit="byte", window=5)
    assert spec.unfold(records(["漢字", "ab"]))[1].tolist() == [0, 0, 1]


def test_lengths_of_encoded_pieces_need_no_second_encoding():
    spec, _ = infer(LONG, unit="byte", window=5)
    pieces, _ = spec.unfold(records(LONG))
    encode, calls = pieces["X"].encode, []
    pieces["X"].encode = lambda position: (calls.append(position), encode(position))[1]
    assert spec.lengths(pieces).tolist() == [5] * 15
    assert calls in ([], [0])


def test_pieces_may_overlap():
    spec, _ = infer(["ABCDEFG", "AB"], window=4, stride=2)
    pieces, owner = spec.unfold(records(["ABCDEFG", "AB"]))
    assert list(pieces["X"][np.arange(4)]) == ["ABCD", "CDEF", "DEFG", "AB"]
    assert owner.tolist() == [0, 0, 0, 1]


def test_padding_codes_do_not_count_for_windows():
    rows = [np.array([1, 0, 2, 0, 3, 4, 0, 0]), np.array([0, 0, 0, 4, 4, 0])]
    spec, _ = infer(rows, padding_code=0, window=3)
    assert joined_pieces(spec, rows) == [[[0, 1, 2], [1, 2, 3]], [[3, 3]]]
    whole, _ = infer(rows, padding_code=0, window=4)
    assert whole.unfold(records(rows))[1] is None


def test_short_samples_are_their_own_pieces():
    for settings in UNITS.values():
        spec, _ = infer(TEXTS, **settings)
        given = records(TEXTS)
        assert spec.unfold(given) == (given, None)


class Chromosomes:
    """Long texts of which only parts are ever read."""

    dtype = np.dtype(object)
    shape = (2,)
    sizes = np.array([[10_000_000], [9_000_000]])

    def __init__(self):
        self.longest = 0

    def __len__(self):
        return 2

    def __getitem__(self, index):
        assert len(index) <= 1
        return objects(["ACGT"])[index * 0]

    def stretch(self, position, start, stop):
        assert 0 <= start < stop <= self.sizes[position, 0]
        self.longest = max(self.longest, stop - start)
        return "".join("ACGT"[n % 4] for n in range(start, stop))


@pytest.mark.parametrize(
    "settings",
    [{}, {"unit": "kmer", "k": 4, "kmer_stride": 1}, {"unit": "kmer", "k": 4, "kmer_stride": 3}],
)
def test_windows_of_a_chromosome_are_read_alone(settings, monkeypatch):
    monkeypatch.setattr(rows_module, "MOST_OF_ONE", 5000)
    column = Chromosomes()
    given = Records({"X": column}, "genome")
    spec, _ = Symbols.infer(given, np.random.default_rng(0), **settings)
    assert spec.num_tokens == 1024 and column.longest == 5000
    pieces, owner = spec.unfold(given)
    assert len(pieces) == np.sum(-(-spec._lengths(given) // 1024))
    column.longest = 0
    made = spec.batch(pieces, np.array([0, 5000, len(pieces) - 1]))
    assert made["codes"].shape == (3, 1024)
    assert column.longest <= 1024 * spec.kmer_stride + 3
    assert owner[[0, -1]].tolist() == [0, 1]


def test_lengths_are_not_found_by_reading_where_the_column_knows():
    spec, _ = infer(["ACGT", "AC"])

    class Sized(Chromosomes):
        sizes = np.array([[7], [9]])

    assert spec.lengths(Records({"X": Sized()}, "genome")).tolist() == [7, 9]


@every_unit
def test_a_long_samples_vector_is_the_mean_over_its_tokens(settings):
    spec, _ = infer(LONG, window=5, **settings)
    backbone = build(spec).eval().backbone
    vectors = embed_samples(backbone, spec, records(LONG))
    for vector, tokens in zip(vectors, embed_tokens(backbone, spec, records(LONG)), strict=True):
        np.testing.assert_allclose(tokens.mean(axis=0), vector, atol=1e-5)
    for row, text in enumerate(LONG):
        alone = embed_samples(backbone, spec, records([text]))
        assert np.array_equal(alone[0], vectors[row])


def test_bad_pieces_are_named_by_their_samples():
    spec, _ = infer(LONG, window=5)
    given = records(["ACGT", "ACGTA" * 3 + "#####"]).subset(np.array([1, 0, 1]))
    pieces, _ = spec.unfold(given)
    with pytest.raises(DataError, match=r"array, sample 1: .*at least one symbol") as caught:
        spec.batch(pieces, np.arange(len(pieces)))
    assert caught.value.sample == 1


@every_unit
def test_what_is_missing_is_told(settings):
    spec, _ = infer(LONG, window=5, **settings)
    gappy = records([None, "ACGT", "", LONG[2]])
    assert spec.present(gappy, np.array([3, 2, 1, 0])).tolist() == [True, False, True, False]
    pieces, owner = spec.unfold(gappy)
    there = spec.present(pieces, np.arange(len(pieces)))
    assert [row in owner[there] for row in range(4)] == [False, True, False, True]
    with pytest.raises(DataError, match=r"array, sample 0: .*must hold text; got a missing value"):
        spec.lengths(gappy)
    with pytest.raises(DataError, match=r"array, sample 2: .*symbols; got 0\. Leave this sample"):
        spec.batch(pieces, np.flatnonzero(owner >= 1))


def test_padding_alone_is_missing():
    spec, _ = infer(CODES, padding_code=0)
    gappy = records([np.array([0, 0]), np.array([3, 0]), None])
    assert spec.present(gappy, np.arange(3)).tolist() == [False, True, False]


def test_raw_features_of_large_alphabets_are_counted(monkeypatch):
    spec, _ = infer(["ABC", "CBA"])
    monkeypatch.setattr(symbols, "MOST_ONE_HOT", 8)
    assert spec.raw(records(["ABC"]), np.arange(1)).shape == (1, 3 * BUCKETS)
    pairs, _ = infer(["ABC", "CB"], unit="kmer", k=2)
    assert pairs.raw(records(["ABC"]), np.arange(1)).shape == (1, 2 * BUCKETS)
