"""The Transformer's parts, one by one."""

import pytest
import torch

from cases import rng
from metamae.model.transformer import Block, Transformer, drop, rows, xavier_linear


def test_dropout_keeps_the_mean_and_draws_from_its_generator_only():
    x = torch.ones(100, 1000)
    before = torch.get_rng_state()
    dropped = drop(x, 0.3, rng())
    assert torch.equal(torch.get_rng_state(), before)
    assert dropped.unique().tolist() == pytest.approx([0, 1 / 0.7], rel=1e-5)  # 2**-16 exact
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    assert torch.equal(dropped, drop(x, 0.3, rng()))
    assert not torch.equal(dropped, drop(x, 0.3, rng(1)))
    assert torch.equal(x, torch.ones(100, 1000))


def test_no_generator_no_dropout():
    x = torch.randn(4, 5, generator=rng())
    assert drop(x, 0.9, None) is x
    assert drop(x, 0.0, rng()) is x


def test_linear_maps_start_xavier_uniform_with_zero_bias():
    linear = xavier_linear(40, 60)
    bound = (6 / (40 + 60)) ** 0.5
    assert linear.weight.abs().max() <= bound
    assert linear.weight.abs().max() > 0.99 * bound
    assert not linear.bias.any()
    assert xavier_linear(4, 6, bias=False).bias is None


def test_a_block_is_two_residual_steps_of_normed_input():
    """Written out with torch's own layers."""
    block = Block(8, 2, mlp_ratio=2.0, dropout=0.0)
    theirs = torch.nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    theirs.load_state_dict(
        {"in_proj_weight": block.qkv.weight, "out_proj.weight": block.out.weight}
    )
    x = torch.randn(3, 5, 8, generator=rng())
    normed = block.norm1(x)
    middle = x + theirs(normed, normed, normed)[0] + block.out.bias
    inner = torch.nn.functional.gelu(block.expand(block.norm2(middle)))
    expected = middle + block.contract(inner)
    torch.testing.assert_close(block(x, None, padding=None, twice=False), expected)
    assert block.expand.weight.shape == (16, 8)
    assert block.qkv.bias is None


def test_padding_changes_nothing_for_the_others():
    stack = Transformer(8, 2, 2)
    x = torch.randn(2, 6, 8, generator=rng())
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, 4:] = True
    alone = stack(x[:1, :4])
    together = stack(x, padding)
    torch.testing.assert_close(together[:1, :4], alone)
    torch.testing.assert_close(together[1:], stack(x[1:]))
    torch.testing.assert_close(stack(x, torch.zeros_like(padding)), stack(x))


def test_tokens_are_a_set_to_the_network():
    stack = Transformer(8, 2, 2)
    x = torch.randn(2, 6, 8, generator=rng())
    order = torch.randperm(6, generator=rng())
    torch.testing.assert_close(stack(x[:, order]), stack(x)[:, order])


def test_dropout_acts_on_input_and_blocks_and_only_with_a_generator():
    x = torch.randn(2, 6, 8, generator=rng())
    stack = Transformer(8, 1, 2, dropout=0.5)
    assert torch.equal(stack(x), stack(x))
    assert torch.equal(stack(x, rng=rng()), stack(x, rng=rng()))
    assert not torch.allclose(stack(x, rng=rng()), stack(x))
    bare = Transformer(8, 1, 2, dropout=0.5)
    bare.blocks[0].dropout = 0.0  # the input's is left
    assert not torch.allclose(bare(x, rng=rng()), bare(x))


def test_only_what_is_asked_for_comes_out_of_the_last_block():
    x = torch.randn(2, 6, 8, generator=rng())
    at = torch.tensor([[5, 0], [2, 2]])
    padding = torch.zeros(2, 6, dtype=torch.bool)
    padding[0, 3:5] = True
    for depth in (1, 3):
        stack = Transformer(8, depth, 2)
        torch.testing.assert_close(stack(x, padding, at=at), rows(stack(x, padding), at))


def test_a_memory_is_attended_to_in_place_of_the_tokens():
    """Written out with torch's own layers."""
    stack = Transformer(8, 1, 2)
    (block,) = stack.blocks
    theirs = torch.nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    theirs.load_state_dict(
        {"in_proj_weight": block.qkv.weight, "out_proj.weight": block.out.weight}
    )
    x, memory = (torch.randn(3, n, 8, generator=rng(n)) for n in (5, 4))
    gone = torch.zeros(3, 4, dtype=torch.bool)
    gone[1, 2:] = True
    seen = block.norm1(memory)
    middle = x + theirs(block.norm1(x), seen, seen, key_padding_mask=gone)[0] + block.out.bias
    inner = torch.nn.functional.gelu(block.expand(block.norm2(middle)))
    expected = stack.norm(middle + block.contract(inner))
    torch.testing.assert_close(stack(x, gone, memory=memory), expected)


def test_dropout_is_derived_twice_and_draws_every_share():
    x = torch.randn(5, 7, dtype=torch.float64, generator=rng(), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: drop(x, 0.4, rng(3)), (x,))
    assert torch.autograd.gradgradcheck(lambda x: drop(x, 0.4, rng(3)), (x,))
    for share in (0.001, 0.25, 0.999):
        kept = drop(torch.ones(999, 1001), share, rng()) != 0
        assert (~kept).float().mean() == pytest.approx(share, abs=4e-4 + share * 1e-3)
    # Neighbours, which come from one draw, fall independently.
    kept = (drop(torch.ones(400_000), 0.5, rng()) != 0).view(-1, 4).float()
    assert torch.corrcoef(kept.T).sub(torch.eye(4)).abs().max() < 0.02


def test_dropout_keeps_the_kind_of_number():
    for dtype in (torch.bfloat16, torch.float32, torch.float64):
        assert drop(torch.ones(10, 10, dtype=dtype), 0.5, rng()).dtype == dtype
