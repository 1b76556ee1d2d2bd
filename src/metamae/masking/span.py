"""Hide runs of consecutive tokens.

Source: the idea of Joshi et al., SpanBERT, TACL 2020, arXiv:1907.10529, section 3.1.
Differs: runs have one length, not a geometric one, so that every sample hides the same number.
"""

import torch
from torch import Tensor

from metamae.core.checks import check_at_least
from metamae.masking.base import Masking
from metamae.model.tokens import Tokens


class SpanMasking(Masking):
    """Cut the tokens, in their order, into runs and hide whole runs until the share is reached.

    Args:
        ratio: Share to hide, strictly between 0 and 1.
        length: Tokens of a run; where the cuts lie is drawn anew for each sample.
    """

    description = "hide runs of consecutive tokens"

    def __init__(self, *, ratio: float = 0.75, length: int = 4):
        super().__init__(ratio=ratio)
        self.length = check_at_least("SpanMasking.length", length, 1)

    def scores(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        B, N, _ = tokens.values.shape
        device = tokens.values.device
        start = torch.randint(self.length, (B, 1), generator=rng, device=device)
        run = (torch.arange(N, device=device) + start) // self.length  # (B, N)
        drawn = torch.rand(B, N // self.length + 2, generator=rng, device=device)
        rank = drawn.argsort(dim=1).argsort(dim=1).double().gather(1, run)
        # Ordered by run, then by place: a run that is hidden in part is hidden in one piece.
        return rank * N + torch.arange(N, device=device)
