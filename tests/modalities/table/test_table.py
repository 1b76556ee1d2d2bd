"""Rows of a table: what becomes of each column, what is missing and what is refused."""

import math
import re

import numpy as np
import pytest
import torch

from cases import objects
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.table.table import Table

COLOURS = objects(["red", "blue", None, "red", "", "red"])
SIZES = np.array([1.0, 2.0, np.nan, 4.0, 5.0, 9.0])
FLAGS = np.array([True, False, True, True, False, True])


def infer(columns, **settings):
    # In so few rows every value is rare.
    settings = {"min_count": 1, **settings}
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
    assert size.scaling.mean == pytest.approx(np.nanmean(SIZES))
    assert size.scaling.std == pytest.approx(np.nanstd(SIZES))
    assert flag.categories == ("False", "True")
    assert count.scaling.mean == 2.5
    assert [column.gaps for column in spec.measured] == [True, True, False, False]
    assert notes == ["2 numeric, 2 categorical columns"]
    assert spec.columns == ("colour", "size", "flag", "count")
    assert spec.num_tokens == 4
    assert spec.describe() == "rows of 4 columns, 2 of them categorical"


def test_cells_are_deviations_or_categories():
    spec, _ = infer(example())
    made = batch(spec, example())
    cells, valid = made["cells"], made["valid"]
    assert cells.dtype == torch.float32
    assert cells.shape == valid.shape == (6, 4, 1)
    assert valid.flatten(1).tolist()[2] == [False, False, True, True]
    assert valid.sum() == 22
    assert cells[:, 0, 0].tolist() == [2, 1, 0, 2, 0, 2]
    size = spec.measured[1]
    expected = np.nan_to_num((SIZES - size.scaling.mean) / size.scaling.std)
    np.testing.assert_allclose(cells[:, 1, 0], expected, rtol=1e-5, atol=1e-6)
    assert cells[:, 2, 0].tolist() == [1, 0, 1, 1, 0, 1]


def test_missing_is_not_the_empty_text():
    spec, _ = infer(example())
    valid = batch(spec, example())["valid"]
    assert valid[:, 0, 0].tolist() == [True, True, False, True, True, True]


def test_unknown_categories_are_missing():
    spec, _ = infer(example())
    other = {**example(), "colour": objects(["red", "pink", "RED", None, math.nan, "blue"])}
    known = batch(spec, other)["valid"][:, 0, 0]
    assert known.tolist() == [True, False, False, False, False, True]


def test_an_array_is_a_table_of_its_columns():
    x = np.random.default_rng(0).normal(size=(6, 4))
    x[:, 2] = 1.5
    spec, notes = infer({"X": x})
    assert [column.name for column in spec.measured] == ["0", "1", "3"]
    assert (spec.array, spec.width, spec.columns) == ("X", 4, ("X",))
    assert "column '2' is left out: it is constant (1.5)" in notes
    made = batch(spec, {"X": x})
    assert made["cells"].shape == (6, 3, 1)
    assert "valid" not in made
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
        (np.full(6, "NaT", dtype="M8[s]"), r"is left out: it is constant or missing"),
        (np.full(6, "2024", dtype="M8[s]"), r"is left out: it is constant or missing"),
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
    spec, _ = infer(columns, categorical=["name"], max_categories=50)
    assert spec.measured[2].num_outputs == 40


def test_rare_and_surplus_values_share_a_category():
    words = objects([*"zzzzbbbccd", None])
    columns = {"x": np.arange(11), "word": words}
    spec, notes = infer(columns, min_count=2)
    word = spec.measured[1]
    assert word.categories == ("b", "c", "z", "other")
    assert word.frequencies == (0.3, 0.2, 0.4, 0.1)
    assert word.other
    assert notes[-1] == (
        "column 'word' keeps 3 of 4 values, the rest is 'other' "
        "(override: min_count, max_categories)"
    )
    codes = batch(spec, {"x": np.arange(3), "word": objects(["d", "never seen", None])})
    assert codes["cells"][:, 1, 0].tolist() == [3, 3, 0]
    assert codes["valid"][:, 1, 0].tolist() == [True, True, False]
    assert infer(columns, max_categories=3)[0].measured[1].categories == ("b", "z", "other")
    spec, notes = infer(
        {**columns, "y": np.arange(11), "word": words[[0, 4, 7, 9]].repeat([8, 1, 1, 1])},
        min_count=9,
    )
    assert notes[-1] == (
        "column 'word' is left out: none of its values occurs 9 times (override: min_count)"
    )


