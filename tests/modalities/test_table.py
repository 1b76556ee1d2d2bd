"""Rows of a table: what becomes of each column, what is missing and what is refused."""

import math
import re

import numpy as np
import pytest
import torch

from cases import objects
from metamae.errors import ConfigError, DataError
from metamae.modalities.table import Table
from metamae.records import Records

COLOURS = objects(["red", "blue", None, "red", "", "red"])
SIZES = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 9.0])
FLAGS = np.array([True, False, True, True, False, True])


def infer(columns, **settings):
    return Table.infer(Records(columns, "file"), np.random.default_rng(0), **settings)


def batch(spec, columns, index=None):
    records = Records(columns, "file")
    return spec.batch(records, np.arange(len(records)) if index is None else index)


def example():
    return {"colour": COLOURS, "size": SIZES, "flag": FLAGS, "count": np.arange(6)}


def test_columns_are_measured():
    spec, notes = infer(example())
    colour, size, flag, count = spec.measured
    assert colour.categories == ("", "blue", "red")
    assert colour.frequencies == (1 / 5, 1 / 5, 3 / 5)
    assert size.categories == ()
    assert size.mean == pytest.approx(np.nanmean(SIZES))
    assert size.std == pytest.approx(np.nanstd(SIZES))
    assert flag.categories == ("False", "True")
    assert count.mean == 2.5
    assert notes == ["2 numeric, 2 categorical columns"]
    assert spec.columns == ("colour", "size", "flag", "count")
    assert spec.num_tokens == 4
    assert spec.describe() == "rows of 4 columns, 2 of them categorical"


def test_cells_are_deviations_or_categories():
    spec, _ = infer(example())
    made = batch(spec, example())
    assert made["cells"].dtype == torch.float32
    assert made["valid"].tolist()[2] == [False, False, True, True]
    assert made["valid"].sum() == 22
    assert made["cells"][:, 0].tolist() == [2, 1, 0, 2, 0, 2]
    size = spec.measured[1]
    expected = np.nan_to_num((SIZES - size.mean) / size.std)
    np.testing.assert_allclose(made["cells"][:, 1], expected, rtol=1e-5, atol=1e-6)
    assert made["cells"][:, 2].tolist() == [1, 0, 1, 1, 0, 1]


def test_missing_is_not_the_empty_text():
    spec, _ = infer(example())
    valid = batch(spec, example())["valid"]
    assert valid[:, 0].tolist() == [True, True, False, True, True, True]


def test_unknown_categories_are_missing():
    spec, _ = infer(example())
    other = {**example(), "colour": objects(["red", "pink", "RED", None, math.nan, "blue"])}
    assert batch(spec, other)["valid"][:, 0].tolist() == [True, False, False, False, False, True]


def test_an_array_is_a_table_of_its_columns():
    x = np.random.default_rng(0).normal(size=(6, 4))
    x[:, 2] = 1.5
    spec, notes = infer({"X": x})
    assert [column.name for column in spec.measured] == ["0", "1", "3"]
    assert (spec.array, spec.width, spec.columns) == ("X", 4, ("X",))
    assert "column '2' is left out: it is constant (1.5)" in notes
    made = batch(spec, {"X": x})
    assert made["cells"].shape == (6, 3)
    np.testing.assert_allclose(made["cells"].mean(dim=0), 0, atol=1e-6)


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (np.full(6, 0.1), r"is left out: it is constant \(0\.1\)"),
        (np.zeros(6), r"is left out: it is constant \(0\)"),
        (np.full(6, 1e300), r"is left out: it is constant \(1e\+300\)"),
        (np.full(6, np.nan), r"is left out: all its values are missing"),
        (objects(["a"] * 6), r"is left out: it is constant or missing"),
        (objects([None] * 6), r"is left out: it is constant or missing"),
        (objects(["a", None] * 3), r"is left out: it is constant or missing"),
        (np.ones((6, 2, 2)), r"is left out: each cell holds an array of shape \(2, 2\)"),
        (objects([np.ones(2)] * 6), r"is left out: its cells hold arrays"),
        (np.arange(6).astype("M8[s]"), r"is left out: datetime64\[s\] is neither number nor cat"),
        (np.arange(6) * 1j, r"is left out: complex128 is neither"),
    ],
)
def test_columns_that_carry_nothing_are_left_out_with_a_note(column, reason):
    spec, notes = infer({**example(), "odd": column})
    assert "odd" not in spec.columns
    (note,) = [note for note in notes if "odd" in note]
    assert re.fullmatch(rf"column 'odd' {reason}.*", note), note


