"""`metamae pretrain` from the command line: what works, and every mistake that has a message."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from command import TINY, metamae, pretrain, refused, settings
from metamae import load
from metamae.training.log import read_metrics


def test_a_run_says_what_it_does_on_standard_error(data, tmp_path):
    said = pretrain(data / "series.npz", tmp_path / "run", steps=2, cell=4)
    assert said.status == 0 and said.out == ""
    first, *rest = said.err.splitlines()
    assert "CPU" in first and "float32" in first and "attention" in first and "metamae" in first
    assert any("input is field 'X'; left out: y" in line for line in rest)
    assert any(line.startswith("2 steps in") for line in rest)
    assert "R²" in said.err and all(line for line in rest)


def test_a_report_is_written_at_the_end(data, tmp_path):
    command = ("pretrain", data / "series.npz", *settings(**TINY, steps=2))
    said = metamae(*command, "--out", tmp_path / "run")
    assert said.status == 0 and "no report" not in said.err
    assert "<html" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert metamae(*command, "--out", tmp_path / "other", "--skip-report").status == 0
    assert not (tmp_path / "other" / "report.html").exists()


def test_metrics_hold_what_was_promised(data, tmp_path):
    said = pretrain(data / "series.npz", tmp_path / "run", steps=6, log_every=2, inner_from=0)
    assert said.status == 0
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines] == [2, 4, 6]
    for name in ("loss", "r2", "contrast", "support_before"):
        assert all(math.isfinite(line[name]) for line in lines)
    checked = ("r2", "r2_before", "contrast", "support_before", "support_after", "query_before")
    assert all(math.isfinite(lines[-1][f"held_out_{name}"]) for name in checked)
    assert {"effective_rank", "feature_std"} <= lines[-1].keys()
    assert lines[-1]["samples_per_second"] > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_files_are_written_when_asked_for(data, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    out = tmp_path / "run"
    assert pretrain(data / "series.npz", out, "--tensorboard", steps=4, log_every=2).status == 0
    events = EventAccumulator(str(out / "tensorboard")).Reload()
    logged = {line["step"]: line["loss"] for line in read_metrics(out / "metrics.jsonl")}
    shown = {event.step: event.value for event in events.Scalars("loss")}
    assert shown == pytest.approx(logged)
    assert pretrain(data / "series.npz", tmp_path / "other", steps=1).status == 0
    assert not (tmp_path / "other" / "tensorboard").exists()


def test_the_same_seed_gives_the_same_run(data, tmp_path):
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        said = pretrain(data / "table.csv", tmp_path / name, "--seed", seed, steps=3, dropout=0.1)
        assert said.status == 0
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1] != weights[2]


def test_epochs_are_passes_over_the_training_data(data, tmp_path):
    # 80 series less 4 that are held out are 4 batches of 16.
    assert pretrain(data / "series.npz", tmp_path / "run", epochs=2, batch_size=16).status == 0
    assert read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]["step"] == 8


@pytest.mark.parametrize("method", ["mae", "metamae"])
@pytest.mark.parametrize("masking", ["random", "block", "span"])
def test_methods_and_maskings_go_together(data, tmp_path, method, masking):
    out = tmp_path / "run"
    said = pretrain(data / "series.npz", out, "--method", method, masking=masking, steps=2)
    assert said.status == 0
    config = load(out).config
    assert (config.method, config.masking) == (method, masking)


@pytest.mark.parametrize(
    "assignment",
    ["train.lr=0.25", "lr=0.25", "lr= 0.25", "lr=2.5e-1", " lr =0.25"],
)
def test_assignments_are_read_as_toml(data, tmp_path, assignment):
    said = pretrain(data / "series.npz", tmp_path / "run", "--set", assignment, steps=1)
    assert said.status == 0
    assert load(tmp_path / "run").config.train.lr == 0.25


def test_options_speak_louder_than_assignments(data, tmp_path):
    out = tmp_path / "run"
    said = metamae(
        *("pretrain", data / "series.npz", "--out", out, "--steps", 2, "--seed", 8),
        *settings(**TINY, steps=900, seed=1, schedule="constant"),
    )
    assert said.status == 0
    config = load(out).config
    assert (config.train.steps, config.seed, config.train.schedule) == (2, 8, "constant")


def samples(shape, kind="f4", seed=0):
    return np.random.default_rng(seed).normal(100, 20, shape).astype(kind)


@pytest.mark.parametrize(
    ("name", "array", "kind"),
    [
        ("bytes", samples((40, 8, 8), "u1"), "grid"),
        ("colours", samples((40, 8, 8, 3), "u1"), "grid"),
        ("doubles", samples((40, 3, 20), "f8"), "grid"),
        ("halves", samples((40, 3, 20), "f2"), "grid"),
        ("integers", samples((40, 3, 20), "i8"), "grid"),
        ("volumes", samples((20, 1, 4, 4, 4)), "grid"),
        ("big endian", samples((40, 2, 20), ">f4"), "grid"),
        ("fortran", np.asfortranarray(samples((40, 2, 20))), "grid"),
        ("booleans", samples((40, 6)) > 100, "table"),
        ("ten samples", samples((10, 5)), "table"),
        ("two samples", samples((2, 5)), "table"),
        ("a constant channel", samples((40, 2, 20)) * [[[1], [0]]], "grid"),
        ("strings", np.array(["ACGT", "GGC", "TA"] * 10), "symbols"),
    ],
)
def test_legal_arrays_of_all_sorts(tmp_path, name, array, kind):
    path = tmp_path / f"{name} ü.npy"
    np.save(path, array)
    path.chmod(0o444)
    out, vectors = tmp_path / "ein Lauf", tmp_path / "vectors.npy"
    said = pretrain(path, out, steps=2)
    assert said.status == 0, said.err
    assert load(out).schema.modality.kind == kind
    assert metamae("embed", out, path, "--out", vectors).status == 0
    found = np.load(vectors)
    width = load(out).schema.modality.embedding_width(16)
    assert found.shape == (len(array), width) and np.isfinite(found).all()


def test_parquet_with_all_that_a_data_frame_holds(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "number": rng.normal(size=50),
            "gaps": np.where(rng.random(50) < 0.3, np.nan, 1.0 * rng.integers(0, 9, 50)),
            "words": rng.choice(["x", "y", None], 50),
            "category": pd.Categorical(rng.choice(["p", "q"], 50)),
            "integer": pd.array(rng.integers(0, 5, 50), dtype="Int64"),
            "flag": rng.random(50) < 0.5,
            "when": pd.date_range("2020-01-01", periods=50),
            "constant": 1.0,
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    said = pretrain(tmp_path / "t.parquet", tmp_path / "run", steps=2)
    assert said.status == 0
    names = {column.name for column in load(tmp_path / "run").schema.modality.measured}
    assert {"number", "gaps", "words", "category", "integer", "flag"} <= names
    assert "constant" not in names and "column 'constant' is left out: it is constant" in said.err


def spoiled(array, value, *where):
    array = array.astype("f8")
    array[where] = value
    return array


def write(folder, name, content):
    path = folder / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content)
    return path


NUMBERS = "a,b\n" + "".join(f"{n},{n * n % 7}\n" for n in range(60))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", "", "got an empty file"),
        ("empty.npy", b"", "must be a complete .npy file"),
        ("empty.npz", b"", "must be a complete .npz file"),
        ("empty.parquet", b"", "empty.parquet must be"),
        ("header.csv", "a,b\n", "got only a header"),
        ("cut.npy", np.lib.format.magic(1, 0) + b"\0\0", "must be a complete .npy file"),
        ("ragged.csv", "a,b\n1,2\n3\n", "line 3: must have 2 columns"),
        ("mixed.csv", NUMBERS + "oops,3\n", "line 62, column 'a': must be a number"),
        ("column.csv", "a\n1\n2\n3\n", "a table must have at least 2 columns that vary; got 1"),
        ("infinite.npy", spoiled(samples((60, 5)), np.inf, 24, 3), "sample 24: column '3'"),
        ("infinite3.npy", spoiled(samples((60, 2, 9)), -np.inf, 24), "values must be finite"),
        ("infinite.csv", NUMBERS + "inf,3\n", "62: column 'a' must hold finite numbers"),
        ("missing.npy", spoiled(samples((60, 5)), np.nan, 24), "sample 24: a row must hold"),
        (
            "missing3.npy",
            spoiled(samples((60, 2, 9)), np.nan, 24),
            "sample 24: values must be finite",
        ),
        ("missing.csv", NUMBERS + ",\n", "62: a row must hold at least one known value"),
        ("nothing.npy", np.full((60, 2, 9), np.nan), "sample 0: values must be finite numbers"),
        ("constant.npy", np.ones((60, 5)), "at least 2 columns that vary; got 0"),
        ("constant3.npy", np.ones((60, 2, 9)), "got the constant 1 everywhere"),
        ("one.npy", samples((1, 5)), "at least 2 samples to learn from; got n_samples = 1"),
        ("numbers.npy", samples(60), "one number per sample"),
        ("complex.npy", samples((60, 5)) * 1j, "must hold numbers or strings; got complex"),
        ("data.xlsx", b"PK", "data.xlsx"),
        ("same.npy", np.array(["AAAA", "AAA"] * 9), "at least 2 different symbols; got ['A']"),
    ],
)
def test_bad_data_stop_the_run_before_it_begins(tmp_path, name, content, message):
    path = write(tmp_path, name, content)
    # So many steps that the bad sample would be met, were it not looked for first.
    found = refused(pretrain(path, tmp_path / "run", steps=500))
    assert message in found and name in found
    assert not (tmp_path / "run").exists()


def test_a_bad_sample_that_no_statistics_have_seen_stops_it_too(tmp_path, monkeypatch):
    from metamae.modalities.grid import scaled

    monkeypatch.setattr(scaled, "STATISTICS_FROM", 32)
    x = samples((300, 2, 8))
    x[231, 1, 3] = np.inf
    path = write(tmp_path, "x.npy", x)
    found = refused(pretrain(path, tmp_path / "run", steps=500))
    assert "sample 231" in found and not (tmp_path / "run").exists()


def test_a_missing_file_offers_the_nearest(data, tmp_path):
    found = refused(pretrain(data / "serie.npz", tmp_path / "run", steps=1))
    assert "must be the path of something that exists" in found
    assert f"Did you mean '{data / 'series.npz'}'" in found


@pytest.mark.parametrize("kind", ["truncated", "empty", "grey", "text"])
def test_a_bad_image_is_named(tmp_path, kind):
    folder = tmp_path / "images"
    folder.mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
    bad = folder / "07.png"
    if kind == "truncated":
        bad.write_bytes(bad.read_bytes()[:-30])
    elif kind == "grey":
        Image.new("L", (8, 8)).save(bad)
    else:
        bad.write_bytes(b"" if kind == "empty" else b"this is no image")
    assert "07.png" in refused(pretrain(folder, tmp_path / "run", steps=1))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (settings(batch_size=500), "at most the number of training samples; got 500 for 76"),
        (settings(batch_size=1), "Train.batch_size must be a whole number of at least 2; got 1"),
        (settings(lrr=1), "Unknown setting 'lrr'. Did you mean 'lr'?"),
        (settings(**{"method.lr": 1}), "Unknown setting 'method.lr'"),
        (["--set", "lr"], "--set must be key=value; got 'lr'"),
        (["--set", "=3"], "--set must be key=value"),
        (settings(lr="fast"), "Train.lr must be a number"),
        (settings(lr=-1), "Train.lr must be a number strictly between 0"),
        (settings(heads=3), "Network.width must be even and a multiple of Network.heads"),
        (settings(ratio=1.5), "RandomMasking.ratio must be"),
        (settings(inner_steps=0), "MetaMAE.inner_steps must be a whole number of at least 1"),
        (settings(cell=99), "Grid.cell[0] must lie between 1 and Grid.size[0] = 16; got 99"),
        (settings(max_length=9), "Modality 'grid' has no setting 'max_length'"),
        (["--method", "metamea"], "Unknown method 'metamea'. Did you mean 'metamae'?"),
        (settings(masking="blok"), "Unknown masking 'blok'. Did you mean 'block'?"),
        (["--size", "huge"], "Pretrain.size must be one of its known values; got 'huge'"),
        (["--modality", "odour"], "Pretrain.modality must be one of its known values"),
        (["--modality", "table"], "a table must have at least 2 columns"),
        (["--seed", "-1"], "Pretrain.seed must be a whole number of at least 0; got -1"),
        (["--steps", "0"], "Train.steps must be a whole number of at least 1; got 0"),
        (["--minutes", "0"], "Train.minutes must be a number strictly between 0"),
        (["--steps", "5", "--minutes", "5"], "one budget of steps, minutes and epochs"),
        (["--device", "cuda:7"], "device must be one that this machine has; got 'cuda:7'"),
        (["--ignore", "Y"], "has no field 'Y'"),
        (["--field", "Z"], "must hold the field asked for; got field='Z'"),
        (["--config", "none.toml"], "--config must be a readable TOML file; got none.toml"),
    ],
)
def test_bad_settings_are_named(data, tmp_path, options, message):
    out = tmp_path / "run"
    found = refused(metamae("pretrain", data / "series.npz", "--out", out, *options))
    assert message in found and not out.exists()


def test_the_configuration_lists_every_setting(data, tmp_path):
    assert pretrain(data / "series.npz", tmp_path / "run", steps=1).status == 0
    config = load(tmp_path / "run").config
    assert config.data["samples"] == 80 and config.data["held_out"] == 4
    text = (tmp_path / "run" / "config.toml").read_text()
    for name in ("inner_lr", "ratio", "lr", "batch_size", "width", "dropout", "seed", "version"):
        assert f"\n{name} = " in f"\n{text}"
    assert json.loads((tmp_path / "run" / "schema.json").read_text())["left_out"] == ["y"]
