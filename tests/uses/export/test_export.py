import json
import pickle
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from command import TINY, metamae, refused
from metamae import ArtifactError, ConfigError, DataError, export, from_pretrained, load, pretrain
from metamae.data.records import Records
from metamae.schema.schema import Schema
from metamae.uses.export import inputs, program

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra 'onnx' is not installed",
)
SOURCES = {"series": "series.npz", "table": "table.csv", "words": "words.csv"}


def scaled(folder, records: Records, index) -> tuple[dict, list]:
    """Arguments of an exported program, made from what its folder says alone."""
    facts = json.loads((folder / "export.json").read_text())
    spec = Schema.from_json((folder / "schema.json").read_text(), "schema.json").modality
    batch = spec.whole_batch(records, np.array(index))
    return facts, [batch[one["name"]] for one in facts["inputs"]]


@pytest.mark.parametrize("name", SOURCES)
def test_a_torch_program_gives_the_vectors_of_its_source(runs, data, tmp_path, name):
    out = tmp_path / "out"
    facts = export(runs / name, out, format="torch", data=data / SOURCES[name])
    assert sorted(path.name for path in out.iterdir()) == [
        "export.json",
        "program.pt2",
        "schema.json",
    ]
    assert facts == json.loads((out / "export.json").read_text())
    assert facts["check"]["largest_difference"] <= facts["check"]["tolerance"] == 1e-4
    assert facts["check"]["samples"] > 20
    run = load(runs / name)
    records = run.records(data / SOURCES[name])
    module = torch.export.load(out / "program.pt2").module()
    for index in ([5], [9, 0, 30, 7, 8]):
        _, tensors = scaled(out, records, index)
        expected = run.embed(records.subset(np.array(index)))
        assert np.allclose(module(*tensors).detach().numpy(), expected, atol=1e-5)


def test_axes_that_differ_between_samples_are_open(runs, data, tmp_path):
    shapes = {}
    for name in ("series", "words"):
        facts = export(runs / name, tmp_path / name, data=data / SOURCES[name])
        shapes[name] = facts["inputs"][0]["shape"]
    spec = load(runs / "series").schema.modality
    assert shapes["series"] == ["batch", spec.num_tokens, spec.num_values]
    assert shapes["words"] == ["batch", "length"]


def test_missing_values_reach_the_program(runs, data, tmp_path):
    export(runs / "series", tmp_path / "out", data=data / "series.npz")
    x = np.load(data / "series.npz")["X"][:4].copy()
    x[1, :, :8], x[2, 0] = np.nan, np.nan
    run = load(runs / "series")
    _, tensors = scaled(tmp_path / "out", run.records(x), range(4))
    found = torch.export.load(tmp_path / "out" / "program.pt2").module()(*tensors)
    assert np.allclose(found.detach().numpy(), run.embed(x), atol=1e-5)


def test_regions_are_pooled_as_in_the_source(data, tmp_path):
    run, _ = pretrain(data / "images", settings={**TINY, "steps": 1}, ignore=["label"])
    assert run.schema.modality.token_regions is not None
    facts = export(run, tmp_path / "out", data=data / "images")
    assert facts["output"]["shape"] == ["batch", run.embedding_width]


def test_the_training_data_are_what_is_checked_on_if_nothing_else_is_given(runs, tmp_path):
    said = metamae("export", runs / "table", "--out", tmp_path / "out")
    assert said.status == 0, said.err
    assert "largest difference" in said.err
    assert (tmp_path / "out" / "program.pt2").is_file()


def test_a_program_that_differs_is_not_written(runs, data, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "_mean", lambda latent, weight: 1.01 * latent[:, :1])
    with pytest.raises(ArtifactError, match=r"must give the vectors of its source.*Nothing was"):
        export(runs / "series", tmp_path / "out", data=data / "series.npz")
    assert list(tmp_path.iterdir()) == []


def test_the_encoder_itself_is_left_as_it_was(runs, data, tmp_path):
    run = load(runs / "series")
    before = run.embed(data / "series.npz")
    export(run, tmp_path / "out", data=data / "series.npz")
    assert all(weight.requires_grad for weight in run.module.parameters())
    assert np.array_equal(run.embed(data / "series.npz"), before)


