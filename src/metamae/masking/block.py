"""Hide tokens that touch each other.

Source: the block-wise masking of Bao et al., BEiT, ICLR 2022, arXiv:2106.08254, algorithm 1.
Differs: a block grows over the tokens' own neighbour relation instead of being a rectangle, so
that it works on a lattice of any number of axes and on points.
"""

import torch
from torch import Tensor

from metamae.core.checks import check_at_least
from metamae.masking.base import Masking
from metamae.model.tokens import Tokens


class BlockMasking(Masking):
    """Grow hidden regions outward from random tokens until the share is reached.

    Where tokens have no geometry (a table) all are equally near, and this is random masking.

    Args:
        ratio: Share to hide, strictly between 0 and 1.
        blocks: Regions of each sample; they may meet.
    """

    description = "hide regions of tokens that touch each other"

    def __init__(self, *, ratio: float = 0.75, blocks: int = 1):
        super().__init__(ratio=ratio)
        self.blocks = check_at_least("BlockMasking.blocks", blocks, 1)

    def scores(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        B, N, _ = tokens.values.shape
        device = tokens.values.device
        noise = torch.rand(B, N, generator=rng, device=device)
        if tokens.neighbours is None:
            return noise
        there = torch.ones(B, N, dtype=torch.bool, device=device)
        if tokens.padding is not None:
            there = ~tokens.padding
        start = torch.rand(B, N, generator=rng, device=device).masked_fill(~there, -1)
        centres = start.topk(min(self.blocks, N), dim=1).indices
        reached = torch.zeros_like(there).scatter(1, centres, True)
        return _hops(reached, tokens.neighbours, there, self.ratio) + noise


def _hops(reached: Tensor, neighbours: Tensor, there: Tensor, ratio: float) -> Tensor:
    """Hops from the tokens reached at first to each token, (B, N), as far as they matter.

    A region grows across tokens that are missing, but only those that are there count.
    """
    B, N = reached.shape
    near = neighbours.expand(B, *neighbours.shape[-2:])  # (B, N, K)
    exists, near = near >= 0, near.clamp(min=0)
    enough = there.sum(dim=1) * ratio + 1  # (B,)
    hops = torch.full((B, N), float(N), device=reached.device).masked_fill(reached, 0.0)
    for hop in range(1, N):
        touched = reached.gather(1, near.flatten(1)).view_as(near) & exists
        grown = reached | touched.any(dim=2)
        counted = (reached & there).sum(dim=1)
        if bool((grown == reached).all()) or bool((counted >= enough).all()):
            break
        hops = hops.masked_fill(grown & ~reached, float(hop))
        reached = grown
    return hops
