"""`metamae attribute`: curves beside a random order, a file of scores, mistakes in one line."""

import json

import pyarrow.parquet as pq
import pytest

from command import metamae, refused


def attribute(runs, data, *flags, label="y"):
    return metamae("attribute", runs / "series", data / "series.npz", "--label", label, *flags)


def test_a_table_and_a_file(runs, data, tmp_path):
    out = tmp_path / "scores.parquet"
    said = attribute(runs, data, "--samples", 6, "--out", out)
    assert said.status == 0, said.err
    for words in ("most important", "at random", "least important"):
        assert words in said.out
    table = pq.read_table(out).to_pydict()
    assert len(table["sample"]) == 6
    assert len({len(own) for own in table["tokens"]}) == 1
    assert "must not exist yet" in refused(attribute(runs, data, "--out", out))


def test_json_holds_curves_in_their_order(runs, data):
    found = json.loads(attribute(runs, data, "--json", "--samples", 5).out)
    assert found["samples"] == 5
    starts = {curve[0] for curve in found["curves"].values()}
    assert len({round(value, 9) for value in starts}) == 1
    areas = {name: values[0] for name, values in found["areas"].items()}
    assert areas["deletion"] <= areas["insertion"]
    assert found == json.loads(attribute(runs, data, "--json", "--samples", 5).out)


@pytest.mark.parametrize(
    ("flags", "label", "rule"),
    [
        (("--samples", 0), "y", "Attribute.samples must be"),
        ((), "X", "must not have been an input"),
        (("--out", "scores.csv"), "y", "Attribute.out must end in"),
    ],
)
def test_mistakes_are_refused_in_one_line(runs, data, flags, label, rule):
    assert rule in refused(attribute(runs, data, *flags, label=label))
