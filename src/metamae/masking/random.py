"""Hide tokens uniformly at random.

Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022,
arXiv:2111.06377, section 3.
Differs: the number of visible tokens is rounded; the published code truncates it.
"""

import torch
from torch import Tensor

from metamae.masking.base import Masking
from metamae.model.tokens import Tokens


class RandomMasking(Masking):
    """Hide a share of each sample's tokens, all choices equally likely.

    Args:
        ratio: Share to hide, strictly between 0 and 1.
    """

    description = "hide tokens uniformly at random"

    def __init__(self, *, ratio: float = 0.75):
        super().__init__(ratio=ratio)

    def scores(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        B, N, _ = tokens.values.shape
        return torch.rand(B, N, generator=rng, device=tokens.values.device)
