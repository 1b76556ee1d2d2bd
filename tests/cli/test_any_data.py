"""From the command line: schemas that are edited, settings of readers, bad samples set aside."""

import json
import shutil
import tomllib

import numpy as np
import pytest

import metamae
from command import metamae as run
from command import pretrain, refused


@pytest.fixture
def images(data, tmp_path):
    """A folder of 60 images, of which three are bad: two cut off, one of another format."""
    folder = tmp_path / "images"
    shutil.copytree(data / "images", folder)
    for name in ("dark/03.png", "light/07.png"):
        raw = (folder / name).read_bytes()
        (folder / name).write_bytes(raw[: len(raw) // 2])
    (folder / "dark" / "04.png").write_text("this is no image")
    return folder


def listed(out):
    return [json.loads(line) for line in (out / "set_aside.jsonl").read_text().splitlines()]


def test_bad_files_stop_a_run_before_it_begins(images, tmp_path):
    said = pretrain(images, tmp_path / "run", steps=2)
    assert said.status == 2
    assert "--skip-bad" in said.err and "Traceback" not in said.err
    assert not (tmp_path / "run").exists()
    assert "04.png" in said.err


def test_as_many_as_allowed_are_set_aside_and_listed(images, tmp_path):
    out = tmp_path / "run"
    said = pretrain(images, out, "--skip-bad", 3, steps=2)
    assert said.status == 0, said.err
    assert "3 bad samples were set aside" in said.err
    bad = listed(out)
    names = [name for name in ("03.png", "04.png", "07.png") for one in bad if name in one["where"]]
    assert names == ["03.png", "04.png", "07.png"] and all(one["reason"] for one in bad)
    assert tomllib.loads((out / "config.toml").read_text())["data"]["samples"] == 57
    message = pretrain(images, tmp_path / "other", "--skip-bad", 2, steps=2).err
    assert "at most 2 bad samples (--skip-bad); got 3" in message
    # Other commands have the same choice, and leave the same samples out.
    vectors = tmp_path / "v.npz"
    assert run("embed", out, images, "--out", vectors).status == 2
    assert run("embed", out, images, "--out", vectors, "--skip-bad", 3).status == 0
    kept = np.load(vectors)["sample"].tolist()
    assert len(kept) == 57 and not any("03.png" in name and "dark" in name for name in kept)
    said = run("evaluate", out, images, "--label", "label", "--skip-bad", 3, "--json")
    assert said.status == 0 and json.loads(said.out)["num_test"] > 0


def test_a_resumed_run_sets_the_same_aside(images, tmp_path):
    out = tmp_path / "run"
    assert pretrain(images, out, "--skip-bad", 3, steps=4, checkpoint_every=2).status == 0
    (out / "model.safetensors").unlink()
    bad = listed(out)
    newest = max((out / "checkpoints").iterdir())
    if newest.is_dir():
        shutil.rmtree(newest)
    else:
        newest.unlink()
    # What was allowed is part of the run; it need not be said again.
    said = pretrain(images, out, "--resume", steps=4, checkpoint_every=2)
    assert said.status == 0, said.err
    assert metamae.load(out).finished
    assert listed(out) == bad and len(bad) == 3
    (out / "set_aside.jsonl").write_text("{}")
    assert "must be the list of samples" in refused(pretrain(images, out, "--resume"))


def test_a_schema_is_written_edited_and_taken(data, tmp_path):
    path, out = tmp_path / "schema.toml", tmp_path / "run"
    said = run("inspect", data / "table.csv", "--write", path)
    assert said.status == 0, said.err
    found = tomllib.loads(path.read_text())
    assert {f["name"]: f["role"] for f in found["field"]} == dict.fromkeys(
        ("a", "b", "c", "kind", "size"), "input"
    )
    message = refused(run("inspect", data / "table.csv", "--write", path))
    assert "must not exist yet" in message
    head, kind, tail = path.read_text().partition('name = "kind"\nrole = "input"')
    assert kind
    path.write_text(f'{head}name = "kind"\nrole = "label"{tail}')
    assert pretrain(data / "table.csv", out, "--schema", path, steps=2).status == 0
    assert metamae.load(out).schema.modality.columns == ("a", "b", "c", "size")
    assert run("evaluate", out, data / "table.csv", "--label", "kind").status == 0


@pytest.mark.parametrize("name", ["series.npz", "words.csv", "images"])
def test_a_schema_that_nobody_edited_changes_nothing(data, tmp_path, name):
    path = tmp_path / "schema.toml"
    assert run("inspect", data / name, "--write", path).status == 0
    plain, declared = tmp_path / "plain", tmp_path / "declared"
    assert pretrain(data / name, plain, steps=2).status == 0
    said = pretrain(data / name, declared, "--schema", path, steps=2)
    assert said.status == 0, said.err
    a, b = metamae.load(plain), metamae.load(declared)
    assert a.schema.modality == b.schema.modality
    assert np.array_equal(a.embed(data / name), b.embed(data / name))


def test_several_fields_come_from_a_schema(data, tmp_path):
    columns = np.load(data / "series.npz")
    texts = np.array([f"series number {n}" for n in range(80)])
    np.savez(tmp_path / "both.npz", signal=columns["X"], note=texts, y=columns["y"])
    path, out = tmp_path / "schema.toml", tmp_path / "run"
    assert run("inspect", tmp_path / "both.npz", "--write", path).status == 0
    fields = {f["name"]: f for f in tomllib.loads(path.read_text())["field"]}
    assert fields["signal"]["kind"] == "series" and fields["note"]["kind"] == "symbols"
    said = pretrain(tmp_path / "both.npz", out, "--schema", path, steps=2)
    assert said.status == 0, said.err
    assert metamae.load(out).schema.modality.kind == "mixture"
    assert metamae.load(out).embed(tmp_path / "both.npz").shape[0] == 80


def test_settings_of_a_reader_stay_with_the_run(data, tmp_path):
    out = tmp_path / "run"
    assert pretrain(data / "images", out, "--reader", "images", steps=2, mode="L").status == 0
    assert tomllib.loads((out / "config.toml").read_text())["reader"] == {
        "name": "images",
        "mode": "L",
    }
    loaded = metamae.load(out)
    assert loaded.schema.modality.channels == 1
    assert loaded.embed(data / "images").shape[0] == 60
    message = refused(pretrain(data / "series.npz", tmp_path / "x", "--reader", "npy", steps=2))
    assert "must be a complete .npy file" in message
    message = refused(pretrain(data / "series.npz", tmp_path / "x", "--reader", "imges", steps=2))
    assert "Did you mean 'images'" in message


def test_what_looks_wrong_is_said(tmp_path):
    rng = np.random.default_rng(0)
    rows = [f"{n},{rng.normal():.3f},{rng.normal():.3f},{n % 2},{'ab'[n % 2]}" for n in range(60)]
    text = "\n".join(["id,a,b,code,diagnosis", *rows, rows[3], rows[4]])
    (tmp_path / "t.csv").write_text(text + "\n")
    said = run("inspect", tmp_path / "t.csv", "--label", "diagnosis", "--ignore", "id", "--json")
    notes = " ".join(json.loads(said.out)["notes"])
    assert "2 of 62 samples repeat another one exactly" in notes
    assert "column 'code' determines field 'diagnosis'" in notes
    assert "label 'diagnosis' is among the inputs: --ignore diagnosis" in notes
    (tmp_path / "u.csv").write_text("\n".join(["id,a,b,code,diagnosis", *rows]) + "\n")
    said = run("inspect", tmp_path / "u.csv", "--test", tmp_path / "t.csv", "--json")
    notes = " ".join(json.loads(said.out)["notes"])
    assert "column 'id' has a different value in every row" in notes
    assert "62 of 62 test samples are nearly equal to a training sample" in notes
    message = refused(run("inspect", tmp_path / "u.csv", "--split", "cod"))
    assert "Did you mean 'code'" in message


def test_settings_of_the_reader_for_other_commands(data, tmp_path):
    folder, out = tmp_path / "images", tmp_path / "run"
    shutil.copytree(data / "images", folder)
    assert pretrain(folder, out, steps=2).status == 0
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    table = tmp_path / "elsewhere.csv"
    table.write_text("file,size\n" + "".join(f"{name},{n}\n" for n, name in enumerate(names)))
    asked = ["--label", "size", "--evaluation", "knn", "--json"]
    assert "size" in refused(run("evaluate", out, folder, *asked))
    said = run("evaluate", out, folder, *asked, "--set", f"labels={table}")
    assert said.status == 0, said.err
    assert json.loads(said.out)["task"]["kind"] == "regression"
    vectors = tmp_path / "v.npy"
    assert "no setting 'label'" in refused(
        run("embed", out, folder, "--out", vectors, "--set", "label=x")
    )
    assert run("embed", out, folder, "--out", vectors, "--set", "reader.labels=none").status == 0
