"""`metamae finetune` and `metamae predict`: from labels to predictions in a file."""

import csv
import json

import numpy as np
import pytest

from command import metamae, refused

FAST = ("--steps", 4, "--no-scratch")


@pytest.fixture(scope="module")
def tuned(runs, data, tmp_path_factory):
    """What the command wrote as JSON, and the folder of the model."""
    out = tmp_path_factory.mktemp("finetune") / "model"
    options = ("--label", "y", "--out", out, "--steps", 4, "--json")
    said = metamae("finetune", runs / "series", data / "series.npz", *options)
    assert said.status == 0, said.err
    return json.loads(said.out), out


def test_everything_is_compared_on_the_same_test_samples(tuned):
    found, out = tuned
    names = [r["representation"] for r in found["results"]]
    assert names == ["finetuned", "scratch", "linear_probe", "raw"]
    for row in found["results"]:
        low, high = row["interval"]
        assert 0 <= low <= row["score"] <= high <= 1 and row["num_test"] == 24
    assert found["verdict"].startswith("Fine-tuning") and "scratch" in found["verdict"]
    assert any("saw the test samples" in note for note in found["notes"])
    assert json.loads((out / "results.json").read_text()) == found


def test_predictions_are_classes_with_probabilities(tuned, data, tmp_path):
    _, model = tuned
    said = metamae("predict", model, data / "series.npz", "--out", tmp_path / "p.csv")
    assert said.status == 0, said.err
    assert said.out == "" and "80 predictions written" in said.err
    with (tmp_path / "p.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 80 and list(rows[0]) == ["sample", "predicted", "p 0", "p 1"]
    for row in rows:
        chances = [float(row["p 0"]), float(row["p 1"])]
        assert sum(chances) == pytest.approx(1)
        assert row["predicted"] == str(int(np.argmax(chances)))


def test_numbers_are_predicted_in_the_units_of_the_label(runs, data, tmp_path):
    options = ("--label", "size", "--out", tmp_path / "model", *FAST)
    said = metamae("finetune", runs / "table", data / "table.csv", *options)
    assert said.status == 0 and "r2" in said.out and "trained from scratch" not in said.out
    out = tmp_path / "p.parquet"
    assert metamae("predict", tmp_path / "model", data / "table.csv", "--out", out).status == 0
    import pyarrow.parquet as pq

    table = pq.read_table(out)
    assert table.column_names == ["sample", "predicted"]
    assert table["predicted"].type == "double"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--label", "yy"], "has no field 'yy'. Did you mean 'y'?"),
        (["--label", "X"], "Label 'X' must not have been an input of the encoder"),
        (["--label", "y", "--how", "lorra"], "Did you mean 'lora'?"),
        (
            ["--label", "y", "--how", "last"],
            "Finetune.blocks must be between 1 and the encoder's 1",
        ),
        (["--label", "y", "--how", "lora", "--rank", "99"], "Finetune.rank must be between 1 and"),
        (["--label", "y", "--steps", "0"], "Finetune.steps must be a whole number of at least 1"),
        (["--label", "y", "--steps", "1", "--epochs", "1"], "one budget of steps, minutes and"),
        (["--label", "y", "--batch-size", "999"], "Finetune.batch_size must be at most"),
        (["--label", "y", "--lr", "-1"], "Finetune.lr must be a number"),
        (["--label", "y", "--split", "y"], "must say 'test' of some samples"),
        (["--label", "y", "--seed", "-1"], "Finetune.seed must be a whole number of at least 0"),
    ],
)
def test_mistakes_are_named_before_anything_is_written(runs, data, tmp_path, options, message):
    out = tmp_path / "model"
    said = metamae("finetune", runs / "series", data / "series.npz", "--out", out, *options)
    assert message in refused(said)
    assert not out.exists()


def test_a_model_is_replaced_only_if_asked(tuned, runs, data):
    _, out = tuned
    options = ("--label", "y", "--out", out, *FAST)
    message = refused(metamae("finetune", runs / "series", data / "series.npz", *options))
    assert "holds a fine-tuned model; --overwrite replaces it" in message


def test_a_folder_of_something_else_is_never_replaced(runs, data):
    options = ("--label", "y", "--out", runs / "series", "--overwrite", *FAST)
    message = refused(metamae("finetune", runs / "series", data / "series.npz", *options))
    assert "other files, which are never removed" in message


def test_predict_wants_a_fine_tuned_model(runs, data, tmp_path):
    arguments = ("predict", runs / "series", data / "series.npz", "--out")
    assert "must be the folder of a fine-tuned model" in refused(
        metamae(*arguments, tmp_path / "p.csv")
    )
    assert "must end in a known kind of file" in refused(metamae(*arguments, tmp_path / "p.xls"))
