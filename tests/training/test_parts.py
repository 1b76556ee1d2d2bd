"""Schedule, optimiser, health, log and interrupts: the small parts of the loop."""

import json
import math
import os
import signal
import threading
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from metamae.errors import ArtifactError, ConfigError
from metamae.training.health import effective_rank, spread
from metamae.training.interrupt import Interrupt
from metamae.training.log import MetricsLog, read_metrics
from metamae.training.loop import Window
from metamae.training.optimizer import make_optimizer, rate
from metamae.training.settings import TrainSettings, auto_batch_size

from .runs import make_method, make_run, same, series, weights


def test_the_rate_rises_and_then_falls_along_a_cosine():
    train = TrainSettings(lr=2.0, warmup=0.2)
    assert rate(train, 0.0) == 0
    assert rate(train, 0.1) == pytest.approx(1.0)
    assert rate(train, 0.2) == 2.0
    assert rate(train, 0.6) == pytest.approx(1.0)
    assert rate(train, 0.4) == pytest.approx(1 + math.sqrt(0.5))
    assert rate(train, 1.0) == pytest.approx(0, abs=1e-12)
    assert rate(train, 1.2) == pytest.approx(0, abs=1e-12)


def test_a_constant_rate_and_no_warm_up():
    train = TrainSettings(lr=2.0, warmup=0.0, schedule="constant")
    assert {rate(train, done) for done in (0.0, 0.5, 1.0)} == {2.0}
    assert rate(TrainSettings(lr=2.0, warmup=0.0), 0.0) == 2.0
    assert rate(TrainSettings(lr=2.0, warmup=1.0), 1.0) == pytest.approx(2.0)


def test_every_step_learns_and_the_rate_is_that_of_the_middle_of_the_step():
    run = make_run(steps=4, warmup=0.5, lr=1.0, clip=1e-9)
    rates = []
    for number in range(4):
        run.step(run.batches.read(number))
        rates.append(run.optimizer.param_groups[0]["lr"])
        run.progress.step += 1
    share = 0.5 * (1 + math.cos(math.pi * 0.25)), 0.5 * (1 + math.cos(math.pi * 0.75))
    assert rates == pytest.approx([0.25, 0.75, *share])


def test_only_matrices_decay():
    spec, _ = series()
    method = make_method(spec)
    optimizer = make_optimizer(method, TrainSettings(optimizer="adamw", weight_decay=0.3))
    decayed, spared = optimizer.param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.3, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim < 2 for p in spared["params"])
    together = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert together == {id(p) for p in method.parameters()}
    assert len(together) == len(decayed["params"]) + len(spared["params"])


def test_muon_moves_the_matrices_of_the_blocks_and_nothing_else():
    spec, _ = series()
    method = make_method(spec)
    muon, adamw = make_optimizer(method, TrainSettings(optimizer="muon", weight_decay=0.3)).parts
    names = {id(p): name for name, p in method.named_parameters()}
    turned = {names[id(p)] for group in muon.param_groups for p in group["params"]}
    others = {names[id(p)] for group in adamw.param_groups for p in group["params"]}
    assert turned == {
        f"{stack}.blocks.0.{name}.weight"
        for stack in ("backbone.encoder", "decoder.mixer")
        for name in ("qkv", "out", "expand", "contract")
    }
    assert others == set(names.values()) - turned
    assert [group["weight_decay"] for group in muon.param_groups] == [0.3]


def test_the_state_of_optimisers_together_can_be_taken_over():
    def made():
        spec, _ = series()
        method = make_method(spec)
        return method, make_optimizer(method, TrainSettings(optimizer="muon", lr=0.1))

    def learn(method, optimizer, times):
        for _ in range(times):
            optimizer.zero_grad()
            sum(p.square().sum() for p in method.parameters()).backward()
            optimizer.step()

    method, optimizer = made()
    learn(method, optimizer, 3)
    other, taken = made()
    other.load_state_dict(method.state_dict())
    taken.load_state_dict(deepcopy(optimizer.state_dict()))
    for each in ((method, optimizer), (other, taken)):
        learn(*each, 2)
    assert all(
        torch.equal(a, b) for a, b in zip(method.parameters(), other.parameters(), strict=True)
    )
    fresh, without = made()
    fresh.load_state_dict(method.state_dict())
    learn(fresh, without, 1)
    learn(method, optimizer, 1)
    assert not torch.equal(fresh.decoder.narrow.weight, method.decoder.narrow.weight)
    moved = [m.backbone.encoder.blocks[0].out.weight for m in (fresh, method)]
    assert not torch.equal(*moved)


