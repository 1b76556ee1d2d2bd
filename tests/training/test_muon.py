"""Muon against singular value decompositions and its rule written out."""

import pytest
import torch

from cases import rng
from metamae.training.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(5, 5), (4, 16), (16, 4), (64, 32)])
def test_singular_values_become_nearly_equal_and_their_vectors_stay(shape):
    matrices = torch.randn(3, *shape, generator=rng(), dtype=torch.float64)
    matrices[1] *= 1e-3  # the scale does not matter
    turned = orthogonalise(matrices)
    for before, after in zip(matrices, turned, strict=True):
        u, s, v = torch.linalg.svd(before, full_matrices=False)
        inside = u.T @ after @ v.T
        assert (inside - inside.diag().diag()).abs().max() < 1e-9
        large = s > 0.05 * s.max()
        assert ((inside.diag() > 0.6) & (inside.diag() < 1.3))[large].all()


def test_no_gradient_no_direction():
    assert not orthogonalise(torch.zeros(1, 3, 4)).any()


def test_a_step_is_the_rule_written_out():
    weights = [torch.randn(4, 6, generator=rng(n)) for n in range(2)]
    ours = [w.clone().requires_grad_() for w in weights]
    idle = torch.ones(2, 2, requires_grad=True)
    optimizer = Muon([*ours, idle], lr=0.1, weight_decay=0.5, momentum=0.9)
    past = [torch.zeros(4, 6)] * 2
    for number in range(3):
        gradients = [torch.randn(4, 6, generator=rng(10 * number + n)) for n in range(2)]
        for parameter, gradient in zip(ours, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        past = [0.9 * p + 0.1 * g for p, g in zip(past, gradients, strict=True)]
        ahead = [0.9 * p + 0.1 * g for p, g in zip(past, gradients, strict=True)]
        weights = [
            w * (1 - 0.1 * 0.5) - 0.1 * 0.2 * 6**0.5 * orthogonalise(a[None])[0]
            for w, a in zip(weights, ahead, strict=True)
        ]
    for a, b in zip(ours, weights, strict=True):
        torch.testing.assert_close(a.detach(), b)
    assert torch.equal(idle, torch.ones(2, 2))


def test_a_step_is_about_as_long_as_one_of_adamw():
    gradient = torch.randn(64, 128, generator=rng())
    weight = torch.zeros(64, 128, requires_grad=True)
    weight.grad = gradient
    Muon([weight], lr=1.0).step()
    assert weight.detach().square().mean().sqrt() == pytest.approx(0.2, rel=0.2)
