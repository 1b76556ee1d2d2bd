"""`metamae fewshot`: a table with baselines, JSON, and mistakes in one line."""

import json

import pytest

from command import metamae, refused
from metamae import fewshot


def few(runs, data, *flags, **options):
    options = {"label": "y", "ways": 2, "episodes": 20} | options
    given = [word for name, value in options.items() for word in (f"--{name}", value)]
    return metamae("fewshot", runs / "series", data / "series.npz", *given, *flags)


def test_the_table_shows_baselines_chance_and_a_verdict(runs, data):
    said = few(runs, data)
    assert said.status == 0, said.err
    for name in ("metamae", "untrained", "pca", "raw", "chance", "Pretraining"):
        assert name in said.out


def test_json_is_all_that_stands_on_standard_output(runs, data):
    found = json.loads(few(runs, data, "--json", "--adapter").out)
    assert found["ways"] == 2 and found["episodes"] == 20 and found["adapter"] is True
    assert [r["representation"] for r in found["results"]] == ["metamae", "untrained", "pca", "raw"]
    assert all(0 <= r["low"] <= r["accuracy"] <= r["high"] <= 1 for r in found["results"])
    again = json.loads(few(runs, data, "--json", "--adapter").out)
    assert found == again != json.loads(few(runs, data, "--json", "--adapter", seed=1).out)


def test_the_function_gives_an_accuracy_for_each_episode(runs, data):
    found = fewshot(runs / "series", data / "series.npz", "y", ways=2, episodes=7)
    assert {len(scores) for scores in found.scores.values()} == {7}


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"ways": 99}, "FewShot.ways must be at most"),
        ({"shots": 0}, "FewShot.shots must be"),
        ({"episodes": 0}, "FewShot.episodes must be"),
        ({"label": "X"}, "must not have been an input"),
        ({"label": "nothing"}, "nothing"),
    ],
)
def test_mistakes_are_refused_in_one_line(runs, data, options, rule):
    said = few(runs, data, **options)
    assert rule in refused(said)
