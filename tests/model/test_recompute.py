"""Blocks that are computed again, against those that keep what is inside."""

import pytest
import torch

from cases import rng
from metamae.model.transformer import Transformer


def mixed(network, x, *, recompute, source):
    """Output, gradients by tokens and weights, and the draws that follow."""
    tokens = x.clone().requires_grad_()
    found = network(tokens, rng=source, recompute=recompute)
    after = None if source is None else torch.rand(3, generator=source)
    gradients = torch.autograd.grad(found.square().sum(), [tokens, *network.parameters()])
    assert source is None or not torch.equal(torch.rand(3, generator=source), after)
    return found, gradients, after


@pytest.mark.parametrize("dropping", [False, True])
def test_the_same_numbers_come_out_and_the_same_gradients(dropping):
    torch.manual_seed(0)
    network = Transformer(8, 3, 2, dropout=0.4)
    x = torch.randn(2, 5, 8, generator=rng())
    kept, again = (
        mixed(network, x, recompute=recompute, source=rng(1) if dropping else None)
        for recompute in (False, True)
    )
    assert torch.equal(kept[0], again[0])
    assert all(torch.equal(a, b) for a, b in zip(kept[1], again[1], strict=True))
    assert kept[2] is None or torch.equal(kept[2], again[2])


def test_blocks_keep_their_input_only():
    network = Transformer(64, 4, 4)
    x = torch.randn(8, 32, 64, generator=rng(), requires_grad=True)

    def held(recompute):
        sizes = {}

        def pack(tensor):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            found = network(x, recompute=recompute)
        weights = {p.untyped_storage().data_ptr() for p in network.parameters()}
        del found
        return sum(size for place, size in sizes.items() if place not in weights)

    assert held(True) < 0.2 * held(False)
