"""`metamae evaluate`: an honest comparison, as a table, as JSON and in the run's folder."""

import json
import math
import shutil

import numpy as np
import pytest

from command import metamae, pretrain, refused
from metamae import load
from metamae.uses.evaluate import evaluate as verb

FAST = ("--draws", 2, "--evaluation", "knn")


@pytest.fixture
def run(runs, tmp_path):
    return shutil.copytree(runs / "series", tmp_path / "run")


def strict(text):
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture(scope="module")
def found(runs, data, tmp_path_factory):
    """Everything at once, as JSON; and the folder of the run."""
    out = shutil.copytree(runs / "series", tmp_path_factory.mktemp("evaluate") / "run")
    said = metamae("evaluate", out, data / "series.npz", "--label", "y", "--json", "--draws", 2)
    assert said.status == 0, said.err
    return strict(said.out), out


def test_adapted_embeddings_are_judged_and_named(run, data):
    options = ("--label", "y", "--json", *FAST)
    plain, adapted = (
        strict(metamae("evaluate", run, data / "series.npz", *options, *more).out)
        for more in ((), ("--adapted",))
    )
    note = "embeddings are those after the inner step"
    assert note not in plain["notes"] and note in adapted["notes"]
    scores = [
        [r["score"] for r in found["results"] if r["representation"] == "raw"]
        for found in (plain, adapted)
    ]
    assert scores[0] == scores[1]


def test_json_is_all_that_stands_on_standard_output(found):
    result, _ = found
    assert result["label"] == "y" and result["task"]["kind"] == "classification"
    assert (result["num_train"], result["num_test"]) == (56, 24)
    assert "retraining" in result["verdict"] and result["verdicts"]


def test_every_representation_is_judged_by_every_evaluation(found):
    result, _ = found
    rows = {(r["evaluation"], r["labels"], r["representation"]) for r in result["results"]}
    assert rows == {
        (evaluation, labels, name)
        for evaluation in ("linear_probe", "knn")
        for labels in ("all", "5 per class")
        for name in ("metamae", "untrained", "pca", "raw")
    }
    for row in result["results"]:
        low, high = row["interval"]
        assert 0 <= low <= row["score"] <= high <= 1 and math.isfinite(row["chance"])
    pairs = {(c["first"], c["second"]) for c in result["comparisons"]}
    assert any(set(pair) == {"metamae", "untrained"} for pair in pairs)


def test_findings_are_kept_once_for_each_label(found, data):
    result, run = found
    assert strict((run / "results.json").read_text()) == [result]
    again = ("evaluate", run, data / "series.npz", "--label", "y", *FAST)
    assert metamae(*again).status == 0
    (kept,) = strict((run / "results.json").read_text())
    assert {r["evaluation"] for r in kept["results"]} == {"knn"}


def test_the_same_seed_finds_the_same(runs, data, tmp_path):
    outs = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run = shutil.copytree(runs / "series", tmp_path / name)
        options = ("--label", "y", "--json", "--seed", seed, *FAST)
        outs.append(metamae("evaluate", run, data / "series.npz", *options).out)
    assert outs[0] == outs[1] != outs[2]


def test_the_table_is_for_people(run, data):
    said = metamae("evaluate", run, data / "series.npz", "--label", "y", *FAST)
    assert said.status == 0
    shown = " ".join(said.out.split())
    for text in (
        "metamae",
        "untrained",
        "pca",
        "raw",
        "chance",
        "95 % interval",
        "24 test samples",
    ):
        assert text in shown
    assert "retraining" in said.out and "Note: the encoder saw the test samples" in said.out


def test_samples_are_known_again_under_another_name(run, data, tmp_path):
    copy = tmp_path / "renamed.npz"
    copy.write_bytes((data / "series.npz").read_bytes())
    said = metamae("evaluate", run, copy, "--label", "y", "--json", *FAST)
    assert any("saw the test samples" in note for note in strict(said.out)["notes"])


def test_a_test_file_of_its_own_is_used_whole(run, data, tmp_path):
    with np.load(data / "series.npz") as file:
        x, y = file["X"], file["y"]
    np.savez(tmp_path / "train.npz", X=x[:60], y=y[:60])
    np.savez(tmp_path / "test.npz", X=x[60:], y=y[60:])
    options = ("--test", tmp_path / "test.npz", "--label", "y", "--json", *FAST)
    said = metamae("evaluate", run, tmp_path / "train.npz", *options)
    result = strict(said.out)
    assert (result["num_train"], result["num_test"]) == (60, 20)
    assert not any("saw the test samples" in note for note in result["notes"])


