"""Gaps are filled, in the user's units, and nothing else is touched."""

from types import SimpleNamespace

import numpy as np
import pytest

from cases import CASES, build, case, objects
from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities import MODALITIES
from metamae.modalities.symbols.gaps import unknown_letters
from metamae.uses.impute.filling import fill
from metamae.uses.impute.gaps import open_gaps

UNFIT = ["points", "flat points with gaps", "example of points", "spectrograms", "waves of sound"]
UNFIT += ["bytes", "k-mers that overlap", "subwords"]


def run_of(spec, method="metamae", **settings):
    schema = SimpleNamespace(modality=spec)
    return SimpleNamespace(module=build(spec, method, **settings), schema=schema)


def infer(kind, columns, **settings):
    records = Records(columns, "array")
    spec, _ = MODALITIES.get(kind).infer(records, np.random.default_rng(0), **settings)
    return spec, records


def is_missing(value):
    return value is None or value != value


def same(a, b):
    """Whether what was there before is there still."""
    if isinstance(a, np.ndarray) and a.dtype.kind == "f":
        there = ~np.isnan(a)
        return np.array_equal(a[there], b[there])
    return is_missing(a) or np.array_equal(a, b)


@pytest.mark.parametrize("name", [name for name in CASES if name not in UNFIT])
def test_only_what_is_missing_is_changed_and_no_gap_is_left(name):
    spec, records = case(name)
    found = fill(run_of(spec), records)
    for column, values in found.columns.items():
        before = np.asarray(records[column][np.arange(len(records))])
        assert values.shape == before.shape
        assert all(same(a, b) for a, b in zip(before, values, strict=True))
        assert found.counts[column] > 0
    again = fill(run_of(spec), Records({**records.columns, **found.columns}, "filled"))
    assert dict(again.counts) == {}


@pytest.mark.parametrize("name", UNFIT)
def test_what_cannot_be_filled_is_refused(name):
    spec, records = case(name)
    with pytest.raises(ConfigError, match="Impute needs a table, a lattice of numbers or single"):
        fill(run_of(spec), records)


def test_a_method_without_a_decoder_is_refused():
    spec, records = case("numbers")
    with pytest.raises(ConfigError, match="must have a decoder"):
        fill(run_of(spec, "capri"), records)


def test_numbers_are_filled_in_the_units_of_the_user():
    """With a prediction of zero, in standard deviations from the mean, the mean is filled in."""
    rng = np.random.default_rng(0)
    a = rng.normal(500, 20, 60)
    a[7] = np.nan
    colour = objects([("red", "blue", None)[n % 3] if n < 9 else "red" for n in range(60)])
    spec, records = infer("table", {"a": a, "b": rng.normal(size=60), "colour": colour})
    run = run_of(spec, "mae")
    for parameter in run.module.decoder.head.parameters():
        parameter.data.zero_()
    found = fill(run, records)
    assert found.columns["a"][7] == pytest.approx(np.nanmean(a))
    assert set(found.columns["colour"][[2, 5, 8]]) <= {"red", "blue"}
    assert dict(found.counts) == {"a": 1, "colour": 3}


def test_dates_and_integers_in_one_array():
    spec, records = case("dates")
    found = fill(run_of(spec), records)
    assert found.columns["when"].dtype.kind == "M"
    assert not np.isnat(found.columns["when"]).any()


def test_an_unknown_category_is_no_gap():
    colour = objects(["red", "blue"] * 20)
    spec, _ = infer("table", {"a": np.arange(40.0), "b": np.arange(40.0) ** 2, "colour": colour})
    mine = objects(["green", None, "red"])
    records = Records({"a": np.ones(3), "b": np.ones(3), "colour": mine}, "mine")
    found = fill(run_of(spec), records)
    assert found.columns["colour"][0] == "green"
    assert found.columns["colour"][1] in ("red", "blue")


@pytest.mark.parametrize("layout", ["first", "last"])
def test_layouts_and_partly_known_cells(layout):
    x = np.random.default_rng(0).normal(3, 2, (12, 2, 20)).astype(np.float32)
    x[0, 1, 5], x[1, :, 8:12], x[2, 0] = np.nan, np.nan, np.nan
    shown = x if layout == "first" else np.moveaxis(x, 1, -1)
    spec, records = infer("grid", {"X": shown}, axes=1, cell=4, layout=layout)
    opened = open_gaps(spec, records, np.arange(12), None)
    assert opened.partly[0].tolist() == [False, True, False, False, False]
    assert opened.empty[1].tolist() == [False, False, True, False, False]
    assert opened.partly[2].all()
    found = fill(run_of(spec), records)
    filled = found.columns["X"] if layout == "first" else np.moveaxis(found.columns["X"], -1, 1)
    assert found.counts["X"] == 1 + 8 + 20
    assert np.isfinite(filled).all()
    np.testing.assert_array_equal(filled[~np.isnan(x)], x[~np.isnan(x)])


