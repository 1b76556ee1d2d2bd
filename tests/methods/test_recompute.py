"""MetaMAE that computes its inner step again, against the one that keeps the graph."""

import gc
import weakref
from dataclasses import replace

import pytest
import torch

from cases import NETWORK, build, read, rng
from metamae.model import recompute as parts

KINDS = ["images", "series with gaps", "codes", "example of symbols", "example of table"]


def outcome(name, *, autocast=False, frozen=False, inner=True, scale=1.0, **settings):
    """(loss, logs, gradients) of one step in float64."""
    spec, batch = read(name)
    network = replace(NETWORK, dropout=0.3, decoder=settings.pop("decoder", "joint"))
    model = build(spec, network=network, **settings)
    if not autocast:
        model = model.double()
        batch = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
    model.backbone.requires_grad_(not frozen)
    model.before_update(1.0 if inner else 0.0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        step = model(batch, rng())
    (scale * step.loss).backward()
    found = {key: value.grad for key, value in model.named_parameters()}
    return step.loss.detach(), step.logs, found


@pytest.fixture(autouse=True)
def three_samples_in_a_part(monkeypatch):
    monkeypatch.setitem(parts.TOKENS, "cpu", 60)


def check(name, *, rtol=1e-9, atol=0.0, **settings):
    kept, again = (outcome(name, recompute=flag, **settings) for flag in (False, True))
    torch.testing.assert_close(again[0], kept[0], rtol=rtol, atol=atol)
    torch.testing.assert_close(again[1], kept[1], rtol=rtol, atol=atol)
    assert again[2].keys() == kept[2].keys()
    for key, gradient in kept[2].items():
        assert (again[2][key] is None) == (gradient is None), key
        if gradient is not None:
            most = gradient.abs().max() * rtol + atol
            assert (again[2][key] - gradient).abs().max() <= most, key
    return kept


@pytest.mark.parametrize("decoder", ["joint", "cross"])
@pytest.mark.parametrize("name", KINDS)
def test_losses_logs_and_gradients_are_the_same(name, decoder):
    check(name, decoder=decoder, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    "settings",
    [
        {"inner_steps": 3},
        {"second_order": False},
        {"second_order": False, "inner_steps": 2},
        {"normaliser": "batch"},
        {"contrast_weight": 0},
        {"query_share": 0.5},
        {"frozen": True},
        {"inner": False},
        {"inner": False, "query_share": 0.5, "decoder": "cross"},
        {"scale": 0.25},
    ],
    ids=str,
)
def test_with_every_setting(settings):
    check("example of symbols", inner_lr=2.0, atol=1e-12, **settings)


@pytest.mark.parametrize("name", ["images", "codes"])
def test_in_half_precision_both_passes_round_alike(name):
    exact = outcome(name, autocast=False, recompute=True)
    loss, _, found = outcome(name, autocast=True, recompute=True)
    kept_loss, _, kept = outcome(name, autocast=True, recompute=False)
    # The parts are summed in another order, so equal but for a rounding or two.
    torch.testing.assert_close(loss, kept_loss, rtol=0.01, atol=0)
    torch.testing.assert_close(loss.double(), exact[0], rtol=0.05, atol=0)
    for key, gradient in kept.items():
        assert (found[key] - gradient).norm() <= 0.05 * gradient.norm() + 1e-6, key


def test_every_pass_rounds_to_the_same_kind_of_number(monkeypatch):
    """The pass that repeats the inner step runs where autocast is off again."""
    spec, batch = read("images")
    model, seen = build(spec, recompute=True), []
    errors = model.decoder.errors

    def watched(*args, **kwargs):
        seen.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")))
        return errors(*args, **kwargs)

    monkeypatch.setattr(model.decoder, "errors", watched)
    with torch.autocast("cpu", dtype=torch.float16):
        loss = model(batch, rng()).loss
    forward = len(seen)
    loss.backward()
    assert len(seen) > forward
    assert set(seen) == {(True, torch.float16)}


def test_evaluation_is_the_same():
    spec, batch = read("images")
    found = []
    for flag in (False, True):
        model = build(spec, recompute=flag).eval()
        with torch.no_grad():
            step = model(batch, rng())
        assert not step.loss.requires_grad
        found.append((step.loss, step.logs))
    torch.testing.assert_close(*found)


class Kept:
    """What a graph holds on to."""

    def __init__(self, value):
        self.value = value


def test_the_graph_of_the_inner_step_is_not_kept():
    spec, batch = read("images")
    sizes = {}
    for flag in (False, True):
        model, alive = build(spec, recompute=flag), weakref.WeakSet()

        def pack(value, alive=alive):
            kept = Kept(value)
            alive.add(kept)
            return kept

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept.value):
            loss = model(batch, rng()).loss
        gc.collect()
        sizes[flag] = sum(kept.value.numel() for kept in alive)
        loss.backward()
    assert sizes[True] < 0.75 * sizes[False]  # the encoder's is kept