def test_a_rare_truth_value_stays():
    spec, _ = infer({"x": np.arange(9), "flag": np.arange(9) == 3}, min_count=5)
    assert spec.measured[1].categories == ("False", "True")
    assert not spec.measured[1].other


def test_numbers_are_categories_where_the_user_says_so():
    columns = {"x": np.arange(6), "code": np.array([1, 2, 1, 2, 3, 3])}
    spec, _ = infer(columns, categorical=["code"])
    assert spec.measured[1].categories == ("1", "2", "3")
    gappy = {**columns, "code": np.array([1.0, np.nan, 1, 2, 3, 4])}
    made = batch(spec, gappy)
    assert made["cells"][:, 1, 0].tolist() == [0, 0, 0, 1, 2, 0]
    assert made["valid"][:, 1, 0].tolist() == [True, False, True, True, True, False]
    block = np.stack(list(columns.values()), axis=1)
    spec, _ = infer({"X": block}, categorical=[1])
    assert spec.measured[1].categories == ("1", "2", "3")
    assert batch(spec, {"X": block})["cells"][:, 1, 0].tolist() == [0, 1, 0, 1, 2, 2]


def test_gaps_are_noted():
    _, notes = infer({**example(), "gaps": np.array([1, 2, np.nan, np.nan, 5, 6])})
    assert "column 'gaps' misses 33% of its values" in notes


@pytest.mark.parametrize(("offset", "scale"), [(1.7e9, 1.0), (0.0, 1e-17), (0.0, 1e30)])
def test_values_of_any_size_keep_their_digits(offset, scale):
    z = np.random.default_rng(0).normal(size=50)
    columns = {"a": offset + scale * z, "b": np.arange(50)}
    spec, _ = infer(columns)
    made = batch(spec, columns)
    np.testing.assert_allclose(made["cells"][:, 0, 0], (z - z.mean()) / z.std(), atol=1e-5)
    original = spec.tokenizer(4).original(made)[:, 0].astype(float)
    np.testing.assert_allclose((original - offset) / scale, z, atol=1e-5)


def test_errors_and_guesses_against_loops():
    spec, _ = infer(example())
    made = batch(spec, example())
    predicted = torch.randn(6, 4, 3, generator=torch.Generator().manual_seed(0))
    check_errors(spec, made, predicted)


def test_errors_and_guesses_of_groups_against_loops():
    columns = wide(8)
    spec, _ = infer(columns, group=3)
    made = batch(spec, columns)
    tokenizer = spec.tokenizer(4)
    assert tokenizer.outputs == 4
    predicted = torch.randn(8, 6, 4, generator=torch.Generator().manual_seed(0))
    check_errors(spec, made, predicted)


def check_errors(spec, made, predicted):
    tokenizer = spec.tokenizer(4)
    errors, guesses = tokenizer.error(predicted, made), tokenizer.baseline(made)
    assert errors.isfinite().all()
    for b in range(len(predicted)):
        found, expected = {}, {}
        for column, (token, place) in zip(spec.measured, spec.slots.tolist(), strict=True):
            if not made["valid"][b, token, place]:
                continue
            value = made["cells"][b, token, place].item()
            if column.categories:
                logits = predicted[b, token, : len(column.categories)].tolist()
                surprise = math.log(sum(map(math.exp, logits))) - logits[int(value)]
                guess = -math.log(column.frequencies[int(value)])
            else:
                surprise, guess = (predicted[b, token, place].item() - value) ** 2, value**2
            found.setdefault(token, []).append(surprise)
            expected.setdefault(token, []).append(guess)
        for token in found:
            approx = {"rel": 1e-4, "abs": 1e-6}
            assert errors[b, token].item() == pytest.approx(np.mean(found[token]), **approx)
            assert guesses[b, token].item() == pytest.approx(np.mean(expected[token]), **approx)


