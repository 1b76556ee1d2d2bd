"""A run as a folder: written whole, read back, and refused where something is wrong with it."""

import json
import shutil

import numpy as np
import pytest
import tomli_w
from safetensors.torch import load_file, save_file

from command import TINY, metamae, pretrain, refused
from metamae import load
from metamae.errors import ArtifactError
from metamae.run.folder import WRITTEN, claim, read_run
from metamae.training.checkpoint import read_tensors

OTHER = ("schema.json", "config.toml", "model.safetensors")


@pytest.fixture
def run(runs, tmp_path):
    """A copy of a run, to be damaged."""
    return shutil.copytree(runs / "series", tmp_path / "run")


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def embed(run, data, tmp_path):
    return metamae("embed", run, data / "series.npz", "--out", tmp_path / "vectors.npy")


def test_a_run_comes_back_as_it_was(runs):
    a, b = load(runs / "table"), load(str(runs / "table"))
    assert a.schema == b.schema and a.config == b.config and a.finished
    assert a.config.settings["method"]["inner_lr"] > 0
    assert a.config.network.width == TINY["width"]
    config, schema = read_run(runs / "table")
    assert type(schema).from_json(schema.to_json(), "here") == schema
    assert type(config).from_toml(config.to_toml(), "here") == config
    weights = load_file(runs / "table" / "model.safetensors")
    loaded = a.module.state_dict()
    assert loaded.keys() == weights.keys()
    assert all(np.array_equal(loaded[k], weights[k]) for k in weights)


def test_it_is_data_and_says_how_far_it_got(runs):
    names = {path.name for path in (runs / "series").iterdir()}
    assert names <= set(WRITTEN)
    state, facts = read_tensors(runs / "series" / "model.safetensors")
    assert facts == {"step": 3, "finished": True}
    assert state.keys() == load(runs / "series").module.state_dict().keys()


def test_a_moved_run_still_works(runs, data, tmp_path):
    moved = shutil.copytree(runs / "series", tmp_path / "ein Lauf (ü)")
    out = tmp_path / "v.npy"
    assert metamae("embed", moved, data / "series.npz", "--out", out).status == 0
    assert np.array_equal(np.load(out), load(runs / "series").embed(data / "series.npz"))


@pytest.mark.parametrize("name", OTHER)
def test_every_file_is_needed(run, data, tmp_path, name):
    (run / name).unlink()
    assert name in refused(embed(run, data, tmp_path))
    with pytest.raises(ArtifactError, match=name):
        load(run)


def truncated(raw):
    return raw[: len(raw) // 2]


def flipped(raw):
    """Change one bit of the last tensor."""
    return raw[:-3] + bytes([raw[-3] ^ 4]) + raw[-2:]


def garbage(raw):
    return bytes(range(256))


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("model.safetensors", truncated),
        ("model.safetensors", flipped),
        ("model.safetensors", garbage),
        ("schema.json", truncated),
        ("schema.json", garbage),
        ("schema.json", lambda raw: b"[]"),
        ("schema.json", lambda raw: b"{}"),
        ("schema.json", lambda raw: raw.replace(b'"grid"', b'"gird"')),
        ("config.toml", truncated),
        ("config.toml", garbage),
        ("config.toml", lambda raw: b""),
        ("config.toml", lambda raw: raw.replace(b"heads", b"haeds")),
        ("config.toml", lambda raw: raw.replace(b"heads = 2", b"heads = 5")),
        ("config.toml", lambda raw: raw.replace(b'"metamae"', b'"metamea"')),
        ("config.toml", lambda raw: raw.replace(b"inner_lr", b"outer_lr")),
    ],
)
def test_damage_is_named(run, data, tmp_path, name, damage):
    path = run / name
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert path.read_bytes() != before
    assert str(path) in refused(embed(run, data, tmp_path))
    assert not (tmp_path / "vectors.npy").exists()


def test_weights_of_another_network_are_refused(run, data, tmp_path, runs):
    shutil.copy(runs / "table" / "model.safetensors", run / "model.safetensors")
    message = refused(embed(run, data, tmp_path))
    assert "must hold the weights of this run" in message and "of another run" in message


def test_weights_without_a_digest_are_refused(run, data, tmp_path):
    path = run / "model.safetensors"
    save_file(load_file(path), path)
    assert "digest" in refused(embed(run, data, tmp_path))


def test_a_newer_format_asks_for_an_upgrade(run, data, tmp_path):
    schema = json.loads((run / "schema.json").read_text())
    (run / "schema.json").write_text(json.dumps({**schema, "format": 99}))
    message = refused(embed(run, data, tmp_path))
    assert "got 99" in message and "upgrade" in message


