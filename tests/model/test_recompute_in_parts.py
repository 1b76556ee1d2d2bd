"""Losses and gradients in parts, against torch's own derivatives and finite differences."""

import pytest
import torch

from cases import rng
from metamae.model import recompute as parts
from metamae.model.recompute import gradient_in_parts, loss_in_parts

LATENT = torch.randn(7, 3, 4, generator=rng(), dtype=torch.float64)
MATRIX = torch.randn(4, 4, generator=rng(1), dtype=torch.float64)
FACTOR = torch.arange(1.0, 8.0, dtype=torch.float64)  # tells the samples apart


@pytest.fixture(params=[1, 6, 1000])
def _size(request, monkeypatch):
    monkeypatch.setitem(parts.TOKENS, "cpu", request.param)


def inputs():
    unused = torch.ones(2, dtype=torch.float64, requires_grad=True)
    return LATENT.clone().requires_grad_(), MATRIX.clone().requires_grad_(), unused


def function(matrix):
    def loss(latent, part):
        errors = torch.sin(latent @ matrix).pow(3).sum(dim=2)
        return (errors.sum(dim=1) * FACTOR[part]).sum(), errors

    return loss


WHOLE = slice(None)


@pytest.mark.usefixtures("_size")
def test_a_sum_and_its_gradients():
    latent, matrix, unused = inputs()
    value, errors = loss_in_parts(function(matrix), latent, 3, [matrix, unused])
    expected, expected_errors = function(matrix)(latent, WHOLE)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(errors, expected_errors)
    assert not errors.requires_grad
    found = torch.autograd.grad(2 * value, [latent, matrix, unused], allow_unused=True)
    wanted = torch.autograd.grad(2 * expected, [latent, matrix])
    torch.testing.assert_close(found[:2], wanted)
    assert found[2] is None
    assert latent.grad is None and matrix.grad is None


@pytest.mark.usefixtures("_size")
def test_a_gradient_and_its_derivative():
    latent, matrix, unused = inputs()

    def slope(latent, matrix):
        return gradient_in_parts(function(matrix), latent, 3, [matrix, unused])[0]

    value, _ = function(matrix)(latent, WHOLE)
    (expected,) = torch.autograd.grad(value, latent)
    torch.testing.assert_close(slope(latent, matrix).detach(), expected)
    assert torch.autograd.gradcheck(slope, (latent, matrix))


def test_without_gradients_nothing_is_kept():
    latent, matrix, _ = inputs()
    with torch.no_grad():
        value, _ = loss_in_parts(function(matrix), latent, 3, [matrix])
        slope, _ = gradient_in_parts(function(matrix), latent, 3, [matrix])
    assert not value.requires_grad
    assert not slope.requires_grad


def test_parts_hold_at_most_so_many_tokens_but_a_sample_at_least(monkeypatch):
    seen = []

    def loss(latent, part):
        seen.append(len(latent))
        return latent.sum(), latent.sum(dim=2)

    for most, expected in ((1, [1] * 7), (6, [2, 2, 2, 1]), (13, [4, 3]), (100, [7])):
        monkeypatch.setitem(parts.TOKENS, "cpu", most)
        seen.clear()
        loss_in_parts(loss, LATENT.clone().requires_grad_(), 3, [])
        assert seen == expected
