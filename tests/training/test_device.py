"""Where bfloat16 is computed in."""

import pytest
import torch

from cases import rng
from metamae.training import device as precision
from metamae.training.device import autocast, choose_precision
from metamae.training.muon import Muon, orthogonalise


@pytest.mark.parametrize(
    ("asked", "device", "width", "unit", "expected"),
    [
        ("auto", "cpu", 128, True, True),
        ("auto", "cpu", 512, True, True),
        ("auto", "cpu", 64, True, False),  # conversions would cost more
        ("auto", "cpu", 512, False, False),
        ("auto", "cuda", 16, False, True),
        ("float32", "cuda", 512, True, False),
        ("float32", "cpu", 512, True, False),
        ("bfloat16", "cpu", 16, False, True),
        ("bfloat16", "cuda", 16, False, True),
    ],
)
def test_the_faster_is_chosen_unless_one_is_asked_for(
    asked, device, width, unit, expected, monkeypatch
):
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: unit)
    assert choose_precision(asked, device, width) == ("bfloat16" if expected else "float32")


def test_a_cpu_of_which_nothing_is_known_has_no_unit(monkeypatch):
    for told, expected in (({"amx_bf16": True}, True), ({"amx_bf16": False}, False), ({}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda told=told: told, raising=False)
        assert precision.has_matrix_unit() is expected
    monkeypatch.delattr(torch.cpu, "get_capabilities")  # as in an older PyTorch
    assert precision.has_matrix_unit() is False


@pytest.mark.parametrize(
    ("asked", "kind"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_products_are_computed_as_asked(asked, kind):
    with autocast(asked, "cpu", 128):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == kind


def test_muon_rounds_where_that_is_faster(monkeypatch):
    monkeypatch.setattr(precision, "has_matrix_unit", lambda: True)

    def step(precision, side):
        weight = torch.zeros(side, 2 * side, requires_grad=True)
        weight.grad = torch.randn(side, 2 * side, generator=rng())
        Muon([weight], lr=1.0, precision=precision).step()
        return weight.detach()

    exact = step("float32", 128)
    rounded = step("auto", 128)
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).norm() < 0.05 * exact.norm()
    assert torch.equal(step("auto", 64), step("float32", 64))
    assert orthogonalise(exact[None].bfloat16()).dtype == torch.bfloat16
