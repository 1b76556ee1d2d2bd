"""MetaMAE written plainly: what the faster form of the package is measured against.

Everything is predicted in both passes, the graph of the inner gradient is kept as it comes, and
softmax runs over the last axis however few keys there are. Losses and gradients are the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import torch
from torch import Tensor

from metamae.methods.base import explained, mean_where
from metamae.methods.metamae import Adapted, MetaMAE
from metamae.model import attention
from metamae.model.tokens import Batch, Mask, Step, Tokens


class PlainMetaMAE(MetaMAE):
    """The published arithmetic without a thought for time or memory."""

    def losses(
        self, batch: Batch, tokens: Tokens, mask: Mask, support: Tensor, rng: torch.Generator
    ) -> Step:
        before = self.backbone.encode(tokens, mask, rng if self.training else None)
        adapted = self.adapt(before, batch, tokens, mask, support)
        errors = self.decoder.errors(adapted.latent, mask, tokens.padding, batch)
        reconstruction = mean_where(errors, mask.hidden)
        contrast = self.contrast(before, adapted.latent, mask)
        baseline = self.backbone.tokenizer.baseline(batch)
        logs = {"r2": explained(errors.detach(), baseline, mask.hidden)}
        return Step(reconstruction + self.contrast_weight * contrast, logs)

    def adapt(
        self, latent: Tensor, batch: Batch, tokens: Tokens, mask: Mask, support: Tensor
    ) -> Adapted:
        # The gradient is needed at evaluation too, where nothing else asks for one.
        with torch.enable_grad():
            if not latent.requires_grad:
                latent = latent.detach().requires_grad_()
            errors = self.decoder.errors(latent, mask, tokens.padding, batch, twice=True)
            inner = (errors * self.shares(support, latent)).sum()
            (gradient,) = torch.autograd.grad(inner, latent, create_graph=True)
        return Adapted(latent - self.inner_lr * gradient, errors.detach())


@contextmanager
def plainly() -> Iterator[None]:
    """Compute every MetaMAE plainly while the context lasts."""
    with (
        patch.object(MetaMAE, "losses", PlainMetaMAE.losses),
        patch.object(MetaMAE, "adapt", PlainMetaMAE.adapt),
        patch.object(attention, "FEW_KEYS", 0),
    ):
        yield
