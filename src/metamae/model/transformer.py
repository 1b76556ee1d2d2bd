"""Pre-norm Transformer blocks, (B, N, D) -> (B, N, D).

Source: Jang et al., NeurIPS 2023, arXiv:2310.16318: no bias in query, key and value, MLP ratio 2,
exact GELU, dropout after the attention's and the MLP's projections and none on the attention.
Weights start Xavier-uniform with zero biases.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from metamae.model.attention import attend
from metamae.model.recompute import again


def drop(x: Tensor, share: float, rng: torch.Generator | None) -> Tensor:
    """Dropout whose draws come from `rng`; no generator, no dropout."""
    if rng is None or share == 0:
        return x
    # A 64-bit number decides on four values; on a CPU that is seven times as fast as PyTorch's
    # own draw for each. The share is rounded to a multiple of 2**-16, and so is the scale.
    level = min(round(share * 2**16), 2**16 - 1)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=rng)
    kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= level - 2**15
    dropped: Tensor = _Drop.apply(x, kept, 2**16 / (2**16 - level))  # type: ignore[no-untyped-call]
    return dropped


class _Drop(torch.autograd.Function):
    """Multiply by a boolean mask, a quarter of the memory of one of numbers, and by a scale."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kept: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(kept)
        ctx.scale = scale
        # Numbers times booleans are slow on a CPU.
        return (x * kept.to(x.dtype)).mul_(scale)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None]:
        (kept,) = ctx.saved_tensors
        return (slope * kept.to(slope.dtype)).mul_(ctx.scale), None, None


def rows(x: Tensor, at: Tensor) -> Tensor:
    """Pick the tokens at positions (B, K): (B, N, D), or (N, D) of all samples -> (B, K, D)."""
    if x.ndim == 3:
        at = at + x.shape[1] * torch.arange(len(x), device=x.device)[:, None]
    # Whole rows of a matrix are copied in a third of the time that `gather` takes on a CPU.
    return x.reshape(-1, x.shape[-1]).index_select(0, at.flatten()).view(*at.shape, -1)


def xavier_linear(inputs: int, outputs: int, *, bias: bool = True) -> nn.Linear:
    """Linear map with Xavier-uniform weights and zero bias."""
    linear = nn.Linear(inputs, outputs, bias=bias)
    nn.init.xavier_uniform_(linear.weight)
    if bias:
        nn.init.zeros_(linear.bias)
    return linear


class Block(nn.Module):
    """Attention, then a two-layer network, each around a residual.

    Args:
        width: D.
        heads: Attention heads; they divide the width.
        mlp_ratio: Hidden units of the two-layer network as a multiple of the width.
        dropout: Share of values dropped after each of the two, when a generator is given.
    """

    def __init__(self, width: int, heads: int, *, mlp_ratio: float, dropout: float):
        super().__init__()
        self.heads, self.dropout = heads, dropout
        hidden = round(width * mlp_ratio)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = xavier_linear(width, 3 * width, bias=False)
        self.out = xavier_linear(width, width)
        self.expand, self.contract = xavier_linear(width, hidden), xavier_linear(hidden, width)

    def forward(
        self,
        x: Tensor,
        rng: torch.Generator | None,
        *,
        padding: Tensor | None,
        twice: bool,
        memory: Tensor | None = None,
    ) -> Tensor:
        """Let tokens (B, N, D) attend to each other, or to others: `memory`, (B, M, D).

        `padding` tells where nothing is attended to: (B, N), or (B, M) with a memory.
        """
        q, k, v = (self._heads(part) for part in self._project(x, memory))
        mixed = attend(q, k, v, padding, twice=twice).transpose(1, 2).reshape(x.shape)
        x = x + drop(self.out(mixed), self.dropout, rng)
        inner = drop(nn.functional.gelu(self.expand(self.norm2(x))), self.dropout, rng)
        return x + drop(self.contract(inner), self.dropout, rng)

    def _project(self, x: Tensor, memory: Tensor | None) -> Iterable[Tensor]:
        """Queries of the tokens, keys and values of what they attend to, (B, ., D) each."""
        D = x.shape[-1]
        if memory is None:
            parts: tuple[Tensor, ...] = torch.split(self.qkv(self.norm1(x)), D, dim=-1)
            return parts
        weight = self.qkv.weight
        q = nn.functional.linear(self.norm1(x), weight[:D])
        k, v = torch.split(nn.functional.linear(self.norm1(memory), weight[D:]), D, dim=-1)
        return q, k, v

    def _heads(self, x: Tensor) -> Tensor:
        """(B, N, D) -> (B, heads, N, D / heads)."""
        return x.view(*x.shape[:2], self.heads, -1).transpose(1, 2)


class Transformer(nn.Module):
    """A stack of blocks and a final norm.

    Args:
        width: D.
        depth: Number of blocks.
        heads: Attention heads of each.
        mlp_ratio: Hidden units of a block's MLP as a multiple of the width.
        dropout: Share of values dropped, inside the blocks and on the input.
    """

    def __init__(
        self, width: int, depth: int, heads: int, *, mlp_ratio: float = 2.0, dropout: float = 0.0
    ):
        super().__init__()
        self.dropout = dropout
        self.blocks = nn.ModuleList(
            Block(width, heads, mlp_ratio=mlp_ratio, dropout=dropout) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        x: Tensor,
        padding: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        twice: bool = False,
        memory: Tensor | None = None,
        at: Tensor | None = None,
        recompute: bool = False,
    ) -> Tensor:
        """Mix the tokens of each sample.

        Args:
            x: Tokens, (B, N, D).
            padding: True where there is no token, (B, N), or (B, M) with a memory; such tokens
                are never attended to.
            rng: Source of the dropout; None for none.
            twice: Whether the result will be differentiated twice.
            memory: What all blocks attend to in place of the tokens themselves, (B, M, D).
            at: Positions of the tokens that are asked for, (B, K); the last block computes only
                these. None for all.
            recompute: Whether each block keeps its input only and is computed again to be derived,
                which can then be done once.

        Returns:
            (B, N, D), or (B, K, D) with `at`.
        """
        states = self.states(
            x, padding, rng=rng, twice=twice, memory=memory, at=at, recompute=recompute
        )
        (last,) = deque(states, maxlen=1)
        normed: Tensor = self.norm(last)
        return normed

    def states(
        self,
        x: Tensor,
        padding: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
        twice: bool = False,
        memory: Tensor | None = None,
        at: Tensor | None = None,
        recompute: bool = False,
    ) -> Iterator[Tensor]:
        """Yield what each block makes of the tokens, (B, N, D); the arguments of `forward`."""
        x = drop(x, self.dropout, rng)
        for number, block in enumerate(self.blocks, 1):
            if at is not None and number == len(self.blocks):
                memory = x if memory is None else memory
                x = rows(x, at)
            if recompute:
                x = again(partial(block, padding=padding, twice=twice, memory=memory), x, rng)
            else:
                x = block(x, rng, padding=padding, twice=twice, memory=memory)
            yield x
