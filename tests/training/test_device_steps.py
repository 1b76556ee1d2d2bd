"""What makes a step fit for a GPU, for every method on every modality, seen without one.

A step computes on the device of its batch, does not make the host wait for it, and stands products
in bfloat16.
"""

import contextlib
import re
from dataclasses import replace

import pytest
import torch
from torch.nn.utils import clip_grad_norm_
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from cases import CASES, NETWORK, build, read, rng
from metamae.methods import METHODS
from metamae.methods.base import Method
from metamae.training.optimizer import make_optimizer
from metamae.training.settings import TrainSettings

everywhere = pytest.mark.parametrize("name", CASES)
every_method = pytest.mark.parametrize("method", METHODS.entries)


@everywhere
@every_method
def test_in_half_precision_the_loss_is_nearly_the_same(name, method):
    spec, batch = read(name)
    model = build(spec, method)
    exact = model(batch, rng()).loss.detach()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(batch, rng()).loss
    torch.testing.assert_close(loss.detach(), exact, rtol=0.1, atol=0.02)
    loss.backward()
    learnt = [value.grad for value in model.parameters() if value.grad is not None]
    assert all(gradient.dtype == torch.float32 for gradient in learnt)
    assert all(gradient.isfinite().all() for gradient in learnt)


class NoWaiting(TorchDispatchMode):
    """Refuses what makes the host wait for a device: to see a value, or a shape that follows."""

    waits = re.compile(
        r"aten::(_local_scalar_dense|is_nonzero|equal|nonzero|masked_select|unique|_unique"
        r"|repeat_interleave\.Tensor)"
    )

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        indices = args[1] if re.match(r"aten::_?index(_put_?)?(\.Tensor)?$", func.name()) else ()
        marks = [i for i in indices if getattr(i, "dtype", None) == torch.bool]
        assert not marks and not self.waits.match(func.name()), func.name()
        return func(*args, **(kwargs or {}))


@everywhere
@every_method
def test_a_step_never_waits_for_the_device(name, method):
    spec, batch = read(name)
    model = build(spec, method, network=replace(NETWORK, dropout=0.1))
    optimizer = make_optimizer(model, TrainSettings())
    with NoWaiting():
        loss = model(batch, rng()).loss
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step(loss.isfinite() & norm.isfinite())
        model.after_update(0.5, torch.tensor(True))


class OneDevice(TorchDispatchMode):
    """Refuses tensors of another device than "meta", single numbers excepted."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.ndim]
        elsewhere = {str(x.device) for x in given} - {"meta"}
        assert not elsewhere, (func.name(), elsewhere)
        return func(*args, **(kwargs or {}))


class Ungenerated(TorchFunctionMode):
    """Draws without a generator, since there is none for "meta", and sends nothing to the device.

    What a step makes of Python's numbers the host would have to send, and to wait until all that
    was begun before has been done.
    """

    sending = (torch.tensor, torch.as_tensor, torch.from_numpy, torch.Tensor.new_tensor)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        assert func not in self.sending, func
        return func(*args, **{k: v for k, v in (kwargs or {}).items() if k != "generator"})


@everywhere
@every_method
def test_all_is_computed_on_the_device_of_the_batch(name, method, monkeypatch):
    # A device without numbers stands for a GPU: what was made on the CPU by mistake is seen.
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    spec, batch = read(name)
    model = build(spec, method, network=replace(NETWORK, dropout=0.1)).to("meta")
    moved = {key: value.to("meta") for key, value in batch.items()}
    with OneDevice(), Ungenerated():
        loss = model(moved, rng()).loss
        loss.backward()
        clip_grad_norm_(model.parameters(), 1.0)
        model.after_update(0.5, loss.isfinite())
        if METHODS.get(method).reconstruct is not Method.reconstruct:
            model.eval().reconstruct(moved, rng())
        features = model.backbone.features(moved)
    assert loss.is_meta and features.is_meta
    assert all(value.grad is None or value.grad.is_meta for value in model.parameters())
