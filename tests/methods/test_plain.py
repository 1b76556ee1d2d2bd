"""The plain form that benchmarks measure against computes the same as the package."""

import importlib.util
from pathlib import Path

import pytest
import torch

from cases import build, read, rng
from metamae.methods.metamae import MetaMAE
from metamae.model import attention

PATH = Path(__file__).parents[2] / "benchmarks" / "plain.py"


@pytest.fixture
def plainly():
    spec = importlib.util.spec_from_file_location("plain", PATH)
    plain = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain)
    return plain.plainly


def outcome(name):
    spec, batch = read(name)
    model = build(spec).double()
    batch = {k: v.double() if v.is_floating_point() else v for k, v in batch.items()}
    loss = model(batch, rng()).loss
    loss.backward()
    return loss.detach(), {k: p.grad for k, p in model.named_parameters()}


@pytest.mark.parametrize("name", ["images", "series with gaps", "example of symbols", "codes"])
def test_the_plain_form_has_the_same_loss_and_gradients(name, plainly):
    expected, slopes = outcome(name)
    adapt, few = MetaMAE.adapt, attention.FEW_KEYS
    with plainly():
        assert MetaMAE.adapt is not adapt
        found, plain = outcome(name)
    assert (MetaMAE.adapt, attention.FEW_KEYS) == (adapt, few)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=0)
    assert plain.keys() == slopes.keys()
    for key, slope in slopes.items():
        torch.testing.assert_close(plain[key], slope, rtol=1e-8, atol=1e-11)