def test_what_is_known_of_a_token_helps_where_all_tokens_are_partly_known():
    """Then tokens are hidden in turns: the known channel of the others must have a say."""
    x = np.random.default_rng(0).normal(3, 2, (6, 2, 20)).astype(np.float32)
    spec, _ = infer("grid", {"X": x}, axes=1, cell=4)
    run = run_of(spec)
    x[:, 0] = np.nan
    first = fill(run, Records({"X": x}, "one")).columns["X"]
    x[:, 1] += 5
    other = fill(run, Records({"X": x}, "other")).columns["X"]
    assert not np.allclose(first[:, 0], other[:, 0])


def test_long_series_are_filled_through_their_windows():
    rng = np.random.default_rng(0)
    rows = objects([rng.normal(size=(2, n)).astype(np.float32) for n in (90, 64, 30, 100)])
    spec, _ = infer("grid", {"X": rows}, axes=1, cell=4, window=32, stride=24)
    holed = objects([row.copy() for row in rows])
    holed[0][:, 40:60], holed[3][1, 95:], holed[2][0, 0] = np.nan, np.nan, np.nan
    found = fill(run_of(spec), Records({"X": holed}, "long"))
    assert found.counts["X"] == 40 + 5 + 1
    for before, after in zip(holed, found.columns["X"], strict=True):
        assert np.isfinite(after).all()
        assert same(before, after)


def test_letters_that_are_unknown_or_blank():
    texts = objects(["ACGTACGTAC", "GGTTACGATT", "ACGTTTTGGA", "CCGATTACGA"])
    spec, _ = infer("symbols", {"X": texts})
    mine = objects(["ACGT?CGTAC", "GGTTACGAT?", None, "CAGATTACGA"])
    found = fill(run_of(spec), Records({"X": mine}, "mine"))
    first, last, none, whole = found.columns["X"]
    assert first[:4] == "ACGT" and first[5:] == "CGTAC" and first[4] in "ACGT"
    assert last[:9] == "GGTTACGAT" and last[9] in "ACGT"
    assert none is None and whole == "CAGATTACGA"
    blank = fill(run_of(spec), Records({"X": texts}, "mine"), blank="T")
    assert blank.counts["X"] == sum(text.count("T") for text in texts)
    with pytest.raises(ConfigError, match=r"Impute.blank must be one character; got 'TT'"):
        fill(run_of(spec), Records({"X": texts}, "mine"), blank="TT")


def test_codes_and_padding():
    """The padding code means that there is no symbol, wherever it stands: it is no gap."""
    spec, _ = case("padded codes")
    row = np.array([10, 11, 0, 77, 13, 10, 0, 0, 0])
    assert unknown_letters(spec, row, None).nonzero()[0].tolist() == [2]
    found = fill(run_of(spec), Records({"X": np.stack([row, row])}, "mine"))
    assert found.counts["X"] == 2
    filled = found.columns["X"][0]
    assert filled[3] in spec.alphabet
    assert filled[[0, 1, 2, 4, 5, 6, 7, 8]].tolist() == [10, 11, 0, 13, 10, 0, 0, 0]


def test_a_missing_field_of_a_mixture():
    spec, records = case("example of mixture")
    found = fill(run_of(spec), records)
    assert np.isfinite(found.columns["image"]).all()
    # Nobody knows how long a missing text would be.
    assert "text" not in found.columns
    assert found.left == {"in text: how long it would be is unknown": 2}
    # Alone, with no other sample beside it that has the field, it stays as it is.
    alone = fill(run_of(spec), records.subset(np.array([1])))
    assert "image" not in alone.columns


def test_rows_of_which_nothing_is_known_stay():
    spec, records = case("numbers")
    x = np.array(records["X"])
    x[2], x[3, 1] = np.nan, np.nan
    found = fill(run_of(spec), Records({"X": x}, "mine"))
    assert np.isnan(found.columns["X"][2]).all()
    assert found.left == {"in samples of which nothing is known": 1}
    assert found.counts["X"] == 1


def test_a_filled_value_does_not_depend_on_other_samples():
    spec, records = case("series with gaps")
    run = run_of(spec)
    together = fill(run, records).columns["X"]
    for row in (0, 1, 2):
        alone = fill(run, records.subset(np.array([row]))).columns["X"]
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4)


def test_the_inner_step_has_a_say():
    spec, records = case("series with gaps")
    run = run_of(spec, inner_lr=5.0)
    with_step, without = (fill(run, records, step=step).columns["X"] for step in (True, False))
    assert not np.allclose(with_step, without)
