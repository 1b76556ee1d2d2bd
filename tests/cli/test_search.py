"""`metamae search` as a user meets it."""

import json

from command import metamae, refused


def test_hits_are_shown_and_the_store_is_named(data, runs, tmp_path):
    options = ["--query", "2", "--query", "5", "--k", "3", "--store", tmp_path]
    said = metamae("search", runs / "table", data / "table.csv", *options)
    assert said.status == 0, said
    assert "nearest to 2 in" in said.out and "nearest to 5 in" in said.out
    assert "are stored in" in said.out
    said = metamae("search", runs / "table", data / "table.csv", *options, "--json")
    found = json.loads(said.out)
    assert found["reused"] is True
    assert [len(one["hits"]) for one in found["queries"]] == [3, 3]


def test_refusals(data, runs, tmp_path):
    options = ["--query", "nothing", "--store", tmp_path]
    said = metamae("search", runs / "table", data / "table.csv", *options)
    assert "Search.query must be a sample of the data set" in refused(said)
