"""The verb: splits, missing labels, saved models, signals, and what is left as it was."""

import json
import signal

import numpy as np
import pytest
import torch

from metamae import load
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.uses.finetune.finetune import finetune, predict
from metamae.uses.finetune.finetuned import load_finetuned

FAST = {"training": {"steps": 2}, "scratch": False}


@pytest.fixture(scope="module")
def pretrained(runs):
    return load(runs / "series")


@pytest.fixture
def arrays(data):
    with np.load(data / "series.npz") as file:
        return file["X"], file["y"]


def test_a_saved_model_predicts_the_same(pretrained, data, tmp_path):
    for how in ("full", "lora"):
        training = {"steps": 2, "how": how, "rank": 2}
        out = tmp_path / how
        made = finetune(
            pretrained, data / "series.npz", "y", out, training=training, scratch=False
        ).model
        loaded = load_finetuned(out)
        a, b = (predict(model, data / "series.npz") for model in (made, loaded))
        assert (a.values == b.values).all() and (a.probabilities == b.probabilities).all()
        assert a.values.dtype == object and set(a.values) <= {"0", "1"}


def test_the_pretrained_encoder_is_left_as_it_was(pretrained, data):
    before = {k: v.clone() for k, v in pretrained.module.state_dict().items()}
    finetune(pretrained, data / "series.npz", "y", **FAST)
    after = pretrained.module.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert all(p.requires_grad for p in pretrained.module.backbone.parameters())


def test_scratch_begins_with_fresh_weights_and_trains_all(pretrained, data):
    training = {"steps": 2, "how": "lora", "rank": 1}
    found = finetune(pretrained, data / "series.npz", "y", training=training)
    assert found.fits["scratch"].trained > 2 * found.fits["finetuned"].trained
    assert {r.representation for r in found.judgement.results} >= {"scratch", "linear_probe"}


def test_missing_labels_are_left_out(pretrained, arrays):
    x, y = arrays
    words = np.where(y == 1, "up", "down").astype(object)
    words[:10] = ""
    found = finetune(pretrained, {"X": x, "y": words}, "y", **FAST)
    first = found.judgement.results[0]
    assert first.num_train + first.num_test == 70
    assert "10 samples have no label and are left out" in found.notes
    assert found.task.classes == ("down", "up")


def test_a_field_says_who_tests(pretrained, arrays):
    x, y = arrays
    part = np.array(["train", "Test"] * 40)
    found = finetune(pretrained, {"X": x, "y": y, "part": part}, "y", split="part", **FAST)
    assert found.judgement.results[0].num_test == 40
    with pytest.raises(ConfigError, match="one of test and split"):
        finetune(pretrained, {"X": x, "y": y, "part": part}, "y", split="part", test=x, **FAST)


def test_a_class_that_only_the_test_samples_have_is_no_mistake(pretrained, arrays):
    x, y = arrays
    names = np.array(["a", "b"])[y]
    test = {"X": x[60:], "y": np.append(names[60:79], "new")}
    found = finetune(pretrained, {"X": x[:60], "y": names[:60]}, "y", test=test, **FAST)
    assert found.task.classes == ("a", "b", "new")
    assert found.judgement.results[0].num_test == 20


def test_25_labels_are_enough(pretrained, arrays):
    x, y = arrays
    found = finetune(pretrained, {"X": x[:25], "y": y[:25]}, "y", **FAST)
    assert found.fits["finetuned"].checks and found.sentence


def test_one_class_to_learn_from_is_refused(pretrained, arrays):
    x, y = arrays
    some = x[y == 1]
    train, test = {"X": some, "y": np.ones(len(some))}, {"X": x, "y": y}
    with pytest.raises(DataError, match="must vary among the training samples"):
        finetune(pretrained, train, "y", test=test, **FAST)


def test_a_signal_keeps_the_best_weights_so_far(pretrained, data, tmp_path):
    def stop(name, done, score):
        if done > 0.01:
            signal.raise_signal(signal.SIGINT)

    out = tmp_path / "model"
    training = {"steps": 100}
    found = finetune(pretrained, data / "series.npz", "y", out, training=training, observe=stop)
    assert found.interrupted == "SIGINT" and found.judgement is None and found.sentence == ""
    assert found.fits["finetuned"].steps < 100 and "scratch" not in found.fits
    assert json.loads((out / "results.json").read_text())["results"] == []
    assert len(predict(out, data / "series.npz").values) == 80
    # In memory there is nothing to keep.
    with pytest.raises(KeyboardInterrupt):
        finetune(pretrained, data / "series.npz", "y", training=training, observe=stop)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("finetuned.json", b"{"),
        ("finetuned.json", b"[]"),
        ("finetuned.json", b'{"version": "1", "task": {}}'),
        ("schema.json", b"{}"),
        ("encoder.toml", b"\xff"),
        ("finetuned.safetensors", b"none"),
    ],
)
def test_damaged_models_are_named(pretrained, data, tmp_path, name, damage):
    finetune(pretrained, data / "series.npz", "y", tmp_path / "model", **FAST)
    (tmp_path / "model" / name).write_bytes(damage)
    with pytest.raises(ArtifactError, match="model"):
        load_finetuned(tmp_path / "model")


def test_labels_are_data_and_nothing_else(pretrained, arrays, tmp_path):
    x, y = arrays
    names = np.array(["=cmd()", '"; import os, \n é'])[y]
    found = finetune(pretrained, {"X": x, "y": names}, "y", tmp_path / "model", **FAST)
    told = predict(tmp_path / "model", {"X": x}, tmp_path / "p.parquet")
    assert set(told.values) <= set(names) and told.task == found.task
    import pyarrow.parquet as pq

    assert set(pq.read_table(tmp_path / "p.parquet")["predicted"].to_pylist()) <= set(names)
