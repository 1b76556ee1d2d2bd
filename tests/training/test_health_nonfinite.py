"""A loss that is not finite: skipped, kept, rolled back, and in the end given up."""

import pytest
import torch
from safetensors.torch import load_file

from command import pretrain, refused
from metamae.errors import TrainingError
from metamae.training.health import MOST_KEPT, keep_batch
from metamae.training.log import read_metrics

from .runs import make_run, nan_gradient, nan_loss, poison, same, weights


def huge(numbers):
    """Spoil some batches with values whose squares no float32 holds."""
    return lambda n, batch: {k: v * 1e30 for k, v in batch.items()} if n in numbers else batch


def step(run, batch):
    """Take a step and say whether anything was learnt."""
    taken = run.step(batch)
    run.method.after_update(0.5, taken.fine)
    return bool(taken.fine)


def seen(run, when):
    """Train and note the weights when the progress is as asked for."""
    found = []
    run.train(lambda progress, done, line: found.append(weights(run)) if when(progress) else None)
    return found


@pytest.mark.parametrize("method", ["metamae", "data2vec", "psco"])
@pytest.mark.parametrize("spoil", [nan_loss, nan_gradient])
def test_a_spoiled_step_changes_nothing_but_the_generator(spoil, method):
    run = make_run(method=method)
    batch = run.batches.read(0)
    assert step(run, batch)
    poison(run, [1], spoil)
    before, moments = weights(run), run.optimizer.state_dict()["state"]
    moments = {n: {k: v.clone() for k, v in state.items()} for n, state in moments.items()}
    drawn = run.rng.get_state()
    assert not step(run, batch)
    assert same(weights(run), before)
    for number, state in run.optimizer.state_dict()["state"].items():
        assert same(state, moments[number])
    assert not torch.equal(run.rng.get_state(), drawn)
    assert step(run, batch)


def test_batch_norm_forgets_a_spoiled_batch():
    # Its running statistics would stay infinite, and every later check with them.
    run = make_run(read=huge({1}))
    assert step(run, run.batches.read(0))
    before = weights(run)
    assert not step(run, run.batches.read(1))
    after = weights(run)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(after[f"projector.1.{name}"], before[f"projector.1.{name}"])


def test_one_bad_batch_costs_one_step_and_not_those_before_it():
    clean, spoiled = make_run(steps=4), make_run(steps=4, read=huge({2}))
    (upto,) = seen(clean, lambda p: p.step == 2)
    (kept,) = seen(spoiled, lambda p: p.step == 2)
    assert same(upto, kept)
    assert spoiled.progress.step == 4 and spoiled.progress.drawn == 5


def test_the_batch_is_kept_and_the_log_says_so(tmp_path):
    run = make_run(tmp_path, read=huge({2}))
    batch = run.batches.read(2)
    outcome = run.train()
    assert outcome.progress.step == 6 and outcome.progress.rollbacks == 0
    (path,) = (tmp_path / "nonfinite").iterdir()
    assert path.name == "batch-00000003.safetensors"
    assert same(load_file(path), batch)
    (line,) = [line for line in read_metrics(tmp_path / "metrics.jsonl") if "skipped" in line]
    assert (line["step"], line["drawn"], line["skipped"]) == (2, 3, 1)


def test_after_patience_the_weights_of_the_last_checkpoint_return(tmp_path):
    run = make_run(tmp_path, read=huge({5, 6, 7}), steps=8, checkpoint_every=2, patience=3)
    saved, skipped = [], []
    save, skip = run.save, run.skip
    run.save = lambda: (save(), saved.append(weights(run)))
    run.skip = lambda taken: (skip(taken), skipped.append((run.bad, weights(run), len(saved))))
    run.train()
    # Steps 1 to 5 were good, and the last checkpoint before the bad ones is that of step 4.
    assert [(bad, num) for bad, _, num in skipped] == [(1, 2), (2, 2), (0, 2)]
    assert same(skipped[0][1], skipped[1][1]) and not same(skipped[1][1], saved[1])
    assert same(skipped[2][1], saved[1])
    assert run.progress.rollbacks == 1 and run.progress.step == 8
    lines = read_metrics(tmp_path / "metrics.jsonl")
    assert [line["rollbacks"] for line in lines if "rollbacks" in line] == [1]


def test_it_gives_up_after_repeated_rollbacks(tmp_path):
    run = make_run(tmp_path, patience=2)
    poison(run, range(3, 1000), nan_loss)
    with pytest.raises(TrainingError, match=r"2 non-finite losses in a row after 3 rollbacks"):
        run.train()
    assert run.progress.step == 2 and run.progress.drawn == 2 + 4 * 2
    assert len(list((tmp_path / "nonfinite").iterdir())) == 8


def test_no_more_than_a_few_batches_are_kept(tmp_path):
    for number in range(MOST_KEPT + 3):
        keep_batch(tmp_path / "nonfinite", number, {"x": torch.zeros(2)})
    assert len(list((tmp_path / "nonfinite").iterdir())) == MOST_KEPT


def test_a_diverging_run_is_a_users_mistake(data, tmp_path):
    message = refused(pretrain(data / "series.npz", tmp_path / "run", lr=1e30, clip=1e30, steps=60))
    assert "Train.loss must be finite" in message and "A lower lr (now 1e+30)" in message


@pytest.mark.parametrize("method", ["metamae", "data2vec"])
def test_looking_at_losses_a_step_late_changes_nothing(tmp_path, method):
    # As on a GPU, where the next step is on its way before a loss is looked at.
    runs = []
    for lag in (0, 1):
        folder = tmp_path / f"lag{lag}"
        folder.mkdir()
        settings = {"steps": 13, "log_every": 5, "checkpoint_every": 4, "check_every": 6}
        run = make_run(folder, method=method, **settings)
        run.lag = lag
        outcome = run.train()
        assert outcome.progress.step == 13 and not run.waiting
        runs.append(run)
    assert same(*map(weights, runs))
    lines = [read_metrics(run.folder / "metrics.jsonl") for run in runs]
    for one, other in zip(*lines, strict=True):
        timeless = [{k: v for k, v in line.items() if "second" not in k} for line in (one, other)]
        assert timeless[0] == timeless[1]


def test_a_bad_loss_that_is_seen_late_costs_one_step(tmp_path):
    run = make_run(tmp_path, read=huge({2, 5}), steps=8, log_every=4, checkpoint_every=100)
    run.lag = 1
    before = {}
    whole = run.step

    def noted(batch):
        before[run.progress.drawn] = weights(run)
        return whole(batch)

    run.step = noted
    outcome = run.train()
    assert outcome.progress.step == 8 and outcome.progress.drawn == 10
    # The third and sixth batch taught nothing.
    assert same(before[3], before[4]) and same(before[6], before[7])
    assert not same(before[4], before[5])
    names = sorted(path.name for path in (tmp_path / "nonfinite").iterdir())
    assert names == ["batch-00000003.safetensors", "batch-00000006.safetensors"]


def test_a_rollback_that_is_decided_late_forgets_the_step_on_its_way(tmp_path):
    run = make_run(
        tmp_path, read=huge({5, 6}), steps=9, log_every=50, checkpoint_every=4, patience=2
    )
    run.lag = 1
    run.train()
    assert run.progress.rollbacks == 1 and run.progress.step == 9
    # Two taught nothing, and the step after them was taken from weights that were given up.
    assert run.progress.drawn == 9 + 2 + 1
    drawn = [
        line["drawn"] for line in read_metrics(tmp_path / "metrics.jsonl") if "skipped" in line
    ]
    assert drawn == [6, 7]
