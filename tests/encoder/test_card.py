import json

import pytest

from metamae import load
from metamae.encoder.pretrained import Pretrained

FOUND = {
    "data": "/home/ann/secret/labelled.npz",
    "label": "kind|of",
    "verdict": "Pretraining helped: 0.90 against 0.80.",
    "notes": ["the encoder saw the test samples"],
    "adapted": False,
    "results": [
        {
            "evaluation": "knn",
            "representation": "metamae",
            "metric": "accuracy",
            "score": 0.9,
            "interval": [0.85, 0.95],
            "chance": 0.5,
            "labels": "all",
        }
    ],
}


def card_of(pretrained: Pretrained, folder) -> str:
    pretrained.save_pretrained(folder)
    return (folder / "README.md").read_text()


def with_findings(run, tmp_path, text: str) -> Pretrained:
    for name in ("config.toml", "schema.json", "model.safetensors", "metrics.jsonl"):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    (tmp_path / "results.json").write_text(text)
    return load(tmp_path)


def test_the_card_tells_data_settings_results_and_limits(runs, tmp_path):
    (tmp_path / "run").mkdir()
    loaded = with_findings(runs / "series", tmp_path / "run", json.dumps([FOUND]))
    card = card_of(loaded, tmp_path / "out")
    for told in (
        "learnt from: series.npz",
        "samples: 80, of which 4 held out",
        "fields that are none: y",
        "method: metamae, settings inner_lr=",
        "length: 3 steps",
        "seed: 0",
        "Pretraining helped: 0.90 against 0.80.",
        r"### kind\|of of labelled.npz",
        "| knn | all | metamae | accuracy | 0.900 | 0.850 to 0.950 | 0.500 |",
        "- the encoder saw the test samples",
        "no licence is stated",
        f"has {loaded.embedding_width} numbers",
    ):
        assert told in card, told
    assert "/home/ann" not in card


def test_a_card_without_results_says_so(runs, tmp_path):
    assert "`metamae evaluate` was not run" in card_of(load(runs / "table"), tmp_path / "out")


@pytest.mark.parametrize("text", ["{", "{}", "[1]"])
def test_damaged_results_count_as_none(runs, tmp_path, text):
    (tmp_path / "run").mkdir()
    loaded = with_findings(runs / "series", tmp_path / "run", text)
    assert "`metamae evaluate` was not run" in card_of(loaded, tmp_path / "out")


def test_results_are_not_claimed_for_fresh_weights(runs, tmp_path):
    (tmp_path / "run").mkdir()
    loaded = with_findings(runs / "series", tmp_path / "run", json.dumps([FOUND]))
    card = card_of(loaded.untrained(), tmp_path / "out")
    assert "Pretraining helped" not in card
    assert "length:" not in card


def test_an_interrupted_run_is_told(runs, tmp_path):
    loaded = load(runs / "series")
    stopped = Pretrained(loaded.module, loaded.schema, loaded.config, finished=False)
    assert "the run was interrupted" in card_of(stopped, tmp_path / "out")


def test_the_front_matter_is_yaml(runs, tmp_path):
    yaml = pytest.importorskip("yaml", reason="reading YAML needs PyYAML")
    _, front, body = card_of(load(runs / "words"), tmp_path / "out").split("---\n", 2)
    values = yaml.safe_load(front)
    assert values["library_name"] == "metamae"
    assert values["pipeline_tag"] == "feature-extraction"
    assert "symbols" in values["tags"]
    assert body.lstrip().startswith("# ")
