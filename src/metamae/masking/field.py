"""Hide whole fields of a sample, so that one is predicted from the others.

Source: the idea of Bachmann et al., MultiMAE, ECCV 2022, arXiv:2204.01678, which draws how
many tokens of each modality stay visible, none included.
Differs: fields are hidden one after the other in a random order instead of by shares from a
Dirichlet distribution, and only in a part of the samples; the others are masked at random.
"""

import torch
from torch import Tensor

from metamae.core.checks import check_between
from metamae.masking.base import Masking
from metamae.model.tokens import Tokens


class FieldMasking(Masking):
    """Hide fields in a random order, each as a whole, until the share is reached.

    The field that the share ends in is hidden in part, at random. Where a sample has one field
    this is random masking.

    Args:
        ratio: Share to hide, strictly between 0 and 1.
        whole: Chance that a sample is treated so; the others are masked at random.
    """

    description = "hide whole fields of a mixture, in half of the samples"

    def __init__(self, *, ratio: float = 0.75, whole: float = 0.5):
        super().__init__(ratio=ratio)
        self.whole = check_between("FieldMasking.whole", whole, 0, 1, closed=True)

    def scores(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        B, N, _ = tokens.values.shape
        device = tokens.values.device
        noise = torch.rand(B, N, generator=rng, device=device)
        first = tokens.field_starts
        if first is None:
            return noise
        drawn = torch.rand(B, N, generator=rng, device=device)
        whole = torch.rand(B, 1, generator=rng, device=device) < self.whole
        # A field's draw is that of its first token: all its tokens have the same.
        level = drawn[:, first]
        # Tokens of the fields that are hidden before: a whole number, the noise decides within.
        rank = torch.searchsorted(level.sort(dim=1).values, level.contiguous()).double()
        return noise + rank * whole
