"""What `metamae.load` gives back: vectors, reconstructions, and the torch module."""

import numpy as np
import pytest
import torch

from command import TINY
from metamae import load, pretrain
from metamae.data.readers import read
from metamae.encoder.pretrained import pick_device
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.methods.base import Method
from metamae.run.folder import build_from


@pytest.fixture(scope="module")
def loaded(runs):
    return {name: load(runs / name) for name in ("series", "table", "words", "images")}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("series", "series.npz"),
        ("table", "table.csv"),
        ("words", "words.csv"),
        ("images", "images"),
    ],
)
def test_embed_takes_a_path_records_and_arrays(loaded, data, name, file):
    pretrained, records = loaded[name], read(data / file)
    vectors = pretrained.embed(data / file)
    width = pretrained.schema.modality.embedding_width(TINY["width"])
    assert vectors.shape == (len(records), width) and vectors.dtype == np.float32
    assert np.array_equal(pretrained.embed(str(data / file)), vectors)
    assert np.array_equal(pretrained.embed(records), vectors)
    if name != "table":
        (column,) = pretrained.schema.modality.columns
        assert np.array_equal(pretrained.embed(np.asarray(records[column][:])), vectors)


@pytest.mark.parametrize("name", ["series", "images"])
def test_lattices_are_reconstructed_in_the_users_units(loaded, data, name):
    file = {"series": "series.npz", "images": "images"}[name]
    (column,) = loaded[name].schema.modality.columns
    records = read(data / file).subset(np.arange(6))
    samples = np.asarray(records[column][:], dtype=np.float64)
    found = loaded[name].reconstruct(records)
    shapes = {a.shape for a in (found.original, found.hidden, found.before, found.after)}
    assert shapes == {samples.shape}
    np.testing.assert_allclose(found.original, samples, rtol=1e-4, atol=1e-3)
    ratio = loaded[name].config.settings["masking"]["ratio"]
    assert found.hidden.mean() == pytest.approx(ratio, abs=0.05)
    assert not np.array_equal(found.before, found.after)
    # An encoder that has learnt nothing stays near the mean, in the units of the data.
    assert np.abs(found.before - samples.mean()).mean() < 4 * samples.std()


def test_what_is_missing_stays_missing(loaded):
    x = np.random.default_rng(0).normal(size=(4, 2, 16))
    x[1, 0, 3:9] = np.nan
    found = loaded["series"].reconstruct(x)
    assert np.array_equal(np.isnan(found.original), np.isnan(x))
    assert np.isfinite(found.before).all() and np.isfinite(found.after).all()


def test_rows_are_reconstructed_by_name(loaded, data):
    records = read(data / "table.csv").subset(np.arange(8))
    found = loaded["table"].reconstruct(records)
    assert found.original.shape == found.hidden.shape == found.after.shape == (8, 3)
    a = np.asarray(records["a"][:])
    np.testing.assert_allclose(found.original[:, 0].astype(float), a, rtol=1e-5)
    assert found.original[0, 1] is None  # as every seventh row of "b"
    assert set(found.original[:, 2]) <= {"red", "blue"} >= set(found.after[:, 2])
    assert not found.hidden[0, 1] and found.hidden.any()


def test_text_is_reconstructed_as_text(loaded):
    words = ["ACGTACGTAC", "AC", "ACGTT"]
    found = loaded["words"].reconstruct(words)
    assert found.original.tolist() == words
    assert [len(text) for text in found.after] == [10, 2, 5]
    assert set("".join(found.after)) <= set("ACGT")
    assert found.hidden.shape == (3, 10) and not found.hidden[1, 2:].any()


def test_what_is_hidden_follows_from_the_seed(loaded, data):
    series = loaded["series"]
    a, b, c = (series.reconstruct(data / "series.npz", seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(a.hidden, b.hidden) and np.array_equal(a.after, b.after)
    assert not np.array_equal(a.hidden, c.hidden)


def test_a_method_without_an_inner_step_has_no_after(data):
    pretrained, _ = pretrain(data / "series.npz", settings={**TINY, "steps": 1, "method": "mae"})
    assert pretrained.reconstruct(data / "series.npz").after is None


def test_the_module_is_torch_and_gives_gradients(loaded, data):
    pretrained = loaded["series"]
    assert isinstance(pretrained.module, Method) and not pretrained.module.training
    spec, records = pretrained.schema.modality, pretrained.records(data / "series.npz")
    batch = spec.batch(records, np.arange(4))
    features = pretrained.module.backbone.features(batch)
    vectors = pretrained.embed(records.subset(np.arange(4)))
    np.testing.assert_allclose(features.detach().numpy(), vectors, atol=1e-5)
    features.sum().backward()
    assert pretrained.module.backbone.cls.grad is not None
    pretrained.module.zero_grad()


def test_the_untrained_encoder_is_the_same_network_with_other_weights(loaded, data):
    pretrained = loaded["series"]
    fresh = pretrained.untrained()
    a, b, c = (p.module.state_dict() for p in (pretrained, fresh, pretrained.untrained()))
    assert {k: v.shape for k, v in a.items()} == {k: v.shape for k, v in b.items()}
    start = build_from(pretrained.config, pretrained.schema.modality).state_dict()
    assert not torch.equal(b["backbone.cls"], a["backbone.cls"])
    assert not torch.equal(b["backbone.cls"], start["backbone.cls"])
    assert all(torch.equal(b[k], c[k]) for k in b)
    assert not np.array_equal(
        fresh.embed(data / "series.npz"), pretrained.embed(data / "series.npz")
    )


def test_devices_are_checked(runs):
    assert pick_device("cpu").type == "cpu"
    for name in ("gpu", "cuda:99", ""):
        with pytest.raises(ConfigError, match=r"device must be one that this machine has.*'cpu'"):
            pick_device(name)
    with pytest.raises(ConfigError):
        load(runs / "series", device="tpu")


def test_nothing_to_load(tmp_path):
    with pytest.raises(ArtifactError, match="must be the folder of a run"):
        load(tmp_path / "none")
    with pytest.raises(DataError, match="must be the path of something that exists"):
        pretrain(tmp_path / "none.npz")