def test_frozen_parameters_are_left_to_themselves():
    module = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    module[0].weight.requires_grad_(False)
    (group,) = make_optimizer(module, TrainSettings()).param_groups
    assert group["params"] == [module[1].weight]


@pytest.mark.parametrize(
    ("samples", "tokens", "expected"),
    [
        (10, 64, 10),
        (100, 64, 16),
        (1_000, 64, 32),
        (100_000, 64, 256),
        (100_000, 1000, 16),
        (100_000, 128, 128),
        (5000, 100_000, 16),
        (2, 4, 2),
    ],
)
def test_the_batch_size_suits_data_and_tokens(samples, tokens, expected):
    assert auto_batch_size(samples, tokens) == expected


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 3, "minutes": 1.0}, r"one budget.*Leave steps or minutes out"),
        ({"steps": 0}, r"Train.steps must be a whole number of at least 1; got 0"),
        ({"steps": 2.5}, r"Train.steps must be a whole number"),
        ({"minutes": 0}, r"Train.minutes must be a number strictly between 0"),
        ({"batch_size": 1}, r"Train.batch_size must be a whole number of at least 2"),
        ({"batch_size": "big"}, r"Train.batch_size must be 'auto' or a whole number"),
        ({"lr": float("nan")}, r"Train.lr must be"),
        ({"lr": "fast"}, r"Train.lr must be a number.*got 'fast'"),
        ({"warmup": 1.5}, r"Train.warmup must be a number between 0 and 1"),
        ({"schedule": "cosin"}, r"Did you mean 'cosine'"),
        ({"precision": "float16"}, r"Train.precision must be one of"),
        ({"keep": 0}, r"Train.keep must be a whole number of at least 1"),
    ],
)
def test_settings_are_checked(wrong, message):
    with pytest.raises(ConfigError, match=message):
        TrainSettings(**wrong)


def features(spectrum, num=200, width=12, seed=0):
    """Centred features with a given spectrum of singular values."""
    rng = np.random.default_rng(seed)
    left = rng.normal(size=(num, len(spectrum)))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(rng.normal(size=(width, len(spectrum))))
    return torch.from_numpy(left * np.array(spectrum) @ right.T)


@pytest.mark.parametrize("rank", [1, 3, 12])
def test_equal_singular_values_count_the_directions(rank):
    assert effective_rank(features([2.0] * rank)) == pytest.approx(rank, rel=1e-6)


def test_the_effective_rank_is_the_exponential_of_the_entropy():
    shares = np.array([0.5, 0.25, 0.25])
    expected = math.exp(-(shares * np.log(shares)).sum())
    assert effective_rank(features(8 * shares)) == pytest.approx(expected, rel=1e-6)
    assert effective_rank(1000 * features(8 * shares)) == pytest.approx(expected, rel=1e-6)


def test_a_common_vector_does_not_hide_the_rest():
    x = features([1.0] * 4)
    assert effective_rank(x + 100) == pytest.approx(effective_rank(x), rel=1e-6)


def test_collapsed_features_have_rank_1_and_no_spread():
    x = torch.full((20, 5), 3.0)
    assert effective_rank(x) == pytest.approx(1.0) and spread(x) == 0
    assert spread(torch.tensor([[0.0, 0.0], [2.0, 4.0]])) == pytest.approx(1.5)


def test_a_window_weights_by_samples():
    window = Window()
    window.add({"loss": torch.tensor(1.0), "r2": torch.tensor(0.5)}, 1)
    window.add({"loss": torch.tensor(4.0), "r2": torch.tensor(0.5)}, 3)
    assert window.close(2.0) == {"loss": 3.25, "r2": 0.5}
    window.add({"loss": torch.tensor(2.0)}, 8)
    assert window.close(4.0) == {"loss": 2.0, "samples_per_second": 4.0}
    assert window.means() == {}


def test_a_scalar_of_some_steps_is_the_mean_over_those():
    window = Window()
    window.add({"loss": torch.tensor(1.0)}, 2)
    window.add({"loss": torch.tensor(3.0), "contrast": torch.tensor(5.0)}, 2)
    assert window.means() == {"loss": 2.0, "contrast": 5.0}


def test_a_window_goes_on_where_it_was_left():
    a, b = Window(), Window()
    a.add({"loss": torch.tensor(0.1)}, 2)
    a.close(1.0)
    for value in (0.3, 0.7):
        a.add({"loss": torch.tensor(value)}, 3)
    b.load(a.state())
    for window in (a, b):
        window.add({"loss": torch.tensor(0.2), "contrast": torch.tensor(0.4)}, 1)
    assert a.close(3.0) == b.close(3.0)
    c = Window()
    c.load(Window().state())
    assert c.close(1.0) == {}


