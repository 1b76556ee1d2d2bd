"""`metamae embed`: every kind of file, and nothing written where something is wrong."""

import errno
import os

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from command import metamae, refused
from metamae import load
from metamae.encoder import embedding
from metamae.uses.embed import embed as verb
from metamae.uses.embed.partial_file import Unfinished


@pytest.fixture(scope="module")
def vectors(runs, data):
    return load(runs / "words").embed(data / "words.csv")


@pytest.fixture(scope="module")
def tokens(runs, data):
    return load(runs / "words").embed(data / "words.csv", tokens=True)


def embed(runs, data, out, *options):
    return metamae("embed", runs / "words", data / "words.csv", "--out", out, *options)


def read(path):
    """Read a table of vectors: names of the samples, places of the tokens or None, numbers."""
    frame = pd.read_csv(path) if path.suffix == ".csv" else pq.read_table(path).to_pandas()
    width = sum(name.startswith("e") for name in frame)
    assert list(frame)[-width:] == [f"e{n}" for n in range(width)]
    places = frame["token"].to_numpy() if "token" in frame else None
    return frame["sample"].to_numpy(), places, frame.iloc[:, -width:].to_numpy(np.float32)


def test_npy_holds_the_array(runs, data, vectors, tmp_path):
    said = embed(runs, data, tmp_path / "v.npy")
    assert said.status == 0 and said.out == ""
    assert f"60 samples x 16 written to {tmp_path / 'v.npy'}" in said.err
    found = np.load(tmp_path / "v.npy")
    assert found.dtype == np.float32 and np.array_equal(found, vectors)


def test_npz_holds_names_too(runs, data, vectors, tmp_path):
    assert embed(runs, data, tmp_path / "v.npz").status == 0
    with np.load(tmp_path / "v.npz", allow_pickle=False) as file:
        assert np.array_equal(file["X"], vectors)
        assert file["sample"].tolist() == list(range(2, 62))  # lines of the file


@pytest.mark.parametrize("end", [".csv", ".parquet", ".CSV"])
def test_tables_hold_a_row_per_sample(runs, data, vectors, tmp_path, end):
    path = tmp_path / f"v{end}"
    assert embed(runs, data, path).status == 0
    names, _, numbers = read(path.rename(path.with_suffix(end.lower())))
    assert names.tolist() == list(range(2, 62))
    np.testing.assert_allclose(numbers, vectors, rtol=1e-6)


def test_npz_holds_tokens_by_offset(runs, data, tokens, tmp_path):
    assert embed(runs, data, tmp_path / "v.npz", "--tokens").status == 0
    with np.load(tmp_path / "v.npz") as file:
        ends = file["offsets"]
        assert len(ends) == len(file["sample"]) + 1
        for number, own in enumerate(tokens):
            assert np.array_equal(file["X"][ends[number] : ends[number + 1]], own)


@pytest.mark.parametrize("end", [".csv", ".parquet"])
def test_tables_hold_a_row_per_token(runs, data, tokens, tmp_path, end):
    assert embed(runs, data, tmp_path / f"v{end}", "--tokens").status == 0
    names, places, numbers = read(tmp_path / f"v{end}")
    assert len(names) == sum(len(own) for own in tokens)
    for number in (0, 17, 59):
        own = names == number + 2
        assert places[own].tolist() == list(range(len(tokens[number])))
        np.testing.assert_allclose(numbers[own], tokens[number], rtol=1e-6)


def test_npy_holds_tokens_where_all_samples_have_as_many(runs, data, tmp_path):
    out = tmp_path / "v.npy"
    said = metamae("embed", runs / "series", data / "series.npz", "--out", out, "--tokens")
    assert said.status == 0
    assert np.load(out).shape == (80, load(runs / "series").schema.modality.num_tokens, 16)
    message = refused(embed(runs, data, tmp_path / "w.npy", "--tokens"))
    assert "different numbers of tokens" in message and not (tmp_path / "w.npy").exists()


def test_images_are_named_by_their_files(runs, data, tmp_path):
    out = tmp_path / "v.parquet"
    assert metamae("embed", runs / "images", data / "images", "--out", out).status == 0
    names, _, _ = read(out)
    assert names[0] == "dark/00.png" and names[-1] == "light/29.png"


def test_python_gives_what_the_file_holds(runs, data, vectors, tmp_path):
    found = verb.embed(runs / "words", data / "words.csv", tmp_path / "v.npy")
    assert np.array_equal(found, vectors) and (tmp_path / "v.npy").is_file()
    steps = []
    found = verb.embed(
        load(runs / "words"), data / "words.csv", progress=lambda a, b: steps.append((a, b))
    )
    assert np.array_equal(found, vectors) and steps[-1] == (60, 60)


