"""`metamae.pretrain` from Python: what is trained on, what is held out, what comes back."""

import numpy as np
import pytest
import torch
from sklearn.utils import check_random_state

import metamae
from command import TINY
from metamae import ConfigError, DataError, Records
from metamae.data.readers import read
from metamae.pretraining.pretrain import num_held_out, split, total_steps
from metamae.run.config import Choices, resolve
from metamae.run.folder import fingerprint
from metamae.schema.schema import infer_schema


def config_for(num, seed=0, **train):
    records = Records({"X": np.random.default_rng(0).normal(size=(num, 4))}, "x")
    held_out = num_held_out(num, 0.05)
    return resolve(
        Choices(seed=seed, settings={"train": train}),
        infer_schema(records).modality,
        num_samples=num - held_out,
        device="cpu",
        data={"held_out": held_out},
        version="0",
    )


@pytest.mark.parametrize(
    ("num", "share", "expected"),
    [(49, 0.5, 0), (50, 0.1, 5), (1000, 0.05, 50), (10**6, 0.05, 1024), (1000, 0.0, 0)],
)
def test_how_many_are_held_out(num, share, expected):
    assert num_held_out(num, share) == expected


def test_every_sample_is_trained_on_or_held_out():
    records = Records({"X": np.arange(200)}, "x")
    train, held_out = split(records, 10, seed=0)
    assert len(held_out) == 10
    assert sorted([*train.index, *held_out.index]) == list(range(200))
    again, other = split(records, 10, seed=0), split(records, 10, seed=1)
    assert np.array_equal(again[1].index, held_out.index)
    assert not np.array_equal(other[1].index, held_out.index)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [({}, 2000), ({"steps": 7}, 7), ({"epochs": 3}, 12), ({"minutes": 1}, None)],
)
def test_a_budget_is_a_number_of_steps_or_none(budget, expected):
    assert total_steps(config_for(64, **budget).train, 4) == expected


def test_held_out_samples_are_never_trained_on(monkeypatch):
    from metamae.training.batches import Batches

    x = np.random.default_rng(0).normal(size=(100, 4))
    seen = set()
    index = Batches.index

    def noted(batches, number):
        found = index(batches, number)
        seen.update(batches.records["X"].index[found].tolist())
        return found

    monkeypatch.setattr(Batches, "index", noted)
    pretrained, _ = metamae.pretrain(x, settings={**TINY, "epochs": 4, "batch_size": 8})
    config = pretrained.config
    _, held_out = split(Records({"X": x}, "x"), config.data["held_out"], config.seed)
    assert len(held_out) == 5 and not seen & set(held_out.index.tolist())
    assert len(seen) == 95


def test_in_memory_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pretrained, outcome = metamae.pretrain(np.eye(20), settings={**TINY, "steps": 2})
    assert outcome.progress.step == 2 and outcome.interrupted is None and pretrained.finished
    assert not pretrained.module.training
    assert list(tmp_path.iterdir()) == []


def test_what_comes_back_is_what_was_written(data, tmp_path):
    pretrained, _ = metamae.pretrain(
        data / "series.npz", tmp_path / "run", settings={**TINY, "steps": 2}
    )
    loaded = metamae.load(tmp_path / "run")
    assert loaded.config == pretrained.config and loaded.schema == pretrained.schema
    a, b = (p.embed(data / "series.npz") for p in (pretrained, loaded))
    assert np.array_equal(a, b)


def test_global_generators_are_left_alone(data):
    common = check_random_state(None)  # numpy's own
    states = torch.random.get_rng_state(), common.get_state()[1].copy()
    metamae.pretrain(data / "table.csv", settings={**TINY, "steps": 2, "dropout": 0.1})
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert np.array_equal(common.get_state()[1], states[1])


def test_the_observer_hears_of_every_step(data):
    heard = []
    settings = {**TINY, "steps": 4, "log_every": 2}
    metamae.pretrain(
        data / "series.npz",
        settings=settings,
        observe=lambda progress, done, line: heard.append((progress.step, done, "loss" in line)),
    )
    assert heard == [(1, 0.25, False), (2, 0.5, True), (3, 0.75, False), (4, 1.0, True)]


def test_resuming_needs_a_folder():
    with pytest.raises(ConfigError, match="must come with a folder"):
        metamae.pretrain(np.eye(9), resume=True)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ({"steps": 2}, {"most": 512}),
        ({}, {"most": 100_000}),
        ({"epochs": 1}, {}),
        ({"minutes": 1}, {"seconds": 10}),
        ({"minutes": 5, "workers": 3}, {"seconds": 30, "workers": 3}),
    ],
)
def test_no_more_is_looked_at_first_than_training_would_read(budget, expected, monkeypatch):
    from metamae.pretraining import pretrain

    looked_at = []

    def noted(records, infer, aside, **limits):
        looked_at.append(limits)
        raise DataError("enough")

    monkeypatch.setattr(pretrain, "vet", noted)
    with pytest.raises(DataError, match="enough"):
        metamae.pretrain(np.eye(20), settings={**TINY, **budget})
    assert looked_at == [{"workers": None, **expected}]


def test_data_beyond_what_is_looked_at_stop_the_run_with_their_name(tmp_path, monkeypatch):
    from metamae.pretraining import pretrain

    monkeypatch.setattr(pretrain, "MOST_LOOKED_AT", 16)
    x = np.random.default_rng(0).normal(size=(100, 4))
    settings = {**TINY, "steps": 50, "checkpoint_every": 1, "batch_size": 8}
    x[37] = np.nan
    with pytest.raises(DataError, match="sample 37: a row must hold at least one known value"):
        metamae.pretrain(x, tmp_path / "run", settings=settings)


def test_a_fingerprint_knows_the_data_again(data):
    records = read(data / "table.csv")
    spec = infer_schema(records, ignore=["kind", "size"]).modality
    own = fingerprint(records, spec)
    assert fingerprint(read(data / "table.csv"), spec) == own
    assert fingerprint(records.subset(np.arange(90)[::-1]), spec) != own
    assert fingerprint(records.subset(np.arange(89)), spec) != own
    changed = {name: np.asarray(records[name][:]).copy() for name in records}
    changed["kind"][:] = "other"  # no input
    assert fingerprint(Records(changed, "changed"), spec) == own
    changed["a"] += 1
    assert fingerprint(Records(changed, "changed"), spec) != own
    assert fingerprint(records.subset(np.arange(1)), spec)


def test_method_and_seed_are_settings_like_any_other():
    settings = {**TINY, "steps": 1, "method": "mae", "seed": 7, "masking": "block"}
    config = metamae.pretrain(np.eye(20), settings=settings)[0].config
    assert (config.method, config.masking, config.seed) == ("mae", "block", 7)
