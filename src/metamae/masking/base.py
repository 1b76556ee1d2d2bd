"""What a masking strategy is: a score per token; the tokens of highest score stay visible."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from metamae.core.checks import check_between
from metamae.model.tokens import Mask, Tokens


class Masking(ABC):
    """A rule that picks the tokens to hide. It sees tokens only, never the data behind them.

    Args:
        ratio: Share of a sample's tokens to hide, strictly between 0 and 1. At least one token
            stays visible, and at least one is hidden in a sample of two or more.
    """

    description: ClassVar[str]
    """One line for `metamae list`."""

    def __init__(self, *, ratio: float):
        self.ratio = check_between(f"{type(self).__name__}.ratio", ratio, 0, 1)

    @abstractmethod
    def scores(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        """Score every token, (B, N); the highest stay visible."""

    def __call__(self, tokens: Tokens, rng: torch.Generator) -> Mask:
        """Draw a mask for a batch."""
        return keep_best(self.scores(tokens, rng), tokens.padding, self.ratio)


def keep_best(scores: Tensor, padding: Tensor | None, ratio: float) -> Mask:
    """Hide a share of each sample's tokens and keep those of highest score.

    The number kept is rounded, not truncated: 20 tokens at ratio 0.9 keep 2 although
    20 * (1 - 0.9) lies just below 2.

    Args:
        scores: One finite number per token, (B, N).
        padding: True where there is no token, (B, N); None if all are there.
        ratio: Share to hide.
    """
    B, N = scores.shape
    most = num_visible(N, ratio)
    if padding is None:
        kept = scores.topk(most, dim=1).indices.sort(dim=1).values
        hidden = torch.ones_like(scores, dtype=torch.bool).scatter(1, kept, False)
        return Mask(hidden, kept)
    there = (~padding).sum(dim=1)  # (B,)
    # `num_visible` of every row, in its precision: float32 would round other ties than it does.
    wanted = (there.double() * (1 - ratio)).round().clamp(min=1)
    wanted = wanted.minimum((there - 1).clamp(min=1)).minimum(there)
    best = scores.masked_fill(padding, float("-inf")).topk(most, dim=1).indices  # (B, V)
    empty = torch.arange(most, device=scores.device) >= wanted[:, None]  # (B, V)
    # N stands for "none" while sorting, so that the empty slots come last.
    kept = best.masked_fill(empty, N).sort(dim=1).values
    visible = torch.zeros(B, N + 1, dtype=torch.bool, device=scores.device).scatter(1, kept, True)
    return Mask(~(visible[:, :N] | padding), kept.masked_fill(kept == N, -1), short=True)


def num_visible(num_tokens: int, ratio: float) -> int:
    """Tokens of a sample that stay visible: V."""
    rounded = max(1, round(num_tokens * (1 - ratio)))
    return min(rounded, max(1, num_tokens - 1))