def test_lines_after_the_checkpoint_are_removed(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [
        {"step": 2, "loss": 1.0},
        {"step": 4, "loss": 0.5},
        {"step": 4, "drawn": 5, "skipped": 1},
        {"step": 4, "drawn": 6, "skipped": 2},
        {"step": 6, "loss": 0.1},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 8, "lo')
    log = MetricsLog(path, step=4, drawn=5)
    assert read_metrics(path) == lines[:3]
    log.write({"step": 6, "loss": float("nan"), "r2": float("inf"), "n": 3})
    assert read_metrics(path)[-1] == {"step": 6, "loss": None, "r2": None, "n": 3}
    for text in path.read_text().splitlines():
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_a_damaged_log_is_read_as_far_as_it_goes(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n12\n[]\n\xff\xfe\n{"loss": 1}\n\n{"step": 2}\n')
    assert read_metrics(path) == [{"step": 1}, {"step": 2}]
    with pytest.raises(ArtifactError, match="must be readable"):
        read_metrics(tmp_path)


def test_a_log_that_cannot_be_written_says_how_to_go_on(tmp_path):
    log = MetricsLog(tmp_path / "none" / "metrics.jsonl", step=0, drawn=0)
    with pytest.raises(ArtifactError, match=r"must be writable.*--resume"):
        log.write({"step": 1})


def test_tensorboard_without_tensorboard(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
    with pytest.raises(ConfigError, match=r"Train.tensorboard.*pip install 'metamae\[tensorboard"):
        MetricsLog(tmp_path / "m", step=0, drawn=0, tensorboard=tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_acts(number):
    before = signal.getsignal(number)
    told = []
    signal.signal(number, lambda *_: told.append(True))
    try:
        with Interrupt() as interrupt:
            assert interrupt.signal is None
            os.kill(os.getpid(), number)
            assert interrupt.signal == signal.Signals(number).name and not told
            os.kill(os.getpid(), number)
            assert told
        assert signal.getsignal(number) is not before
    finally:
        signal.signal(number, before)


def test_handlers_are_put_back_even_after_an_error():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(ZeroDivisionError), Interrupt():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGTERM) is before


def test_signals_are_left_alone_where_nothing_could_be_saved():
    before = signal.getsignal(signal.SIGINT)
    with Interrupt(active=False):
        assert signal.getsignal(signal.SIGINT) is before
    run, seen = make_run(steps=1), []
    run.train(lambda *_: seen.append(signal.getsignal(signal.SIGINT)))
    assert seen == [before]


def test_a_signal_in_the_last_step_stops_nothing(tmp_path):
    run = make_run(tmp_path, steps=2)
    step = run.step

    def last(batch):
        if run.progress.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(batch)

    run.step = last
    assert run.train().interrupted is None


def test_training_works_in_a_thread(tmp_path):
    # Where Python lets nobody catch signals.
    run = make_run(tmp_path, steps=2)
    thread = threading.Thread(target=run.train)
    thread.start()
    thread.join()
    assert run.progress.step == 2


def test_checks_draw_the_same_masks_and_change_nothing():
    run = make_run(steps=4)
    run.train()
    before, generator = weights(run), run.rng.get_state()
    found = run.check()
    assert found == run.check()
    assert same(weights(run), before) and torch.equal(run.rng.get_state(), generator)
    assert run.method.training
    assert {"held_out_loss", "held_out_r2", "effective_rank", "feature_std"} <= found.keys()
    run.held_out = []
    assert run.check() == {}


def test_training_lowers_the_held_out_loss():
    run = make_run(steps=150, lr=3e-3)
    before = run.check()
    after = run.train().health
    assert after["held_out_loss"] < 0.9 * before["held_out_loss"]
    assert after["held_out_r2"] > before["held_out_r2"]


def test_the_method_hears_of_each_update():
    run, heard = make_run(steps=4), []
    run.method.after_update = lambda done, learnt: heard.append(done)
    run.train()
    assert heard == [0.25, 0.5, 0.75, 1.0]


def test_small_networks_learn_in_float32_on_a_cpu_unless_asked():
    batch = make_run().batches.read(0)
    losses = {
        p: make_run(precision=p).step(batch).logs["loss"] for p in ("auto", "float32", "bfloat16")
    }
    assert torch.equal(losses["auto"], losses["float32"])
    assert losses["bfloat16"] == pytest.approx(float(losses["float32"]), rel=0.05)
    assert not torch.equal(losses["bfloat16"], losses["float32"])