def test_an_existing_file_is_kept_unless_told_otherwise(runs, data, vectors, tmp_path):
    (tmp_path / "v.npy").write_bytes(b"the user's")
    message = refused(embed(runs, data, tmp_path / "v.npy"))
    assert "must not exist yet" in message and "--overwrite replaces it" in message
    assert (tmp_path / "v.npy").read_bytes() == b"the user's"
    assert embed(runs, data, tmp_path / "v.npy", "--overwrite").status == 0
    assert np.array_equal(np.load(tmp_path / "v.npy"), vectors)


@pytest.mark.parametrize("end", [".npy", ".parquet"])
def test_a_full_disk_leaves_no_half_file(runs, data, tmp_path, monkeypatch, end):
    def sync(file):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", sync)
    (tmp_path / f"v{end}").write_bytes(b"old")
    assert "No space left" in refused(embed(runs, data, tmp_path / f"v{end}", "--overwrite"))
    assert [path.name for path in tmp_path.iterdir()] == [f"v{end}"]
    assert (tmp_path / f"v{end}").read_bytes() == b"old"


def test_ctrl_c_says_how_to_go_on(runs, data, vectors, tmp_path, monkeypatch):
    def stop(self, part):
        whole(self, part)
        if part.stop >= 30:
            raise KeyboardInterrupt

    whole = Unfinished.add
    monkeypatch.setattr(embedding, "MOST_SAMPLES", 10)
    monkeypatch.setattr(Unfinished, "add", stop)
    said = embed(runs, data, tmp_path / "v.npy")
    assert said.status == 130 and "stopped" in said.err
    assert "v.npy.partial keeps the first 30 samples: the same command goes on" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy.partial"]
    monkeypatch.setattr(Unfinished, "add", whole)
    said = embed(runs, data, tmp_path / "v.npy")
    assert said.status == 0 and "going on after the first 30 samples" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]
    assert np.array_equal(np.load(tmp_path / "v.npy"), vectors)


def test_a_folder_is_not_taken_for_the_file(runs, data, tmp_path):
    (tmp_path / "v.npy").mkdir()
    assert "must be a file; got a folder" in refused(
        embed(runs, data, tmp_path / "v.npy", "--overwrite")
    )


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("v.xlsx", "must end in a known kind of file"),
        ("v", "Known: .csv, .npy, .npz, .parquet"),
        ("none/v.npy", "must lie in a folder"),
    ],
)
def test_where_vectors_cannot_go(runs, data, tmp_path, out, message):
    assert message in refused(embed(runs, data, tmp_path / out))


@pytest.mark.parametrize(
    ("run", "file", "message"),
    [
        ("table", "series.npz", "has no field 'a'"),
        ("series", "images", "has no field 'X'"),
        ("table", "less.csv", "less.csv has no field 'b'"),
        ("table", "letters.csv", "column 'b' must hold numbers, as in training"),
        ("series", "channels.npy", "2 channel(s) x 16"),
        ("series", "infinite.npy", "infinite.npy, sample 1: "),
        ("images", "wide", "image, 3 channel(s) x 8 x 8"),
        ("series", "none.npy", "must be the path of something that exists"),
    ],
)
def test_data_that_do_not_fit_are_named(runs, data, tmp_path, run, file, message):
    from PIL import Image

    (tmp_path / "less.csv").write_text("a,c\n1,red\n2,blue\n")
    (tmp_path / "letters.csv").write_text("a,b,c\n1,x,red\n2,y,blue\n")
    np.save(tmp_path / "channels.npy", np.zeros((4, 3, 16)))
    np.save(tmp_path / "infinite.npy", np.float64([np.zeros((2, 16)), np.full((2, 16), np.inf)]))
    (tmp_path / "wide").mkdir()
    Image.new("RGB", (9, 8)).save(tmp_path / "wide" / "a.png")
    source = data / file if (data / file).exists() else tmp_path / file
    said = metamae("embed", runs / run, source, "--out", tmp_path / "v.npy")
    assert message in refused(said) and not (tmp_path / "v.npy").exists()


def test_a_truncated_image_is_named(runs, tmp_path):
    from PIL import Image

    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(3):
        Image.effect_noise((8, 8), 90).convert("RGB").save(folder / f"{number}.png")
    (folder / "1.png").write_bytes((folder / "1.png").read_bytes()[:-40])
    message = refused(metamae("embed", runs / "images", folder, "--out", tmp_path / "v.npy"))
    assert "1.png must be a complete image" in message
