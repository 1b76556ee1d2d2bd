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

from metamae.core.checks import check_flag
from metamae.masking.base import Masking
from metamae.methods.base import Method, is_there, mean_where
from metamae.model.backbone import Backbone
from metamae.model.tokens import Batch, Step, Tokens
from metamae.model.transformer import xavier_linear


class ShED(Method):
    """Let some tokens of a sample swap contents, and tell which tokens those were.

    Args:
        backbone: Tokenizer and encoder to train.
        masking: Chooses the tokens that swap.
        faithful: Choose, call and weigh tokens as the published code does.
    """

    description = "detect the tokens whose contents changed places"
    masking: Masking
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
        fields = None if self.faithful else tokens.field_starts
        if fields is None:
            fields = torch.zeros_like(chosen[0], dtype=torch.long)
        if not self.faithful:
            chosen = with_company(chosen, is_there(tokens), scores, fields)
        return cycle(chosen, scores, fields)

    def average(self, values: Tensor, shuffled: Tensor, there: Tensor) -> Tensor:
        """Mean over the tokens, those shuffled having half of the weight, (B, N) -> ()."""
        if self.faithful:
            return mean_where(values, there)
        return (mean_where(values, shuffled) + mean_where(values, there & ~shuffled)) / 2


def cycle(chosen: Tensor, scores: Tensor, fields: Tensor) -> Tensor:
    """Send the chosen tokens of each field round in a ring: position of their source, (B, N).

    Args:
        chosen: True where a token takes part, (B, N).
        scores: Numbers between 0 and 1 that give the order of the rings, (B, N).
        fields: Field of each token, (N,), a number below N.
    """
    N = chosen.shape[1]
    # The chosen come first, those of a field together. Two sorts: a sum would round the scores.
    order = scores.argsort(dim=1)
    kinds = torch.where(chosen, fields, N).gather(1, order)
    kinds, again = kinds.sort(dim=1, stable=True)
    order = order.gather(1, again)
    rank = torch.arange(N, device=chosen.device).expand_as(order)
    begins = torch.cat([torch.ones_like(chosen[:, :1]), kinds[:, 1:] != kinds[:, :-1]], dim=1)
    last = rank - 1 + in_field(chosen, fields).gather(1, order)
    before = torch.where(begins, last.clamp(0, N - 1), rank - 1)
    giver = torch.where(kinds < N, order.gather(1, before), order)
    return torch.empty_like(order).scatter(1, order, giver)


def with_company(chosen: Tensor, there: Tensor, scores: Tensor, fields: Tensor) -> Tensor:
    """Where one token of a field is chosen alone, choose another one that is there, too, (B, N)."""
    others = there & ~chosen
    own = fields.expand_as(chosen)
    marks = scores.masked_fill(~others, -1.0)
    best = torch.full_like(scores, -1.0).scatter_reduce(1, own, marks, "amax").gather(1, own)
    return chosen | (others & (marks == best) & (in_field(chosen, fields) == 1))


def in_field(chosen: Tensor, fields: Tensor) -> Tensor:
    """Count the chosen tokens of each token's field, (B, N)."""
    own = fields.expand_as(chosen)
    counts = torch.zeros(own.shape, dtype=torch.long, device=own.device)
    return counts.scatter_add(1, own, chosen.long()).gather(1, own)
