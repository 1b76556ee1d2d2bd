"""What pretraining has to beat: the same samples, described without any learning."""

import numpy as np
import pytest

from metamae import load
from metamae.data.readers import read
from metamae.encoder.representations import CHUNK, raw_features, represent


@pytest.mark.parametrize("name", ["series", "table", "words", "images"])
def test_every_kind_is_described_in_four_ways(runs, data, name):
    file = {"series": "series.npz", "table": "table.csv", "words": "words.csv", "images": "images"}
    pretrained = load(runs / name)
    records = pretrained.records(data / file[name])
    train, test = records.subset(np.arange(40)), records.subset(np.arange(40, 50))
    found = represent(pretrained, train, test, seed=0)
    assert list(found) == ["metamae", "untrained", "pca", "raw"]
    for part, parts in found.items():
        assert [len(p) for p in parts] == [40, 10], part
        assert parts[0].shape[1] == parts[1].shape[1] and np.isfinite(parts[1]).all()
    width = pretrained.schema.modality.embedding_width(16)
    assert found["metamae"][0].shape[1] == width
    assert found["pca"][0].shape[1] <= width
    assert np.array_equal(found["metamae"][1], pretrained.embed(test))
    # Fitted on the training samples alone: their components are centred and those of others not.
    assert np.abs(found["pca"][0].mean(axis=0)).max() < 1e-4
    assert np.abs(found["pca"][1].mean(axis=0)).max() > 1e-3


def test_test_samples_change_nothing_about_the_training_samples(runs, data):
    pretrained = load(runs / "series")
    records = pretrained.records(data / "series.npz")
    train = records.subset(np.arange(40))
    a, b = (
        represent(pretrained, train, records.subset(np.arange(40, end)), seed=0) for end in (50, 80)
    )
    for name in a:
        assert np.array_equal(a[name][0], b[name][0]), name


def test_raw_features_are_read_in_chunks(runs):
    pretrained = load(runs / "series")
    x = np.random.default_rng(0).normal(size=(CHUNK + 3, 2, 16))
    records = pretrained.records(x)
    spec = pretrained.schema.modality
    whole = spec.raw(records, np.arange(len(records)))
    assert np.array_equal(raw_features(spec, records), whole)


def test_pca_has_no_more_components_than_there_are(runs, data):
    pretrained = load(runs / "table")
    records = read(data / "table.csv")
    few = pretrained.records(records.subset(np.arange(1, 4)))
    assert represent(pretrained, few, few, seed=0)["pca"][0].shape[1] == 2