def test_huggingface_is_what_from_pretrained_reads(runs, data, tmp_path):
    said = metamae("export", runs / "words", "--out", tmp_path / "out", "--format", "huggingface")
    assert said.status == 0, said.err
    found = from_pretrained(tmp_path / "out").embed(data / "words.csv")
    assert np.array_equal(found, load(runs / "words").embed(data / "words.csv"))


def test_slips_are_refused(runs, data, tmp_path):
    message = refused(
        metamae("export", runs / "series", "--out", tmp_path / "o", "--format", "onx")
    )
    assert "Export.format" in message
    assert "onnx" in message
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("x")
    with pytest.raises(ArtifactError, match="must be new or empty"):
        export(runs / "series", tmp_path / "full")
    with pytest.raises(ConfigError, match=r"Export\.run must not be adapted"):
        export(load(runs / "series", adapted=True), tmp_path / "o")
    with pytest.raises(DataError, match=r"at least 4 samples.*got 2"):
        export(runs / "series", tmp_path / "o", data=np.zeros((2, 2, 16)))


def several(num: int = 40) -> Records:
    """Fields of every kind; each is missing in some samples, and lengths differ in three."""
    rng = np.random.default_rng(0)
    word, wave, cloud = (np.empty(num, dtype=object) for _ in range(3))
    word[:] = ["".join(rng.choice(list("abc"), rng.integers(3, 30))) for _ in range(num)]
    wave[:] = [rng.normal(size=(2, n)).astype(np.float32) for n in rng.integers(20, 90, num)]
    cloud[:] = [rng.normal(size=(n, 3)) for n in rng.integers(8, 60, num)]
    image, (size, mass) = rng.normal(size=(num, 1, 8, 8)), rng.normal(size=(2, num))
    word[1::5], wave[2::5], cloud[3::5] = None, None, None
    image[4::5], size[::5], mass[::5] = np.nan, np.nan, np.nan
    columns = {"word": word, "wave": wave, "cloud": cloud, "image": image}
    return Records({**columns, "size": size, "mass": mass}, "fields")


KINDS = {"word": "symbols", "wave": "grid", "cloud": "points", "image": "grid", "body": "table"}


@pytest.fixture(scope="module")
def mixed():
    parts = [{"name": name, "kind": kind} for name, kind in KINDS.items()]
    parts[1]["settings"] = {"axes": 1}
    parts[4]["columns"] = ["size", "mass"]
    settings = {**TINY, "steps": 1, "modality": "mixture", "parts": parts}
    return pretrain(several(), settings=settings)[0]


def test_a_program_of_a_mixture_has_arguments_for_each_field(mixed, tmp_path):
    out = tmp_path / "out"
    facts = export(mixed, out, data=several())
    assert facts["check"]["largest_difference"] <= 1e-4
    found = {one["name"]: one["shape"] for one in facts["inputs"]}
    assert {name.partition("/")[0] for name in found} == set(KINDS)
    assert found["word/codes"] == ["batch", "length_0"]
    assert found["wave/weight"] == ["batch", "length_1"]
    assert found["image/weight"] == ["batch", 16]
    assert set(facts["longest"]) == {"length_0", "length_1"}  # all clouds have as many groups
    module = torch.export.load(out / "program.pt2").module()
    samples = inputs.look_at(mixed.schema.modality, several())
    # Each alone lacks a field; so does any of some, in another row.
    for index in (*np.arange(10)[:, None], np.arange(5, 17)):
        tensors = inputs.arguments(mixed.schema.modality, samples, index)
        expected = mixed.embed(several().subset(index))
        assert np.allclose(module(*tensors).detach().numpy(), expected, atol=1e-5)