def test_names_and_texts_are_left_out():
    words = objects([f"name {n}" for n in range(40)])
    columns = {"a": np.arange(40), "b": np.arange(40) % 7, "name": words}
    spec, notes = infer(columns)
    assert spec.columns == ("a", "b")
    assert any("'name' is left out: 40 different values look like a name" in n for n in notes)
    spec, notes = infer({**columns, "name": words[np.arange(40) % 5]}, max_categories=4)
    assert any("'name' is left out: 5 different values" in n for n in notes)
    assert infer({**columns, "name": words[np.arange(40) % 5]})[0].num_tokens == 3


def test_gaps_are_noted():
    _, notes = infer({**example(), "gaps": np.array([1, 2, np.nan, np.nan, 5, 6])})
    assert "column 'gaps' misses 33% of its values" in notes


@pytest.mark.parametrize(("offset", "scale"), [(1.7e9, 1.0), (0.0, 1e-17), (0.0, 1e30)])
def test_values_of_any_size_keep_their_digits(offset, scale):
    z = np.random.default_rng(0).normal(size=50)
    columns = {"a": offset + scale * z, "b": np.arange(50)}
    spec, _ = infer(columns)
    made = batch(spec, columns)
    np.testing.assert_allclose(made["cells"][:, 0], (z - z.mean()) / z.std(), atol=1e-5)
    original = spec.tokenizer(4).original(made)[:, 0].astype(float)
    np.testing.assert_allclose((original - offset) / scale, z, atol=1e-5)


def test_errors_and_guesses_against_loops():
    spec, _ = infer(example())
    made = batch(spec, example())
    tokenizer = spec.tokenizer(4)
    predicted = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    errors, guesses = tokenizer.error(predicted, made), tokenizer.baseline(made)
    assert errors.isfinite().all()
    for b in range(6):
        for n, column in enumerate(spec.measured):
            if not made["valid"][b, n]:
                continue
            value = made["cells"][b, n].item()
            if column.categories:
                logits = predicted[b, n, : len(column.categories)].tolist()
                surprise = math.log(sum(map(math.exp, logits))) - logits[int(value)]
                guess = -math.log(column.frequencies[int(value)])
            else:
                surprise, guess = (predicted[b, n, 0].item() - value) ** 2, value**2
            assert errors[b, n].item() == pytest.approx(surprise, rel=1e-4, abs=1e-6)
            assert guesses[b, n].item() == pytest.approx(guess, rel=1e-4, abs=1e-6)


def test_tables_of_numbers_only():
    x = np.random.default_rng(0).normal(size=(6, 3))
    spec, _ = infer({"X": x})
    made = batch(spec, {"X": x})
    tokenizer = spec.tokenizer(4)
    predicted = torch.randn(6, 3, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        tokenizer.error(predicted, made), (predicted[..., 0] - made["cells"]).square()
    )
    torch.testing.assert_close(tokenizer.baseline(made), made["cells"].square())


def test_a_number_moves_along_its_columns_line_and_a_category_has_its_row():
    spec, _ = infer(example())
    made = batch(spec, example())
    tokenizer = spec.tokenizer(5)
    tokens = tokenizer.embed(made)
    assert tokens.neighbours is None
    assert torch.equal(tokens.padding, ~made["valid"])
    place, table = tokenizer.column.table, tokenizer.table
    assert len(table) == 3 + 1 + 2 + 1
    torch.testing.assert_close(tokens.values[0, 0], table[2] + place[0])  # red
    torch.testing.assert_close(tokens.values[1, 1], table[3] * made["cells"][1, 1] + place[1])
    torch.testing.assert_close(tokens.values[1, 2], table[4] + place[2])  # False
    torch.testing.assert_close(tokens.values[1, 3], table[6] * made["cells"][1, 3] + place[3])


def test_predictions_are_named_in_the_users_units():
    spec, _ = infer(example())
    made = batch(spec, example())
    predicted = torch.zeros(6, 4, 3)
    predicted[:, 0, 2] = 1
    predicted[:, 1, 0] = 2
    predicted[:, 2, 2] = 99  # no such flag
    predicted[:, 2, 0] = 1
    row = spec.tokenizer(4).decode(predicted, made)[0]
    size = spec.measured[1]
    assert list(row) == ["red", pytest.approx(size.mean + 2 * size.std), "False", 2.5]