def test_tables_of_numbers_only():
    x = np.random.default_rng(0).normal(size=(6, 3))
    spec, _ = infer({"X": x})
    made = batch(spec, {"X": x})
    tokenizer = spec.tokenizer(4)
    predicted = torch.randn(6, 3, 1, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        tokenizer.error(predicted, made), (predicted - made["cells"]).square()[..., 0]
    )
    torch.testing.assert_close(tokenizer.baseline(made), made["cells"].square()[..., 0])


def test_a_number_moves_along_its_columns_line_and_a_category_has_its_row():
    spec, _ = infer(example())
    made = batch(spec, example())
    tokenizer = spec.tokenizer(5)
    tokens = tokenizer.embed(made)
    assert tokens.neighbours is None
    assert torch.equal(tokens.padding, ~made["valid"][..., 0])
    place, table, slopes = tokenizer.column(made), tokenizer.table, tokenizer.slopes
    cells = made["cells"][..., 0]
    assert table.shape == (3 + 2, 5)
    assert slopes.shape == (2, 1, 5)
    torch.testing.assert_close(tokens.placed[0, 0], table[2] + place[0])  # red
    torch.testing.assert_close(tokens.placed[1, 1], slopes[0, 0] * cells[1, 1] + place[1])
    torch.testing.assert_close(tokens.placed[1, 2], table[3] + place[2])  # False
    torch.testing.assert_close(tokens.placed[1, 3], slopes[1, 0] * cells[1, 3] + place[3])


def wide(num):
    """Ten numeric columns, some with gaps, between two of categories."""
    rng = np.random.default_rng(0)
    columns = {"kind": objects(list("wxyzwxyz" * num)[:num])}
    columns |= {f"x{n}": rng.normal(n, 2.0, num) for n in range(10)}
    columns["x1"][1] = columns["x5"][1] = np.nan
    columns["x0"][2] = columns["x4"][2] = columns["x8"][2] = np.nan  # all of the first token
    return {**columns, "flag": np.arange(num) % 3 == 0}


def test_columns_of_a_group_are_summed_and_missing_ones_have_a_vector_of_their_own():
    columns = wide(8)
    spec, notes = infer(columns, group=3)
    assert notes[:2] == [
        "10 numeric, 2 categorical columns",
        "up to 3 numeric columns share a token (override: group)",
    ]
    assert spec.num_tokens == 4 + 2
    assert spec.describe() == "rows of 12 columns in 6 tokens, 2 of them categorical"
    members = [["x0", "x4", "x8"], ["x1", "x5", "x9"], ["x2", "x6"], ["x3", "x7"]]
    made = batch(spec, columns)
    tokenizer = spec.tokenizer(5)
    tokens, place = tokenizer.embed(made), tokenizer.column(made)
    assert tokens.padding.nonzero().tolist() == [[2, 0]]
    by_name = {column.name: column.scaling for column in spec.measured}
    for row in range(8):
        for token, names in enumerate(members):
            total = place[token].clone()
            for at, name in enumerate(names):
                scale, value = by_name[name], columns[name][row]
                if np.isnan(value):
                    total += tokenizer.missing[token, at]
                else:
                    total += tokenizer.slopes[token, at] * (value - scale.mean) / scale.std
            torch.testing.assert_close(tokens.placed[row, token], total)
        kind = tokenizer.table["wxyz".index(columns["kind"][row])]
        torch.testing.assert_close(tokens.placed[row, 4], kind + place[4])
        flag = tokenizer.table[4 + int(columns["flag"][row])]
        torch.testing.assert_close(tokens.placed[row, 5], flag + place[5])


def test_what_stands_in_a_gap_of_a_group_changes_nothing():
    columns = wide(8)
    spec, _ = infer(columns, group=3)
    made = batch(spec, columns)
    changed = {**made, "cells": torch.where(made["valid"], made["cells"], 9.0)}
    changed["cells"][:, 4:, 1:] = 0
    changed["cells"][:, 4:, 0] = made["cells"][:, 4:, 0]
    assert not torch.equal(made["cells"], changed["cells"])
    tokenizer = spec.tokenizer(5)
    assert torch.equal(tokenizer.embed(made).values, tokenizer.embed(changed).values)