def test_a_field_that_is_not_there_counts_for_nothing(mixed):
    spec = mixed.schema.modality
    samples = inputs.look_at(spec, several())
    run = program.Program(mixed.module.backbone, spec, tuple(one.name for one in samples.inputs))
    tensors = inputs.arguments(spec, samples, np.array([1]))  # without its word
    found = run(*tensors)
    for number, one in enumerate(samples.inputs):
        if one.name == "word/codes":
            assert not tensors[number + 1].any()  # its weight
            changed = [t + 1 if n == number else t for n, t in enumerate(tensors)]
    assert torch.equal(run(*changed), found)


def test_samples_without_a_field_at_all_cannot_tell_its_arguments(mixed, tmp_path):
    lacking = several()
    lacking.columns["word"][:] = None
    with pytest.raises(DataError, match=r"every field.*got none with 'word'"):
        export(mixed, tmp_path / "o", data=lacking)


def test_missing_libraries_are_named(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"Export\.format 'onnx' needs.*metamae\[onnx\]"):
        export(runs / "series", tmp_path / "out", format="onnx")
    assert not (tmp_path / "out").exists()


def test_a_torch_program_is_loaded_without_unpickling(runs, data, tmp_path, monkeypatch):
    export(runs / "series", tmp_path / "out", data=data / "series.npz")
    with zipfile.ZipFile(tmp_path / "out" / "program.pt2") as archive:
        (samples,) = [one for one in archive.infolist() if "sample_inputs" in one.filename]
    assert samples.file_size == 0

    def refuse(*_, **__):
        pytest.fail("unpickled")

    monkeypatch.setattr(torch, "load", refuse)
    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    assert torch.export.load(tmp_path / "out" / "program.pt2").module() is not None


def test_a_torch_that_pickles_is_refused(runs, data, tmp_path, monkeypatch):
    save = torch.export.save

    def with_samples(exported, path):
        exported.example_inputs = (tuple(torch.zeros(1) for _ in range(2)), {})
        save(exported, path)

    monkeypatch.setattr(torch.export, "save", with_samples)
    with pytest.raises(
        ConfigError, match=r"without pickles; got data/sample_inputs/model\.pt from"
    ):
        export(runs / "series", tmp_path / "out", data=data / "series.npz")
    assert list(tmp_path.iterdir()) == []


def test_no_sample_of_the_user_is_in_a_program(runs, data, tmp_path):
    x = np.load(data / "series.npz")["X"]
    run = load(runs / "series")
    export(run, tmp_path / "out", data=x)
    samples = inputs.look_at(run.schema.modality, run.records(x))
    batch = run.schema.modality.whole_batch(samples.pieces, samples.traced[:1])
    with zipfile.ZipFile(tmp_path / "out" / "program.pt2") as archive:
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert batch["cells"].numpy().tobytes()[:32] not in everything


@needs_onnx
def test_an_onnx_model_takes_samples_of_any_length(tmp_path):
    rng = np.random.default_rng(0)
    rows = np.empty(40, dtype=object)
    rows[:] = [rng.normal(size=(2, n)).astype(np.float32) for n in rng.integers(20, 99, 40)]
    records = Records({"X": rows}, "ragged")
    run, _ = pretrain(records, settings={**TINY, "steps": 1, "modality": "series"})
    facts = export(run, tmp_path / "out", format="onnx", data=records)
    assert [one["shape"][1] for one in facts["inputs"] if one["name"] == "cells"] == ["length"]


@needs_onnx
def test_an_onnx_model_of_a_mixture_gives_the_vectors_of_its_source(mixed, tmp_path):
    facts = export(mixed, tmp_path / "out", format="onnx", data=several())
    assert facts["check"]["largest_difference"] <= 1e-4
    assert facts["check"]["samples"] > 20


@needs_onnx
@pytest.mark.parametrize("name", ["series", "words"])
def test_an_onnx_model_gives_the_vectors_of_its_source(runs, data, tmp_path, name):
    out = tmp_path / "out"
    facts = export(runs / name, out, format="onnx", data=data / SOURCES[name])
    assert sorted(path.name for path in out.iterdir()) == [
        "export.json",
        "model.onnx",
        "schema.json",
    ]
    assert facts["check"]["largest_difference"] <= 1e-4
