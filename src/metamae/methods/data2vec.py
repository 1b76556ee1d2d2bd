"""Predict the latents that a slow copy of the encoder has of the whole sample: data2vec.

Source: Baevski et al., data2vec, ICML 2022, arXiv:2202.03555, section 3.
Differs: any modality with one set of settings, and the latents of each block are normalised by
token in all of them.
"""

from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamae.core.checks import check_at_least, check_between
from metamae.masking.base import Masking
from metamae.methods.base import Method, blanked, mean_where
from metamae.model.backbone import Backbone
from metamae.model.tokens import Batch, Step
from metamae.model.transformer import xavier_linear


class Data2Vec(Method):
    """Hide tokens, and predict what a teacher that sees them makes of them in context.

    The teacher is a moving average of the encoder: its weights follow slowly, and ever slower.

    Args:
        backbone: Tokenizer and encoder to train.
        masking: Chooses the hidden tokens.
        average_blocks: Last blocks of the teacher whose latents are averaged; at most all.
        ema_start: Share of itself that the teacher keeps at a step, at the beginning.
        ema_end: The same at the end of the run; in between it changes evenly.
        beta: Error up to which the loss is quadratic; beyond it is linear.
    """

    description = "predict the contextual latents of a teacher that is a moving average"
    masking: Masking

    def __init__(
        self,
        backbone: Backbone,
        masking: Masking,
        *,
        average_blocks: int = 3,
        ema_start: float = 0.99,
        ema_end: float = 0.9995,
        beta: float = 2.0,
    ):
        super().__init__()
        self.backbone, self.masking = backbone, masking
        self.average_blocks = check_at_least("Data2Vec.average_blocks", average_blocks, 1)
        self.ema_start = check_between("Data2Vec.ema_start", ema_start, 0, 1, closed=True)
        self.ema_end = check_between("Data2Vec.ema_end", ema_end, 0, 1, closed=True)
        self.beta = check_between("Data2Vec.beta", beta, 0, float("inf"))
        width = backbone.tokenizer.width
        self.blank = nn.Parameter(0.02 * torch.randn(width))
        self.head = xavier_linear(width, width)
        self.teacher = deepcopy(backbone).requires_grad_(False)

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokens = self.backbone.tokenizer.embed(batch)
        mask = self.masking(tokens, rng)
        seen = blanked(tokens, mask.hidden, self.blank)
        latent = self.backbone.encode(seen, rng=rng if self.training else None)
        predicted = self.head(latent[:, 1:])
        predicted = predicted.to(torch.promote_types(predicted.dtype, torch.float32))
        target = self.target(batch).to(predicted.dtype)
        errors = F.smooth_l1_loss(predicted, target, reduction="none", beta=self.beta).mean(dim=2)
        logs = collapse_logs(predicted.detach(), target, mask.hidden)
        return Step(mean_where(errors, mask.hidden), logs)

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """What the teacher makes of the whole samples: normalised latents, (B, N, D)."""
        tokens = self.teacher.tokenizer.embed(batch)
        states = self.teacher.layers(tokens, self.average_blocks)
        normed = [F.layer_norm(state[:, 1:], state.shape[-1:]) for state in states]
        return torch.stack(normed).mean(dim=0)

    @torch.no_grad()
    def after_update(self, progress: float, learnt: Tensor) -> None:
        """Let the teacher follow the encoder a little."""
        kept = self.ema_start + (self.ema_end - self.ema_start) * progress
        pairs = zip(self.teacher.parameters(), self.backbone.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast.to(slow.dtype), (1 - kept) * learnt.to(slow.dtype))


def collapse_logs(predicted: Tensor, target: Tensor, hidden: Tensor) -> dict[str, Tensor]:
    """How well hidden latents (B, N, D) are predicted, and how much they differ at all.

    Returns:
        "target_r2": share of the targets' variance that is explained. "target_std": their mean
        standard deviation over tokens; near 0 the latents have collapsed to one vector.
    """
    weight = hidden[..., None].to(target.dtype)
    count = weight.sum().clamp(min=1)
    mean = (target * weight).sum(dim=(0, 1)) / count
    variance = ((target - mean).square() * weight).sum(dim=(0, 1)) / count
    error = ((predicted - target).square() * weight).sum(dim=(0, 1)) / count
    r2 = 1 - error.mean() / variance.mean().clamp(min=1e-12)
    return {"target_r2": r2, "target_std": variance.sqrt().mean()}