def test_rows_are_computed_alike_whatever_their_companions_miss():
    # With a mask and without one, attention may round in different ways.
    spec, _ = infer(example())
    assert batch(spec, example(), np.array([0, 1]))["valid"].all()


def test_groups_are_read_back_column_by_column():
    columns = wide(8)
    spec, _ = infer(columns, group=3)
    made = batch(spec, columns)
    tokenizer = spec.tokenizer(5)
    original = tokenizer.original(made)
    assert original.shape == (8, 12)
    for n, (name, values) in enumerate(columns.items()):
        for shown, value in zip(original[:, n], values.tolist(), strict=True):
            if value != value:
                assert shown is None
            elif isinstance(value, float):
                assert shown == pytest.approx(value, rel=1e-5, abs=1e-5), name
            else:
                assert shown == str(value)
    hidden = torch.zeros(8, 6, dtype=torch.bool)
    hidden[0, 1] = hidden[3, 4] = True
    marks = tokenizer.spread(hidden, made)
    names = np.array(list(columns))
    assert names[marks[0]].tolist() == ["x1", "x5", "x9"]
    assert names[marks[3]].tolist() == ["kind"]
    assert marks.sum() == 4
    perfect = torch.zeros(8, 6, 4)
    perfect[..., :3] = made["cells"]
    perfect[:, 4:] = torch.nn.functional.one_hot(made["cells"][:, 4:, 0].long(), 4).float()
    decoded = tokenizer.decode(perfect, made)
    there = original != None  # noqa: E711
    assert (decoded[there] == original[there]).all()


def test_complete_groups_need_neither_marks_nor_vectors_for_gaps():
    x = np.random.default_rng(0).normal(size=(6, 7))
    spec, _ = infer({"X": x}, group=3)
    made = batch(spec, {"X": x})
    assert list(made) == ["cells"]
    assert made["cells"].shape == (6, 3, 3)
    assert (made["cells"][:, 1:, 2] == 0).all()  # 7 columns leave two places empty
    assert spec.tokenizer(4).missing is None
    assert spec.tokenizer(4).embed(made).padding is None


def test_gaps_that_training_did_not_have_are_left_out_all_the_same():
    x = np.random.default_rng(0).normal(size=(6, 4))
    spec, _ = infer({"X": x}, group=2)
    tokenizer = spec.tokenizer(4)
    gappy = x.copy()
    gappy[0, 0] = np.nan
    made = batch(spec, {"X": gappy})
    assert not made["valid"][0, 0, 0]
    mean = x.copy()
    mean[0, 0] = spec.measured[0].scaling.mean
    torch.testing.assert_close(
        tokenizer.embed(made).values, tokenizer.embed(batch(spec, {"X": mean})).values
    )


def test_wide_tables_are_grouped_by_themselves():
    x = np.random.default_rng(0).normal(size=(4, 600))
    spec, notes = infer({"X": x})
    assert (spec.group, spec.num_tokens) == (10, 60)
    assert "up to 10 numeric columns share a token (override: group)" in notes
    assert infer({"X": x}, group=1)[0].num_tokens == 600
    assert infer({"X": x[:, :256]})[0].num_tokens == 256


LONG = np.exp(2 * np.random.default_rng(1).normal(size=80))


def test_scaling_is_chosen_told_and_overridden():
    columns = {"x": np.random.default_rng(0).normal(size=80), "long": LONG, "left": -LONG}
    spec, notes = infer(columns)
    assert [column.scaling.kind for column in spec.measured] == ["standard", "log", "quantile"]
    assert "scaling 'log' for 'long' (override: scaling)" in notes
    assert "scaling 'quantile' for 'left' (override: scaling)" in notes
    for kind in ("standard", "log", "quantile"):
        spec, _ = infer(columns, scaling=kind)
        assert {column.scaling.kind for column in spec.measured} == {kind}
    spec, _ = infer(columns, scaling={"left": "standard", "x": "log"})
    assert [column.scaling.kind for column in spec.measured] == ["log", "log", "standard"]
    made = batch(infer(columns)[0], columns)
    original = infer(columns)[0].tokenizer(4).original(made).astype(float)
    np.testing.assert_allclose(original, np.stack(list(columns.values()), axis=1), rtol=1e-4)