def test_groups_are_not_torn_apart(run, data, tmp_path):
    # A label that follows from the group alone: whoever knows the group guesses it.
    with np.load(data / "series.npz") as file:
        x, y = file["X"], file["y"]
    np.savez(tmp_path / "g.npz", X=x, y=y, patient=np.arange(80) // 4)
    options = ("--label", "y", "--json", *FAST)
    result = strict(
        metamae("evaluate", run, tmp_path / "g.npz", "--group", "patient", *options).out
    )
    assert result["num_test"] % 4 == 0 and result["num_train"] % 4 == 0
    message = refused(metamae("evaluate", run, tmp_path / "g.npz", "--group", "patiant", *options))
    assert "has no field 'patiant'. Did you mean 'patient'?" in message


def test_regression(runs, data, tmp_path):
    run = shutil.copytree(runs / "table", tmp_path / "run")
    said = metamae("evaluate", run, data / "table.csv", "--label", "size", "--json", *FAST)
    assert said.status == 0, said.err
    result = strict(said.out)
    assert result["task"]["kind"] == "regression"
    assert {r["metric"] for r in result["results"]} == {"r2"}
    raw = next(r for r in result["results"] if (r["representation"], r["labels"]) == ("raw", "all"))
    assert raw["score"] > 0.4 and "spearman" in raw["secondary"]


def test_several_labels_are_one_multilabel_task(run, data, tmp_path):
    with np.load(data / "series.npz") as file:
        x, y = file["X"], file["y"]
    np.savez(tmp_path / "m.npz", X=x, rising=y, even=np.arange(80) % 2)
    options = ("--label", "rising, even", "--json", *FAST)
    result = strict(metamae("evaluate", run, tmp_path / "m.npz", *options).out)
    assert result["task"]["kind"] == "multilabel" and result["num_test"] == 24


def test_labels_of_class_folders_and_strings(runs, data, tmp_path):
    for name, file, label in (
        ("images", "images", "label"),
        ("words", "words.csv", "label"),
        ("table", "table.csv", "kind"),
    ):
        run = shutil.copytree(runs / name, tmp_path / name)
        options = ("--label", label, "--json", *FAST)
        result = strict(metamae("evaluate", run, data / file, *options).out)
        assert len(result["task"]["classes"]) == 2 and len(result["results"]) == 8
    images = strict((tmp_path / "images" / "results.json").read_text())[0]
    score = {r["representation"]: r["score"] for r in images["results"] if r["labels"] == "all"}
    assert score["raw"] == 1.0  # dark and light


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "yy"], "has no field 'yy'. Did you mean 'y'?"),
        (["--label", ""], "Evaluate.label must name a field"),
        (["--label", "y,"], "Evaluate.label must name a field"),
        (["--label", "X"], "Label 'X' must not have been an input of the encoder"),
        (["--label", "y", "--task", "clasification"], "Did you mean 'classification'?"),
        (["--label", "y", "--evaluation", "kmn"], "Unknown evaluation 'kmn'. Did you mean 'knn'?"),
        (["--label", "y", "--per-class", "0"], "must be a whole number of at least 1; got 0"),
        (["--label", "y", "--draws", "0"], "must be a whole number of at least 1; got 0"),
        (["--label", "y", "--seed", "-1"], "must be a whole number of at least 0; got -1"),
        (["--label", "y", "--test", "none.npz"], "none.npz"),
        (["--label", "y", "--device", "cuda:9"], "device must be one that this machine has"),
    ],
)
def test_mistakes_are_named(run, data, options, message):
    assert message in refused(metamae("evaluate", run, data / "series.npz", *options))
    assert not (run / "results.json").exists()


def test_a_label_that_was_input_is_refused(data, tmp_path):
    run = tmp_path / "run"
    assert pretrain(data / "table.csv", run, "--ignore", "size", steps=1).status == 0
    message = refused(metamae("evaluate", run, data / "table.csv", "--label", "kind"))
    assert "Label 'kind' must not have been an input" in message
    assert "Pretrain again with --ignore kind" in message


def test_an_interrupted_run_says_so(run, data):
    pretrained = load(run)
    object.__setattr__(pretrained, "finished", False)
    options = {"evaluations": ["knn"], "draws": 1}
    notes = verb(pretrained, data / "series.npz", "y", **options).notes
    assert "the run was interrupted before its budget was used" in notes
    notes = verb(run, data / "series.npz", "y", **options).notes
    assert not any("interrupted" in note for note in notes)


@pytest.mark.parametrize("old", ["[", "{}", "[1]", '[{"data": "x"}]', "\x80"])
def test_damaged_findings_are_written_anew(run, data, old):
    (run / "results.json").write_text(old, encoding="latin-1")
    said = metamae("evaluate", run, data / "series.npz", "--label", "y", *FAST)
    assert said.status == 0
    (kept,) = strict((run / "results.json").read_text())
    assert kept["label"] == "y"
    if old != "{}":
        assert "was damaged and is written anew" in said.err


def test_a_run_that_cannot_be_written_still_gives_its_findings(run, data):
    (run / "results.json").mkdir()
    said = metamae("evaluate", run, data / "series.npz", "--label", "y", "--json", *FAST)
    assert said.status == 0 and strict(said.out)["label"] == "y"
    assert "the findings were not kept" in said.err
