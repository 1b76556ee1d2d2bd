"""A compiled encoder against the same one as it is."""

import numpy as np
import pytest
import torch

from cases import build, read, rng
from metamae import pretrain
from metamae.errors import ConfigError
from metamae.training import loop
from metamae.training.device import compile_blocks

# PyTorch looks at gradients of tensors that have none, while it compiles.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


def learnt(model, batch):
    loss = model(batch, rng()).loss
    return loss.detach(), torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)


@pytest.mark.parametrize("name", ["images", "codes of unequal length"])
def test_losses_and_gradients_stay(name):
    spec, batch = read(name)
    model = build(spec)
    names = list(model.state_dict())
    loss, gradients = learnt(model, batch)
    compile_blocks(model.backbone.encoder, backend="aot_eager")
    again, compiled = learnt(model, batch)
    torch.testing.assert_close(again, loss)
    for one, other in zip(gradients, compiled, strict=True):
        torch.testing.assert_close(one, other)
    assert list(model.state_dict()) == names


def test_a_run_compiles_where_it_is_asked_to(monkeypatch):
    seen = []

    def noticed(encoder):
        seen.append(encoder)
        compile_blocks(encoder, backend="aot_eager")

    monkeypatch.setattr(loop, "compile_blocks", noticed)
    x = np.random.default_rng(0).normal(size=(60, 2, 16)).astype(np.float32)
    settings = {"size": "tiny", "steps": 2, "batch_size": 16, "compile": True}
    found, _ = pretrain(x, settings=settings)
    assert seen == [found.module.backbone.encoder]
    pretrain(x, settings=settings | {"compile": False})
    assert len(seen) == 1


def test_where_nothing_can_be_compiled_the_message_says_what_would_do(monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Compiler: g++ is not found.\nMore.")

    monkeypatch.setattr(torch, "compile", broken)
    spec, _ = read("images")
    expected = r"Train\.compile must find a compiler for cpu; got RuntimeError: Compiler: g\+\+ is "
    with pytest.raises(ConfigError, match=expected):
        compile_blocks(build(spec).backbone.encoder)
    with pytest.raises(ConfigError, match=r"Train\.compile must be true or false; got 'yes'"):
        pretrain(np.zeros((9, 2, 16), dtype=np.float32), settings={"compile": "yes"})


@pytest.mark.slow
def test_the_real_compiler():
    spec, batch = read("images")
    model = build(spec)
    loss, _ = learnt(model, batch)
    compile_blocks(model.backbone.encoder)
    torch.testing.assert_close(learnt(model, batch)[0], loss)
