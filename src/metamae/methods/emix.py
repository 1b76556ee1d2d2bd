"""Instance discrimination of mixed embeddings: e-Mix.

Source: Tamkin et al., DABS: A Domain-Agnostic Benchmark for Self-Supervised Learning, NeurIPS
2021 Datasets and Benchmarks, arXiv:2111.12062, section 5; after i-Mix, Lee et al., ICLR 2021,
arXiv:2010.08887.
Differs from the published code: each sample's loss is weighted by its own share of the mixture
(there: by the mean share of the batch), and the summary token is left out of the pooled vector.
`faithful` brings both back. Where a sample has no token its partner mixes nothing in.
"""

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from metamae.core.checks import check_between, check_flag
from metamae.methods.base import Method, is_there
from metamae.model.backbone import Backbone, pool
from metamae.model.tokens import Batch, Step, Tokens
from metamae.model.transformer import xavier_linear

PROJECTED = 128  # width at which vectors are compared, arXiv:2111.12062


class EMix(Method):
    """Mix the embedded tokens of two samples, and tell from the result which two they were.

    Args:
        backbone: Tokenizer and encoder to train.
        temperature: By which similarities are divided.
        faithful: Weight and pool as the published code does.
    """

    description = "tell which two samples of the batch a mixture of embeddings is made of"

    def __init__(self, backbone: Backbone, *, temperature: float = 0.2, faithful: bool = False):
        super().__init__()
        self.backbone = backbone
        self.temperature = check_between("EMix.temperature", temperature, 0, float("inf"))
        self.faithful = check_flag("EMix.faithful", faithful)
        self.head = xavier_linear(backbone.tokenizer.width, PROJECTED)

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokens = self.backbone.tokenizer.embed(batch)
        values = tokens.values
        # Beta(1, 1) is uniform; the larger share makes a sample the one that counts.
        share = torch.rand(len(values), generator=rng, device=values.device)
        share = share.maximum(1 - share).to(values.dtype)
        partner = torch.randperm(len(values), generator=rng, device=values.device)
        mixed = mix(tokens, partner, share)
        drops = rng if self.training else None
        queries, keys = (self.vector(part, drops) for part in (mixed, tokens))
        with torch.autocast(values.device.type, enabled=False):
            logits = queries @ keys.T / self.temperature
            loss = self.loss(logits, partner, share.to(logits.dtype))
        itself = torch.arange(len(values), device=values.device)
        accuracy = (logits.argmax(dim=1) == itself).to(logits.dtype).mean()
        return Step(loss, {"accuracy": accuracy.detach()})

    def vector(self, tokens: Tokens, rng: torch.Generator | None) -> Tensor:
        """Encode samples to unit vectors, (B, PROJECTED), at least in float32."""
        latent, padding = self.backbone.encode(tokens, rng=rng), tokens.padding
        if self.faithful:
            padding = None if padding is None else F.pad(padding, (1, 0), value=False)
        else:
            latent = latent[:, 1:]
        projected: Tensor = self.head(pool(latent, padding))
        return F.normalize(projected.to(torch.promote_types(projected.dtype, torch.float32)), dim=1)

    def loss(self, logits: Tensor, partner: Tensor, share: Tensor) -> Tensor:
        """Cross-entropy with the sample and with its partner, by their shares in the mixture.

        Args:
            logits: Similarity of every mixture to every sample, (B, B).
            partner: Position of the other sample, (B,).
            share: Of the first in the mixture, (B,).
        """
        itself = torch.arange(len(logits), device=logits.device)
        first = F.cross_entropy(logits, itself, reduction="none")
        second = F.cross_entropy(logits, partner, reduction="none")
        weight = share.mean() if self.faithful else share
        return (weight * first + (1 - weight) * second).mean()


def mix(tokens: Tokens, partner: Tensor, share: Tensor) -> Tokens:
    """Mix each sample with its partner, which learns nothing from it; places stay.

    Args:
        tokens: Embedded samples.
        partner: Position of the other sample, (B,).
        share: Of the first, (B,).
    """
    there = is_there(tokens)
    weight = share[:, None].expand(-1, there.shape[1])
    weight = weight.masked_fill(~there[partner], 1.0)[..., None]
    other = tokens.values.detach()[partner]
    return replace(tokens, values=weight * tokens.values + (1 - weight) * other)
