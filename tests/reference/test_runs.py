"""Runs of version 0.1.0 load, and give what they gave."""

import csv
import json
import shutil

import numpy as np
import pytest
from safetensors.torch import load_file

import metamae

from .made import (
    DATA,
    DIGESTS,
    FINETUNED,
    FOLDER,
    INTERRUPTED,
    KEPT,
    PORTABLE,
    RUNS,
    SAMPLES,
    VECTORS,
    digest,
    losses,
    pretrain,
    source,
    vectors,
)
from .same import assert_same, is_this_machine

# Float32 elsewhere: 20 steps carry a difference in the last digit on.
LOOSE = {} if is_this_machine() else {"rtol": 1e-2, "atol": 1e-3}


def test_nobody_has_touched_the_files():
    expected = json.loads(DIGESTS.read_text())
    there = {p.relative_to(FOLDER).as_posix(): p for p in FOLDER.rglob("*") if p.is_file()}
    kept = {name for name in there if name.startswith(("data/", "runs/"))}
    assert kept == {name for name in expected if "/" in name}
    assert {name: digest(there[name]) for name in expected} == expected


@pytest.mark.parametrize(("modality", "method"), KEPT)
def test_a_run_loads_and_gives_the_same_vectors(modality, method):
    with np.load(VECTORS) as file:
        expected = file[f"{modality}-{method}"]
    assert len(expected) == SAMPLES and np.ptp(expected, axis=0).min() > 0
    np.testing.assert_allclose(vectors(modality, method), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("modality", "method"), KEPT)
def test_the_same_training_gives_the_same_run(modality, method, tmp_path):
    pretrain(modality, method, tmp_path / "run")
    _assert_same_run(tmp_path / "run", RUNS / f"{modality}-{method}")


def test_an_interrupted_run_goes_on(tmp_path):
    run = shutil.copytree(INTERRUPTED, tmp_path / "run")
    pretrain("grid", "metamae", run, resume=True, checkpoint_every=10)
    _assert_same_run(run, RUNS / "grid-metamae")


def test_a_portable_folder_loads():
    records = metamae.load(RUNS / "table-metamae").config.read(source("table"))
    found = metamae.from_pretrained(PORTABLE).embed(records.subset(np.arange(SAMPLES)))
    with np.load(VECTORS) as file:
        np.testing.assert_allclose(found, file["table-metamae"], rtol=1e-6, atol=1e-6)


def test_a_fine_tuned_model_loads_and_predicts(tmp_path):
    out = tmp_path / "predicted.csv"
    metamae.predict(FINETUNED, DATA / "table.csv", out)
    expected = json.loads((FOLDER / "commands" / "predict.json").read_text())
    with out.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == expected["files"]["predicted.csv"][0]
    assert [row[1] for row in rows] == [row[1] for row in expected["files"]["predicted.csv"]]


def _assert_same_run(found, expected):
    assert len(losses(found)) == 20
    assert_same(losses(found), losses(expected), **LOOSE)
    new = load_file(found / "model.safetensors")
    old = load_file(expected / "model.safetensors")
    assert new.keys() == old.keys()
    for name, value in old.items():
        assert_same(new[name].flatten().tolist(), value.flatten().tolist(), **LOOSE)