def test_raw_features():
    spec, _ = infer(example())
    raw = spec.raw(Records(example(), "file"), np.arange(6))
    assert raw.shape == (6, 3 + 1 + 2 + 1 + 4)
    assert raw[:, :3].sum(axis=1).tolist() == [1, 1, 0, 1, 1, 1]
    assert raw[2, 7:].tolist() == [1, 1, 0, 0]
    assert raw[2, 3] == 0


def edited(row, **cells):
    columns = {name: values.copy() for name, values in example().items()}
    for name, value in cells.items():
        columns[name] = columns[name].astype(float) if name != "colour" else columns[name]
        columns[name][row] = value
    return columns


NOTHING = {"colour": None, "size": np.nan, "count": np.nan}


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        (
            edited(3, size=np.inf),
            r"file, sample 3: column 'size' must hold finite numbers; got inf",
        ),
        (edited(3, size=-np.inf), r"Leave the cell empty \(NaN\) to mark it as missing"),
        ({"a": SIZES}, r"file: a table must have at least 2 columns that vary; got 1 of 1 feature"),
        ({"a": SIZES, "b": np.ones(6)}, r"got 1 of 2 feature.*column 'b' is left out: it is const"),
        ({"a": np.ones(6), "b": np.zeros(6)}, r"at least 2 columns that vary; got 0 of 2"),
        ({"X": np.ones((6, 2)), "b": SIZES}, r"one array or several columns; got the array 'X' am"),
        (
            {k: v for k, v in edited(4, **NOTHING).items() if k != "flag"},
            r"file, sample 4: a row must hold at least one known value; all 3 are missing",
        ),
    ],
)
def test_data_that_cannot_be_learnt_from_are_refused(columns, rule):
    with pytest.raises(DataError, match=rule):
        infer(columns)


def test_too_many_columns_are_refused():
    x = np.random.default_rng(0).normal(size=(6, 9))
    assert infer({"X": x}, max_columns=9)[0].num_tokens == 9
    rule = r"file: a table must have at most max_columns = 8 columns; got 9\. .*raise max_columns"
    with pytest.raises(DataError, match=rule):
        infer({"X": x}, max_columns=8)
    with pytest.raises(DataError, match=rule):
        infer({str(n): x[:, n] for n in range(9)}, max_columns=8)


@pytest.mark.parametrize("setting", ["max_categories", "max_columns"])
@pytest.mark.parametrize("value", [1, 0, 2.5, "many"])
def test_counts_are_checked(setting, value):
    rule = rf"Table\.{setting} must be a whole number of at least 2; got {value!r}\. 2 would"
    with pytest.raises(ConfigError, match=rule):
        infer(example(), **{setting: value})


@pytest.mark.parametrize(
    ("columns", "rule"),
    [
        (edited(3, size=np.inf), r"file, sample 3: column 'size' must hold finite numbers"),
        (edited(3, size=1e300), r"file, sample 3: .*or one too far from the training data for flo"),
        (
            {**example(), "size": COLOURS},
            r"column 'size' must hold numbers, as in training; got obj",
        ),
        ({k: v for k, v in example().items() if k != "size"}, r"file has no field 'size'\."),
        (
            {**edited(4, **NOTHING), "flag": objects([None] * 6)},
            r"file, sample 4: a row must hold at least one known value; all 4 are missing\. Leave",
        ),
    ],
)
def test_batches_that_do_not_fit_are_refused(columns, rule):
    spec, _ = infer(example())
    with pytest.raises(DataError, match=rule):
        batch(spec, columns)


def test_arrays_of_another_width_are_refused():
    spec, _ = infer({"X": np.random.default_rng(0).normal(size=(6, 3))})
    rule = r"field 'X' must hold rows of 3 columns, as in training; got shape \(4,\)"
    with pytest.raises(DataError, match=rule):
        batch(spec, {"X": np.ones((6, 4))})


def test_a_broken_row_is_named_in_any_order():
    spec, _ = infer(example())
    with pytest.raises(DataError, match=r"file, sample 3: column 'size'"):
        batch(spec, edited(3, size=np.inf), np.array([5, 3, 0]))