def test_wide_tables_are_scaled_without_ranks_unless_asked_for():
    x = np.tile(-LONG[:, None], (1, 300)) * np.arange(1, 301)
    assert {c.scaling.kind for c in infer({"X": x})[0].measured} == {"standard"}
    assert infer({"X": x}, scaling={"7": "quantile"})[0].measured[7].scaling.kind == "quantile"


def test_many_truth_values_are_numbers_and_share_tokens():
    bits = np.random.default_rng(0).random((20, 300)) < 0.5
    spec, notes = infer({"X": bits})
    assert notes[0] == "300 numeric, 0 categorical columns"
    assert spec.num_tokens == 60
    assert infer({"X": bits[:, :256]})[1][0] == "0 numeric, 256 categorical columns"


def test_values_far_outside_are_refused_only_where_float32_ends():
    columns = {"x": np.arange(80.0), "long": LONG}
    for kind, legal in (("standard", 1e30), ("log", 1e300), ("quantile", 1e300)):
        spec, _ = infer(columns, scaling=kind)
        made = batch(spec, {"x": np.array([legal]), "long": np.array([-legal])})
        assert made["cells"].isfinite().all()
        with pytest.raises(DataError, match=r"file, sample 0: column 'long' must hold finite"):
            batch(spec, {"x": np.ones(1), "long": np.array([np.inf])})


DAYS = np.array(
    ["2024-01-30", "2024-02-29", "NaT", "2024-03-04", "2025-02-03", "2024-01-01"], "M8[D]"
)


def test_dates_become_a_number_and_what_recurs():
    spec, notes = infer({"when": DAYS[~np.isnat(DAYS)]})
    assert spec.columns == ("when",)
    time, month, weekday = spec.measured
    assert [column.name for column in spec.measured] == [
        "when: time",
        "when: month",
        "when: weekday",
    ]
    assert month.categories == ("January", "February", "March")
    assert weekday.categories == ("Monday", "Tuesday", "Thursday")
    assert month.frequencies == (0.4, 0.4, 0.2)
    assert time.scaling.kind == "standard"
    assert notes[-1] == "column 'when' holds dates: read as time, month, weekday"
    made = batch(spec, {"when": DAYS[:2]})
    assert made["cells"][:, 1, 0].tolist() == [0, 1]
    assert made["cells"][:, 2, 0].tolist() == [1, 2]
    there = DAYS[~np.isnat(DAYS)].astype("M8[s]").astype(float)
    expected = (there[:2] - there.mean()) / there.std()
    np.testing.assert_allclose(made["cells"][:, 0, 0], expected, rtol=1e-6)
    tokenizer = spec.tokenizer(4)
    assert tokenizer.original(made).tolist() == [
        ["2024-01-30T00:00:00", "January", "Tuesday"],
        ["2024-02-29T00:00:00", "February", "Thursday"],
    ]


def test_hours_count_where_they_vary():
    hours = np.datetime64("2024-01-01T07", "h") + np.array([0, 5, 1, 5])
    spec, _ = infer({"when": hours, "x": np.arange(4)})
    assert [column.part for column in spec.measured] == ["time", "hour", ""]
    assert spec.measured[1].categories == ("7", "8", "12")
    for scaling, kind in (("quantile", "standard"), ({"when": "log"}, "log")):
        assert infer({"when": hours}, scaling=scaling)[0].measured[0].scaling.kind == kind


def test_a_missing_date_has_no_part():
    columns = {"when": DAYS, "x": np.arange(6)}
    spec, _ = infer(columns)
    valid = batch(spec, columns)["valid"][..., 0]
    assert valid.all(dim=1).tolist() == [True, True, False, True, True, True]
    assert valid[2].tolist() == [False, False, False, True]
    # March is known, and December is not.
    made = batch(spec, {"when": np.array(["2030-12-02"], "M8[D]"), "x": np.ones(1)})
    assert made["valid"][0, :, 0].tolist() == [True, False, True, True]


