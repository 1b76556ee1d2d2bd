"""What is hidden for a check is known, and what is measured is what it says."""

from types import SimpleNamespace

import numpy as np
import pytest

from cases import build, case, objects
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities import MODALITIES
from metamae.modalities.gaps import Sheet
from metamae.uses.impute.checking import check
from metamae.uses.impute.guesses import guess
from metamae.uses.impute.holes import make_holes


def run_of(spec, method="metamae"):
    schema = SimpleNamespace(modality=spec)
    config = SimpleNamespace(method=method)
    return SimpleNamespace(module=build(spec, method), schema=schema, config=config)


def in_memory(records):
    return {name: np.asarray(records[name][np.arange(len(records))]) for name in records}


FILLABLE = ["series with gaps", "images, channels last", "series of unequal length", "numbers"]
FILLABLE += ["volumes of unequal size", "example of table", "codes", "padded codes"]
FILLABLE += ["example of symbols", "numbers in groups with gaps"]


@pytest.mark.parametrize("name", FILLABLE)
@pytest.mark.parametrize("pattern", ["cells", "spans", "columns"])
def test_known_values_are_hidden_and_no_others(name, pattern):
    spec, records = case(name)
    columns = in_memory(records)
    laid = spec.gaps().lay_out(columns)
    for holes in make_holes(spec.gaps(), laid, pattern, np.random.default_rng(0)):
        assert not (holes.numbers & ~laid.known).any()
        assert not (holes.words & ~laid.known_words).any()
        left = (laid.known & ~holes.numbers).sum(axis=1)
        left += (laid.known_words & ~holes.words).sum(axis=1)
        assert (left > 0).all()
        holed = spec.gaps().lay_out(spec.gaps().punch(columns, laid, holes)).sheet
        np.testing.assert_array_equal(
            np.isnan(holed.numbers), np.isnan(laid.sheet.numbers) | holes.numbers
        )
        gone = np.array([[w is None for w in row] for row in holed.words], dtype=bool)
        before = np.array([[w is None for w in row] for row in laid.sheet.words], dtype=bool)
        np.testing.assert_array_equal(gone.reshape(before.shape), before | holes.words)


def test_columns_are_each_hidden_once():
    spec, records = case("numbers in groups")
    laid = spec.gaps().lay_out(in_memory(records))
    found = make_holes(spec.gaps(), laid, "columns", np.random.default_rng(0))
    assert sum(holes.numbers.astype(int) for holes in found).tolist() == [[1] * 11] * 8


def test_simple_guesses():
    numbers = np.arange(40.0).reshape(10, 4)
    numbers[:, 3] = 2 * numbers[:, 0]
    words = objects(["a", "b"] * 5)[:, None]
    holed, spelled = numbers[:2].copy(), words[:2].copy()
    holed[0, 3], spelled[1, 0] = np.nan, None
    found = guess(Sheet(numbers, words), Sheet(holed, spelled), 0)
    assert list(found) == ["mean", "knn", "iterative"]
    assert found["mean"].numbers[0, 3] == numbers[:, 3].mean()
    assert found["iterative"].numbers[0, 3] == pytest.approx(0, abs=1.5)
    assert found["mean"].words[1, 0] == "a"
    for sheet in found.values():
        there = ~np.isnan(holed)
        np.testing.assert_array_equal(sheet.numbers[there], holed[there])
        assert sheet.words[0, 0] == "a"


def test_no_guess_is_weaker_than_it_must_be():
    """Words that numbers tell, and numbers of which several are missing at once."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, 150)
    numbers = 0.3 * rng.normal(size=(150, 3))
    numbers[np.arange(150), kind] += 2
    numbers = np.concatenate([numbers, numbers[:, :2] @ [[1, 2], [1, -1]]], axis=1)
    words = objects([["a", "b", "c"][k] for k in kind])[:, None]
    reference = Sheet(numbers[:100], words[:100])
    wordless = guess(reference, Sheet(numbers[100:], np.full((50, 1), None, dtype=object)), 0)
    holed = numbers[100:].copy()
    holed[:, :2] = np.nan
    numberless = guess(reference, Sheet(holed, words[100:]), 0)
    for name in ("knn", "iterative"):
        assert (wordless[name].words == words[100:]).mean() > 0.95
        away = numberless[name].numbers[:, :2] - numbers[100:, :2]
        assert np.sqrt((away**2).mean()) < 0.3 * numbers[:, :2].std()


def test_lines_between_known_points():
    row = np.array([[1.0, np.nan, 3, np.nan, 9, 9, 9, 9]])
    sheet = Sheet(row, np.empty((1, 0), dtype=object), (2, 4))
    found = guess(Sheet(np.zeros((3, 8)), np.empty((3, 0), dtype=object)), sheet, 0)
    assert found["interpolation"].numbers.tolist() == [[1, 2, 3, 3, 9, 9, 9, 9]]


def test_errors_are_in_units_and_in_standard_deviations():
    """A method that always says the mean is as good as the mean: 1 in standard deviations."""
    rng = np.random.default_rng(0)
    columns = {"a": rng.normal(500, 20, 400), "b": rng.normal(size=400)}
    columns["colour"] = objects(["red", "red", "blue", "red"] * 100)
    records = Records(columns, "array")
    spec, _ = MODALITIES.get("table").infer(records, np.random.default_rng(0))
    run = run_of(spec, "mae")
    for parameter in run.module.decoder.head.parameters():
        parameter.data.zero_()
    errors = {(e.pattern, e.column, e.method): e for e in check(run, records)}
    assert {e.pattern for e in errors.values()} == {"cells", "columns"}
    for method in ("mae", "mean"):
        found = errors["columns", "a", method]
        assert found.rmse == pytest.approx(20, rel=0.15)
        assert found.normalised == pytest.approx(1, rel=0.1)
        assert 0.7 * found.rmse < found.mae < found.rmse
        assert errors["columns", "all numbers", method].normalised == pytest.approx(1, rel=0.1)
    assert errors["columns", "colour", "mean"].accuracy == pytest.approx(0.75, abs=0.1)
    assert np.isnan(errors["columns", "colour", "mean"].rmse)
    assert errors["columns", "a", "mae"].num == 120


def test_metamae_is_measured_with_and_without_its_step_and_a_mixture_part_by_part():
    spec, records = case("example of mixture")
    found = check(run_of(spec), records, patterns=("cells", "spans"))
    methods = {error.method for error in found}
    assert {"metamae", "metamae, no inner step", "mean", "knn"} <= methods
    assert {error.column.split(":")[0] for error in found} <= {"image", "text", "table"}
    again = check(run_of(spec), records, patterns=("cells", "spans"))
    assert [(e.column, e.num) for e in found] == [(e.column, e.num) for e in again]


def test_what_is_refused():
    spec, records = case("numbers")
    with pytest.raises(DataError, match="needs at least 4 samples; got 2"):
        check(run_of(spec), records.subset(np.arange(2)))
    spec, records = case("points")
    with pytest.raises(ConfigError, match="Impute needs a table"):
        check(run_of(spec), records)
