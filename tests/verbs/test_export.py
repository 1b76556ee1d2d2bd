import json
import sys
import zipfile
from importlib.util import find_spec

import numpy as np
import pytest
import torch

from command import TINY, metamae, refused
from metamae import ArtifactError, ConfigError, DataError, export, from_pretrained, load, pretrain
from metamae.portable import program
from metamae.records import Records
from metamae.schema import Schema

needs_onnx = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("onnx", "onnxscript", "onnxruntime")),
    reason="the extra 'onnx' is not installed",
)
SOURCES = {"series": "series.npz", "table": "table.csv", "words": "words.csv"}


def scaled(folder, records: Records, index) -> tuple[dict, list]:
    """Arguments of an exported program, made from what its folder says alone."""
    facts = json.loads((folder / "export.json").read_text())
    spec = Schema.from_json((folder / "schema.json").read_text(), "schema.json").modality
    batch = program.whole_batch(spec, records, np.array(index))
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


def test_several_fields_have_no_fixed_arguments(tmp_path):
    rng = np.random.default_rng(0)
    fields = {"image": rng.normal(size=(20, 1, 8, 8)), "size": rng.normal(size=20)}
    settings = {**TINY, "steps": 1, "modality": "mixture"}
    run, _ = pretrain(Records(fields, "fields"), settings=settings)
    with pytest.raises(ConfigError, match=r"one kind of field.*'mixture'.*huggingface"):
        export(run, tmp_path / "o", data=Records(fields, "fields"))


def test_missing_libraries_are_named(runs, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ConfigError, match=r"Export\.format 'onnx' needs.*metamae\[onnx\]"):
        export(runs / "series", tmp_path / "out", format="onnx")
    assert not (tmp_path / "out").exists()


def test_no_sample_of_the_user_is_in_a_program(runs, data, tmp_path):
    x = np.load(data / "series.npz")["X"]
    run = load(runs / "series")
    export(run, tmp_path / "out", data=x)
    samples = program.look_at(run.schema.modality, run.records(x))
    batch = program.whole_batch(run.schema.modality, samples.pieces, samples.order[:1])
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
