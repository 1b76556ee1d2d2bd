"""Shuffled embedding detection: ShED.

Source: Tamkin et al., DABS, NeurIPS 2021 Datasets and Benchmarks, arXiv:2111.12062, section 5.
Differs from the published code: a token that got an equal one is not called shuffled, a token
chosen alone is shuffled with another instead of staying where it is, shuffled and other tokens
have the same weight in all, and tokens change places only within their field. `faithful` brings
the published form back.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from metamae.backbone import Backbone
from metamae.checks import check_flag
from metamae.masking.base import Masking
from metamae.methods.base import Method, is_there, mean_where
from metamae.networks.transformer import xavier_linear
from metamae.types import Batch, Step, Tokens


class ShED(Method):
    """Let some tokens of a sample swap contents, and tell which tokens those were.

    Args:
        backbone: Tokenizer and encoder to train.
        masking: Chooses the tokens that swap.
        faithful: Choose, call and weigh tokens as the published code does.
    """

    description = "detect the tokens whose contents changed places"
    mask_ratio = 0.15  # arXiv:2111.12062

    def __init__(self, backbone: Backbone, masking: Masking, *, faithful: bool = False):
        super().__init__()
        self.backbone, self.masking = backbone, masking
        self.faithful = check_flag("ShED.faithful", faithful)
        self.head = xavier_linear(backbone.tokenizer.width, 1)

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokens = self.backbone.tokenizer.embed(batch)
        chosen, there = self.masking(tokens, rng).hidden, is_there(tokens)
        source = self.sources(tokens, chosen, self.arrange(tokens, rng))
        values = tokens.values
        moved = values.gather(1, source[..., None].expand_as(values))
        shuffled = chosen if self.faithful else (moved != values).any(dim=2) & there
        latent = self.backbone.encode(
            replace(tokens, values=moved), rng=rng if self.training else None
        )
        logits = self.head(latent[:, 1:])[..., 0]
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        errors = F.binary_cross_entropy_with_logits(
            logits, shuffled.to(logits.dtype), reduction="none"
        )
        right = ((logits > 0) == shuffled).to(logits.dtype)
        loss, accuracy = (self.average(v, shuffled, there) for v in (errors, right))
        return Step(loss, {"accuracy": accuracy.detach()})

    def arrange(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        """Draw a number for each token, (B, N): chosen ones swap in the order of these."""
        B, N, _ = tokens.values.shape
        return torch.rand(B, N, generator=rng, device=tokens.values.device)

    def sources(self, tokens: Tokens, chosen: Tensor, scores: Tensor) -> Tensor:
        """Return the position that the content of each token comes from, (B, N).

        Args:
            tokens: Embedded samples.
            chosen: True where a token swaps, (B, N).
            scores: Numbers between 0 and 1 that give the order, (B, N).
        """
        if self.faithful:
            return cycle(chosen, scores)
        there, fields = is_there(tokens), tokens.fields
        source = torch.arange(chosen.shape[1], device=chosen.device).expand_as(chosen)
        for number in [None] if fields is None else range(int(fields.max()) + 1):
            own = there if number is None else there & (fields == number)
            some = with_company(chosen & own, own, scores)
            source = torch.where(some, cycle(some, scores), source)
        return source

    def average(self, values: Tensor, shuffled: Tensor, there: Tensor) -> Tensor:
        """Mean over the tokens, those shuffled having half of the weight, (B, N) -> ()."""
        if self.faithful:
            return mean_where(values, there)
        return (mean_where(values, shuffled) + mean_where(values, there & ~shuffled)) / 2


def cycle(chosen: Tensor, scores: Tensor) -> Tensor:
    """Send the chosen tokens of each sample round in one ring: position of their source, (B, N).

    Args:
        chosen: True where a token takes part, (B, N).
        scores: Numbers between 0 and 1 that give the order of the ring, (B, N).
    """
    order = scores.masked_fill(~chosen, 2.0).argsort(dim=1)  # the chosen come first
    rank = torch.arange(chosen.shape[1], device=chosen.device).expand_as(order)
    count = chosen.sum(dim=1, keepdim=True)
    before = torch.where(rank == 0, (count - 1).clamp(min=0), rank - 1)
    giver = torch.where(rank < count, order.gather(1, before), order)
    return torch.empty_like(order).scatter(1, order, giver)


def with_company(chosen: Tensor, there: Tensor, scores: Tensor) -> Tensor:
    """Where one token alone is chosen, choose another one that is there, too, (B, N)."""
    others = there & ~chosen
    best = scores.masked_fill(~others, -1.0).argmax(dim=1, keepdim=True)
    lonely = (chosen.sum(dim=1, keepdim=True) == 1) & others.any(dim=1, keepdim=True)
    return chosen | torch.zeros_like(chosen).scatter(1, best, lonely)
