"""Imputation from a run and files: what is written, and what is refused."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import walks
from metamae.errors import ArtifactError, ConfigError
from metamae.uses.impute.impute import Error, impute, verdict


def cells(path, delimiter=","):
    with path.open(newline="") as file:
        return list(csv.reader(file, delimiter=delimiter))


def test_a_text_table_is_changed_in_its_missing_cells_only(data, runs, tmp_path):
    out = tmp_path / "filled.csv"
    found = impute(runs / "table", data / "table.csv", out)
    assert found.counts == {"b": 13}
    before, after = cells(data / "table.csv"), cells(out)
    assert before[0] == after[0]
    changed = [
        (row, column)
        for row, (a, b) in enumerate(zip(before, after, strict=True))
        for column, (x, y) in enumerate(zip(a, b, strict=True))
        if x != y
    ]
    assert changed == [(row, 1) for row in range(1, 91) if before[row][1] == ""]
    assert all(np.isfinite(float(after[row][1])) for row, _ in changed)
    # Filled, there is nothing left to fill.
    assert impute(runs / "table", out).counts == {}


def test_other_delimiters_quotes_and_words_for_missing(runs, tmp_path):
    path, out = tmp_path / "mine.csv", tmp_path / "out.csv"
    path.write_text('a;b;c;kind;size\n\n1.50;NA;"red";up;007\n2;0.5;?;"x;y";1\n')
    found = impute(runs / "table", path, out)
    rows = cells(out, ";")
    assert found.counts == {"b": 1, "c": 1}
    assert rows[2][0] == "1.50" and rows[2][4] == "007" and rows[3][3] == "x;y"
    assert rows[3][2] in ("red", "blue")
    assert float(rows[2][1]) == pytest.approx(found.columns["b"][0], rel=1e-5)


def test_parquet_keeps_its_types_and_other_columns(data, runs, tmp_path):
    rows = cells(data / "table.csv")[1:]
    path, out = tmp_path / "mine.parquet", tmp_path / "out.parquet"
    table = pa.table(
        {
            "b": pa.array([None if r[1] == "" else round(float(r[1])) for r in rows], pa.int32()),
            "other": pa.array([[1, 2]] * len(rows)),
            "a": pa.array([float(r[0]) for r in rows], pa.float32()),
            "c": pa.array(
                [None if n == 3 else r[2] for n, r in enumerate(rows)]
            ).dictionary_encode(),
        }
    )
    pq.write_table(table, path)
    found = impute(runs / "table", path, out)
    filled = pq.read_table(out)
    assert filled.schema.field("b").type == pa.int32()
    assert filled.schema.field("c").type == table.schema.field("c").type
    assert filled.column_names == table.column_names
    assert filled["b"].null_count == filled["c"].null_count == 0
    assert filled["other"].equals(table["other"]) and filled["a"].equals(table["a"])
    assert found.counts == {"b": 13, "c": 1}


def test_arrays_keep_their_form(runs, tmp_path):
    x = walks(10, 2, 16, seed=4)
    x[3, 0, 5:9] = np.nan
    path, out = tmp_path / "mine.npy", tmp_path / "out.npy"
    np.save(path, x)
    found = impute(runs / "series", path, out)
    filled = np.load(out)
    assert filled.shape == x.shape and filled.dtype == x.dtype
    np.testing.assert_array_equal(filled[~np.isnan(x)], x[~np.isnan(x)])
    assert np.isfinite(filled).all()
    assert list(found.counts.values()) == [4]
    np.savez(tmp_path / "mine.npz", X=x, y=np.arange(10))
    impute(runs / "series", tmp_path / "mine.npz", tmp_path / "out.npz")
    both = np.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(both["X"], filled)
    np.testing.assert_array_equal(both["y"], np.arange(10))
    impute(runs / "series", tmp_path / "mine.npz", tmp_path / "out.parquet")
    nested = pq.read_table(tmp_path / "out.parquet")["X"].to_pylist()
    np.testing.assert_allclose(np.array(nested, dtype=np.float32), filled)
    with pytest.raises(ConfigError, match=r"must be able to hold arrays; got .csv for field 'X'"):
        impute(runs / "series", tmp_path / "mine.npz", tmp_path / "out.csv")


def test_a_check_measures_beside_simple_guesses(data, runs):
    found = impute(runs / "table", data / "table.csv", patterns=("cells",), seed=1)
    methods = {error.method for error in found.errors}
    assert methods == {"metamae", "metamae, no inner step", "mean", "knn", "iterative"}
    assert "the encoder saw these samples" in found.notes[0]
    # Three steps of a tiny network beat nothing, and this is told.
    assert (
        "cells, all numbers: metamae is no better than the best simple guess" in found.verdicts[0]
    )
    plain = found.to_dict()
    assert plain["filled"] == {"b": 13}
    assert plain["errors"][0]["pattern"] == "cells"


def test_what_is_refused(data, runs, tmp_path):
    with pytest.raises(ConfigError, match=r"Impute.out must end in a known kind of file"):
        impute(runs / "table", data / "table.csv", tmp_path / "out.xlsx")
    (tmp_path / "out.csv").touch()
    with pytest.raises(ArtifactError, match="must not exist yet"):
        impute(runs / "table", data / "table.csv", tmp_path / "out.csv")
    with pytest.raises(ConfigError, match=r"Impute.patterns must be one of its known values"):
        impute(runs / "table", data / "table.csv", patterns=("rows",))


def test_a_verdict_takes_the_best_simple_guess():
    nan = float("nan")
    found = [
        Error("cells", "all numbers", name, nan, nan, score, nan, 9)
        for name, score in (("mae", 0.5), ("mean", 1.0), ("knn", 0.6), ("iterative", 0.7))
    ]
    words = [
        Error("cells", "all words", name, nan, nan, nan, score, 9)
        for name, score in (("mae", 0.5), ("mean", 0.25), ("knn", 0.5))
    ]
    first, second = (verdict(found + words, "cells", c) for c in ("all numbers", "all words"))
    assert "mae is better than the best simple guess, knn (0.500 standard deviations" in first
    assert "mae is no better than the best simple guess, knn (50.0% right against" in second
