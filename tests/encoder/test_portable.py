import json
import shutil

import numpy as np
import pytest

from command import metamae, refused
from metamae import ArtifactError, ConfigError, from_pretrained, load
from metamae.core.atomic import write_text_atomically
from metamae.encoder import portable as folders

FILES = ["README.md", "config.json", "model.safetensors", "schema.json"]
SOURCES = {
    "series": "series.npz",
    "table": "table.csv",
    "words": "words.csv",
    "images": "images",
}


@pytest.fixture(scope="module")
def saved(runs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "series"
    load(runs / "series").save_pretrained(folder)
    return folder


@pytest.mark.parametrize("name", SOURCES)
def test_what_was_saved_embeds_as_the_run_does(runs, data, tmp_path, name):
    run = load(runs / name)
    run.save_pretrained(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == FILES
    found = from_pretrained(tmp_path / "out")
    assert found.schema == run.schema
    assert found.finished == run.finished
    expected = run.embed(data / SOURCES[name])
    assert np.array_equal(found.embed(data / SOURCES[name]), expected)


def test_only_the_encoder_is_kept(runs, saved):
    whole = (runs / "series" / "model.safetensors").stat().st_size
    assert (saved / "model.safetensors").stat().st_size < whole
    found = from_pretrained(saved)
    assert {name.partition(".")[0] for name in found.module.state_dict()} == {"backbone"}


def test_commands_take_the_folder_for_a_run(saved, data, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    said = metamae("embed", copy, data / "series.npz", "--out", tmp_path / "v.npy")
    assert said.status == 0, said.err
    assert np.array_equal(
        np.load(tmp_path / "v.npy"), from_pretrained(copy).embed(data / "series.npz")
    )


def test_no_path_of_this_machine_is_written(saved, data):
    for name in ("README.md", "config.json", "schema.json"):
        assert str(data) not in (saved / name).read_text(), name
    assert json.loads((saved / "config.json").read_text())["run"]["data"]["source"] == "series.npz"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/a/b/c.npz", "c.npz"),
        (r"C:\a\c.npz", "c.npz"),
        ("a/b/", "b"),
        ("array", "array"),
        ("", ""),
    ],
)
def test_bare_names(path, name):
    assert folders.bare_name(path) == name


def test_what_needs_the_decoder_says_so(runs, saved, data, tmp_path):
    found = from_pretrained(saved)
    with pytest.raises(ConfigError, match=r"EncoderOnly must have a decoder to reconstruct"):
        found.reconstruct(data / "series.npz")
    with pytest.raises(ConfigError, match=r"EncoderOnly must have an inner step"):
        from_pretrained(saved, adapted=True)
    with pytest.raises(ConfigError, match=r"Pretrained\.adapted must be False.*got True"):
        load(runs / "series", adapted=True).save_pretrained(tmp_path / "out")
    with pytest.raises(ConfigError, match=r"EncoderOnly must not be trained"):
        found.module({}, None)
    assert not (tmp_path / "out").exists()


def test_nothing_is_replaced(saved, runs, tmp_path):
    before = (saved / "config.json").read_bytes()
    with pytest.raises(ArtifactError, match=r"must be new or empty; something is there"):
        load(runs / "series").save_pretrained(saved)
    assert (saved / "config.json").read_bytes() == before
    (tmp_path / "empty").mkdir()
    load(runs / "series").save_pretrained(tmp_path / "empty")
    from_pretrained(tmp_path / "empty")


def test_all_of_the_folder_or_nothing(runs, tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(folders, "write_tensors", full_disk)
    with pytest.raises(ArtifactError, match="no space left"):
        load(runs / "series").save_pretrained(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_other_folders_are_refused(runs, tmp_path):
    with pytest.raises(ArtifactError, match=r"must be a folder that `save_pretrained` wrote"):
        from_pretrained(runs / "series")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ArtifactError, match=r"must describe a model of metamae"):
        from_pretrained(tmp_path)
    assert "must be the folder of a run" in refused(
        metamae("embed", tmp_path, "x.npy", "--out", tmp_path / "v.npy")
    )


@pytest.mark.parametrize("name", ["model.safetensors", "schema.json", "config.json"])
def test_damaged_folders_are_refused(saved, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    whole = (copy / name).read_bytes()
    (copy / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ArtifactError, match=r"must (hold|describe)"):
        from_pretrained(copy)
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match="must"):
        from_pretrained(copy)


def test_weights_of_another_encoder_are_refused(saved, runs, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    load(runs / "table").save_pretrained(tmp_path / "table")
    shutil.copy(tmp_path / "table" / "model.safetensors", copy / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"must hold a whole pretrained encoder; got: Error"):
        from_pretrained(copy)


def test_newer_folders_are_refused(saved, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(saved, copy)
    values = json.loads((copy / "config.json").read_text())
    write_text_atomically(copy / "config.json", json.dumps({**values, "format": 99}))
    with pytest.raises(ArtifactError, match=r"format 1 or older; got 99.*upgrade"):
        from_pretrained(copy)