def test_rows_without_a_value_are_not_there():
    columns = {"a": np.array([1.0, np.nan, 2, np.nan]), "b": np.array([3.0, 1, np.nan, np.nan])}
    spec, _ = infer({k: v[:3] for k, v in columns.items()})
    records = Records(columns, "file")
    assert spec.present(records, np.array([3, 2, 1])).tolist() == [False, True, True]
    assert spec.present(records, np.empty(0, dtype=int)).tolist() == []
    with pytest.raises(DataError, match="sample 3: a row must hold at least one") as caught:
        spec.batch(records.subset(np.array([0, 3])), np.array([1]))
    assert caught.value.sample == 3


class Lazy:
    """A column that is read from disk, and counts how."""

    def __init__(self, values):
        self.values, self.most, self.ascending = values, 0, True
        self.dtype, self.shape = values.dtype, values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        self.most = max(self.most, len(index))
        self.ascending &= bool((np.diff(index) > 0).all())
        return self.values[index]


def test_statistics_come_from_a_bounded_part_in_ascending_pieces(monkeypatch):
    monkeypatch.setattr("metamae.modalities.table.spec.STATISTICS_FROM", 50)
    monkeypatch.setattr("metamae.modalities.table.spec.CELLS_AT_ONCE", 32)
    monkeypatch.setattr("metamae.modalities.table.rows.CELLS_AT_ONCE", 32)
    x = np.random.default_rng(0).normal(size=(200, 4))
    column = Lazy(x)
    spec, _ = infer({"X": column})
    assert column.most == 8
    assert column.ascending
    chosen = Records({"X": x}, "file").sample(50, np.random.default_rng(0))["X"][np.arange(50)]
    assert [c.scaling.mean for c in spec.measured] == pytest.approx(chosen.mean(axis=0).tolist())


def test_many_columns_of_one_fate_share_a_note():
    columns = {f"c{n}": np.full(6, n) for n in range(20)} | {"a": SIZES, "b": np.arange(6)}
    _, notes = infer(columns)
    listed = ", ".join(f"'c{n}'" for n in range(8))
    assert f"20 columns are left out: they are constant: {listed} and 12 more" in notes
    assert len(notes) == 2


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
    expected = size.scaling.mean + 2 * size.scaling.std
    assert list(row) == ["red", pytest.approx(expected), "False", 2.5]


def test_raw_features():
    spec, _ = infer(example())
    raw = spec.raw(Records(example(), "file"), np.arange(6))
    cells = batch(spec, example())["cells"][..., 0].numpy()
    # Two numbers, three colours, two flags, and marks for the two columns with gaps.
    assert raw.shape == (6, 2 + 3 + 2 + 2)
    np.testing.assert_array_equal(raw[:, :2], cells[:, [1, 3]])
    assert raw[:, 2:5].tolist() == [
        [0, 0, 1],
        [0, 1, 0],
        [0, 0, 0],
        [0, 0, 1],
        [1, 0, 0],
        [0, 0, 1],
    ]
    np.testing.assert_array_equal(raw[:, 5:7], np.eye(2)[FLAGS.astype(int)])
    assert raw[:, 7:].tolist() == [[0, 0], [0, 0], [1, 1], [0, 0], [0, 0], [0, 0]]


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


def test_too_many_tokens_are_refused():
    x = np.random.default_rng(0).normal(size=(6, 9))
    assert infer({"X": x}, max_tokens=9)[0].num_tokens == 9
    assert infer({"X": x}, max_tokens=3, group=3)[0].num_tokens == 3
    rule = r"file: a table must have at most max_tokens = 8 tokens; got 9 from 9 col.*\(group\)"
    with pytest.raises(ConfigError, match=rule):
        infer({"X": x}, max_tokens=8)
    with pytest.raises(ConfigError, match=rule):
        infer({str(n): x[:, n] for n in range(9)}, max_tokens=8)


