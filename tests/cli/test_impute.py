"""`metamae impute` as a user meets it."""

import json

from command import metamae, refused


def test_counts_a_file_and_a_check(data, runs, tmp_path):
    out = tmp_path / "filled.csv"
    said = metamae("impute", runs / "table", data / "table.csv", "--out", out, "--check")
    assert said.status == 0, said
    assert "13 missing values filled" in said.out and "  b: 13" in said.out
    assert "cells hidden" in said.out and "columns hidden" in said.out
    assert "spans hidden" not in said.out  # a table has no order of columns
    assert out.is_file()


def test_json_and_one_pattern(data, runs):
    options = ["--pattern", "cells", "--json"]
    found = json.loads(metamae("impute", runs / "table", data / "table.csv", *options).out)
    assert {error["pattern"] for error in found["errors"]} == {"cells"}
    assert found["filled"] == {"b": 13}


def test_refusals(data, runs, tmp_path):
    said = metamae("impute", runs / "table", data / "table.csv", "--out", tmp_path / "a.txt")
    assert "Impute.out must end in a known kind of file" in refused(said)
