"""Learning from labels: on every modality, with few labels, and stopping at the best."""

import numpy as np
import pytest
import torch

from cases import CASES, build, case, objects
from metamae.data.records import Records
from metamae.encoder.embedding import embed_samples
from metamae.errors import ConfigError, TrainingError
from metamae.evaluation.scoring.task import infer_task
from metamae.modalities import MODALITIES
from metamae.uses.finetune import fit as module
from metamae.uses.finetune.fit import Labels, fit
from metamae.uses.finetune.head import Target
from metamae.uses.finetune.pieces import PIECES, LabelledBatches
from metamae.uses.finetune.settings import FitSettings
from metamae.uses.finetune.validation import watch

Grid = MODALITIES.get("grid")


def series(num=40, seed=0):
    """Noise whose level the label tells, and the spec."""
    rng = np.random.default_rng(seed)
    y = np.arange(num) % 2
    x = rng.normal(size=(num, 1, 16)) + 2 * y[:, None, None]
    records = Records({"X": x}, "array")
    spec, _ = Grid.infer(records, rng, axes=1, cell=4)
    task, y = infer_task(y, "y")
    return spec, Labels(records, y, task)


def fitted(spec, labels, *, seed=0, **settings):
    return fit(build(spec).backbone, spec, labels, FitSettings(**settings), seed=seed)


def outputs(found, spec, records):
    return found.head.outputs(embed_samples(found.backbone, spec, records))


@pytest.mark.parametrize("name", CASES)
def test_a_step_on_every_modality(name):
    spec, records = case(name)
    task, y = infer_task(np.arange(len(records)) % 2, "y")
    before = build(spec).backbone.state_dict()
    found = fitted(spec, Labels(records, y, task), steps=1, validation=0.0)
    after = found.backbone.state_dict()
    assert list(after) == list(before) and found.steps == 1
    assert any(not torch.equal(after[k], before[k]) for k in before)
    assert np.isfinite(outputs(found, spec, records)).all()


@pytest.mark.parametrize("how", ["full", "last", "lora"])
def test_it_learns_to_tell_classes_apart(how):
    spec, labels = series()
    found = fitted(spec, labels, how=how, blocks=1, rank=2, steps=20)
    right = found.target.predict(outputs(found, spec, labels.records)) == labels.y
    assert right.mean() > 0.9


def test_numbers_and_several_labels():
    spec, labels = series()
    level = labels.records["X"].mean(axis=(1, 2)) * 1000 + 7
    task, y = infer_task(level, "level")
    found = fitted(spec, Labels(labels.records, y, task), steps=20)
    error = found.target.predict(outputs(found, spec, labels.records)) - y
    assert np.sqrt((error**2).mean()) < 0.5 * y.std()
    both = np.stack([labels.y, 1 - labels.y], axis=1)
    task, y = infer_task(both, "a,b", label_names=("a", "b"))
    found = fitted(spec, Labels(labels.records, y, task), steps=5)
    scores = found.target.predict(outputs(found, spec, labels.records))
    assert scores.shape == (40, 2) and (scores[:, 0] > 0)[labels.y == 1].mean() > 0.8


def test_the_best_weights_are_kept_and_patience_ends_it(monkeypatch):
    spec, labels = series()
    scores = iter([0.1, 0.2, 0.9, 0.3, 0.8, 0.9, 0.5])
    monkeypatch.setattr(Target, "rank", lambda self, *_: (next(scores), -1.0))
    seen = []

    class Noting(module._Learner):
        def check(self):
            super().check()
            seen.append([p.detach().clone() for p in self.trained])

    monkeypatch.setattr(module, "_Learner", Noting)
    # The head is fitted to where it begins with five strengths, which rank too.
    monkeypatch.setattr(module.Head, "begin", lambda *_: None)
    found = fitted(spec, labels, steps=20, patience=4)
    assert (found.best, found.steps) == (2, 6) and len(found.checks) == 7
    kept = [*found.backbone.parameters(), *found.head.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(kept, seen[2], strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(kept, seen[3], strict=True))


def test_the_same_seed_and_steps_give_the_same_weights():
    spec, labels = series()
    a, b, c = (fitted(spec, labels, steps=3, seed=s, validation=0.0) for s in (0, 0, 1))
    assert torch.equal(a.head.weight, b.head.weight)
    assert not torch.equal(a.head.weight, c.head.weight)


def test_without_enough_labels_it_takes_fixed_steps():
    spec, labels = series(4)
    few = Labels(labels.records.subset(np.array([0, 1])), labels.y[:2], labels.task)
    found = fitted(spec, few)
    assert found.steps == 100 and not found.checks
    assert "leave none to stop early by" in found.note and "100 steps" in found.note


def test_groups_are_not_torn_apart_to_stop_early():
    y, groups = np.arange(40) % 2, np.arange(40) // 4
    task, y = infer_task(y, "y")
    inside, watched, note = watch(y, task, share=0.2, groups=groups, seed=0)
    assert note is None and not set(groups[inside]) & set(groups[watched])
    assert sorted([*inside, *watched]) == list(range(40)) and set(y[watched]) == {0, 1}


def test_a_class_with_one_label_is_learnt_and_not_watched():
    task, y = infer_task(np.array(["a", "b"] * 20 + ["rare"]), "y")
    inside, watched, note = watch(y, task, share=0.2, groups=None, seed=0)
    assert note is None and 40 in inside and set(y[watched]) == {0, 1}


def test_samples_in_pieces_are_learnt_from_a_few_and_judged_by_all():
    rng = np.random.default_rng(0)
    rows = [rng.normal(size=(1, length)) for length in (8, 40, 90, 16, 120, 33, 8, 64)]
    records = Records({"X": objects(rows)}, "array")
    spec, _ = Grid.infer(records, rng, axes=1, cell=4, window=16)
    pieces, owner = spec.unfold(records)
    assert owner is not None and np.bincount(owner).max() > PIECES
    batches = LabelledBatches(spec, records, batch_size=3, seed=0, workers=0)
    drawn = set()
    for number in range(40):
        index, place = batches.index(number), batches.owner(number)
        assert (owner[index] == batches.samples(number)[place]).all()
        assert np.bincount(place).max() <= PIECES and len(set(index)) == len(index)
        drawn |= set(index)
    assert drawn == set(range(len(pieces)))
    task, y = infer_task(np.arange(8) % 2, "y")
    found = fitted(spec, Labels(records, y, task), steps=2, validation=0.0)
    assert outputs(found, spec, records).shape == (8, 2)


def test_the_gradient_flows_through_what_embedding_computes():
    """The features that are learnt from are those that are predicted from."""
    for name in ("images", "series of unequal length", "series with gaps"):
        spec, records = case(name)
        backbone = build(spec).backbone
        rng = torch.Generator().manual_seed(0)
        pooling = module.Pooling.of(spec, torch.device("cpu"))
        batch = spec.batch(records, np.arange(len(records)))
        learnt = pooling.features(backbone, batch, None, rng).detach().numpy()
        np.testing.assert_allclose(learnt, embed_samples(backbone, spec, records), atol=1e-5)


def test_a_loss_that_is_not_finite_stops_it():
    spec, labels = series()
    with pytest.raises(TrainingError, match=r"Finetune\.loss must be finite"):
        fitted(spec, labels, steps=50, lr=1e30, encoder_rate=1e8, validation=0.0)


def test_unknown_settings_are_named():
    with pytest.raises(ConfigError, match="Did you mean 'patience'"):
        FitSettings.chosen({"patiense": 3})
