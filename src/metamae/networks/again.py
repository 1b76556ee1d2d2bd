"""A block that keeps its input and nothing inside, and is computed again when it is derived.

Source: Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016, arXiv:1604.06174.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

Block = Callable[[Tensor, torch.Generator | None], Tensor]
"""Tokens and the source of the dropout -> tokens."""


def again(block: Block, x: Tensor, rng: torch.Generator | None) -> Tensor:
    """Apply a block to tokens, with the same draws each time that it is computed.

    The result can be derived once.
    """
    begin = None if rng is None else rng.get_state()
    ends: list[Tensor] = []

    def compute(tokens: Tensor) -> Tensor:
        if begin is None:
            return block(tokens, None)
        own = torch.Generator(tokens.device)
        own.set_state(begin)
        found = block(tokens, own)
        ends.append(own.get_state())
        return found

    # PyTorch keeps the state of its global generators; the draws here come from none of them.
    found: Tensor = checkpoint(compute, x, use_reentrant=False, preserve_rng_state=False)
    if rng is not None:
        rng.set_state(ends[0])
    return found