@pytest.mark.parametrize("what", ["file", "folder", "nothing"])
def test_what_is_no_run_is_refused(data, tmp_path, what):
    path = tmp_path / "thing"
    if what == "file":
        path.write_text("text")
    elif what == "folder":
        path.mkdir()
    message = refused(embed(path, data, tmp_path))
    assert "must be the folder of a run" in message and "metamae pretrain" in message


def test_an_existing_run_is_refused_with_the_ways_out(run, data):
    before = contents(run)
    message = refused(pretrain(data / "series.npz", run, steps=1))
    assert "--resume goes on with it, --overwrite removes it" in message
    assert contents(run) == before


def test_overwrite_replaces_a_run(run, data):
    assert pretrain(data / "series.npz", run, "--overwrite", steps=2, seed=5).status == 0
    assert load(run).config.seed == 5
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == [2]
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000002.safetensors"]


def test_overwrite_removes_nothing_that_a_run_did_not_write(run, data):
    (run / "vectors.npy").write_bytes(b"the user's")
    (run / "notes").mkdir()
    (run / "notes" / "a.txt").write_text("the user's")
    assert pretrain(data / "series.npz", run, "--overwrite", steps=2).status == 0
    assert (run / "vectors.npy").read_bytes() == b"the user's"
    assert (run / "notes" / "a.txt").read_text() == "the user's"


@pytest.mark.parametrize(
    "files",
    [
        {"thesis.tex": "years of work"},
        # A project of some other kind.
        {"config.toml": "title = 'a web site'", "content.md": "years of work"},
        {"schema.json": "{}", "data.json": "[]"},
    ],
)
@pytest.mark.parametrize("option", ["--overwrite", "--resume", None])
def test_other_folders_are_never_touched(data, tmp_path, files, option):
    folder = tmp_path / "work"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    before = contents(folder)
    message = refused(pretrain(data / "series.npz", folder, *([option] if option else []), steps=1))
    assert "must be new or empty" in message and "never removed" in message
    assert contents(folder) == before


def test_a_mistake_in_the_new_run_leaves_the_old_one(run, data, tmp_path):
    before = contents(run)
    again = ("--overwrite", "--steps", 1)
    assert "cell" in refused(pretrain(data / "series.npz", run, *again, cell=99))
    assert "batch_size" in refused(pretrain(data / "series.npz", run, *again, batch_size=500))
    assert "none.npz" in refused(pretrain(tmp_path / "none.npz", run, *again))
    assert contents(run) == before


def test_a_mistake_leaves_no_folder_behind(data, tmp_path):
    refused(pretrain(data / "series.npz", tmp_path / "run", "--steps", 1, cell=99))
    assert not (tmp_path / "run").exists()
    (tmp_path / "empty").mkdir()
    assert pretrain(data / "series.npz", tmp_path / "empty", steps=1).status == 0


def test_a_link_to_a_run_is_followed(run, data, tmp_path):
    link = tmp_path / "latest"
    link.symlink_to(run)
    assert pretrain(data / "series.npz", link, "--overwrite", steps=2, seed=9).status == 0
    assert link.is_symlink() and load(run).config.seed == 9


@pytest.mark.parametrize("out", ["/proc/run", "name" * 100, "nul\0byte", "{file}", "{file}/run"])
def test_a_folder_that_cannot_be(data, tmp_path, out):
    (tmp_path / "file").write_text("text")
    out = out.format(file=tmp_path / "file")
    assert "must be a folder" in refused(pretrain(data / "series.npz", out, steps=1))


def test_claiming_changes_nothing(run, tmp_path):
    before = contents(run)
    assert claim(run, overwrite=False, resume=True)
    assert not claim(run, overwrite=True, resume=False)
    assert not claim(tmp_path / "new", overwrite=False, resume=True)
    assert contents(run) == before and not (tmp_path / "new").exists()


def test_a_configuration_is_a_document_for_the_next_run(run, data, tmp_path):
    # As it stands; and with another budget, which takes the place of the file's.
    out = tmp_path / "same"
    said = metamae("pretrain", data / "series.npz", "--out", out, "--config", run / "config.toml")
    assert said.status == 0
    a, b = (load_file(folder / "model.safetensors") for folder in (run, out))
    assert all(np.array_equal(a[k], b[k]) for k in a)

    out = tmp_path / "epochs"
    options = ("--config", run / "config.toml", "--set", "epochs=1")
    assert metamae("pretrain", data / "series.npz", "--out", out, *options).status == 0
    train = load(out).config.train
    assert (train.epochs, train.steps) == (1, None)


def test_a_configuration_written_by_hand(data, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps({"method": "mae", "steps": 2, "network": TINY, "seed": 4}))
    options = ("--config", path, "--seed", 6)
    said = metamae("pretrain", data / "series.npz", "--out", tmp_path / "run", *options)
    assert said.status == 0
    config = load(tmp_path / "run").config
    assert (config.method, config.train.steps, config.seed) == ("mae", 2, 6)