@pytest.mark.parametrize(
    ("setting", "least"),
    [("max_categories", 2), ("max_tokens", 2), ("min_count", 1), ("min_columns", 1), ("group", 1)],
)
@pytest.mark.parametrize("value", [0, -1, 2.5, "many", True, None])
def test_counts_are_checked(setting, least, value):
    rule = rf"Table\.{setting} must be a whole number of at least {least}; got {value!r}\. "
    with pytest.raises(ConfigError, match=rule):
        infer(example(), **{setting: value})


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"scaling": "sqrt"}, r"Table\.scaling must be one of its known values; got 'sqrt'"),
        ({"scaling": 3}, r"Table\.scaling must be one of its known values; got 3"),
        ({"scaling": {"size": "lug"}}, r"Table\.scaling\['size'\] must .*Did you mean 'log'"),
        ({"scaling": {"sizes": "log"}}, r"scaling must name columns; got 'sizes'.*mean 'size'"),
        ({"scaling": {"colour": "log"}}, r"must name columns of numbers; got 'colour', which hol"),
        ({"categorical": ["cuont"]}, r"categorical must name columns; got 'cuont'.*mean 'count'"),
        ({"categorical": "count"}, r"categorical must be a list of columns; got 'count'\. \["),
        ({"categorical": 3}, r"categorical must be a list of columns; got 3"),
    ],
)
def test_settings_are_checked(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        infer(example(), **settings)


def test_one_token_leaves_nothing_to_predict():
    x = {"X": np.random.default_rng(0).normal(size=(6, 4))}
    with pytest.raises(ConfigError, match=r"group must leave at least 2 tokens; got 4 for 4 col"):
        infer(x, group=9)
    assert infer(x, group=9, min_columns=1)[0].num_tokens == 1
    assert infer({"a": np.arange(6)}, min_columns=1)[0].num_tokens == 1


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
        (
            {**example(), "size": np.arange(6).astype("M8[s]")},
            r"file: column 'size' must hold numbers, as in training; got datetime64",
        ),
        (
            {**example(), "size": np.ones((6, 2))},
            r"file: column 'size' must hold one value per row, as in training; got shape \(2,\)",
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


def test_days_of_many_years_come_back_as_they_were():
    days = np.random.default_rng(0).integers(0, 20_000, 400).astype("M8[D]")
    columns = {"when": days, "x": np.arange(400)}
    spec, _ = infer(columns)
    cells = spec.rows.encode(Records(columns, "file"), np.arange(400))
    place = [one.part for one in spec.measured].index("time")
    shown = spec.rows.decode(cells.astype(np.float64))[:, place]
    assert shown.tolist() == [f"{day}T00:00:00" for day in days]


def test_dates_may_come_as_texts():
    # JSON, which a server reads, has no dates.
    spec, _ = infer({"when": DAYS, "x": np.arange(len(DAYS))})
    texts = objects([None if np.isnat(day) else str(day) for day in DAYS])
    given = {"x": np.arange(len(DAYS))}
    expected = batch(spec, {"when": DAYS, **given})
    found = batch(spec, {"when": texts, **given})
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.mark.parametrize(
    ("when", "rule"),
    [
        (np.arange(6), r"file: column 'when' must hold dates, as in training; got int64"),
        (objects(["2024"] * 6), r"column 'when' must hold dates, as in training; got object"),
        (objects(["2024-02-30"] * 6), r"must hold dates.* ISO 8601 texts \(2024-03-04\) would do"),
        (
            np.array([0, 0, 99_999, 0, 0, 0], "M8[Y]"),
            r"file, sample 2: column 'when' must hold dates of the years 1 to 9999; got 101969",
        ),
    ],
)
def test_dates_that_do_not_fit_are_refused(when, rule):
    spec, _ = infer({"when": DAYS, "x": np.arange(6)})
    with pytest.raises(DataError, match=rule):
        batch(spec, {"when": when, "x": np.arange(6)})
    if when.dtype.kind == "M":
        with pytest.raises(DataError, match=rule):
            infer({"when": when, "x": np.arange(6)})
