"""Masked auto-encoding in which the visible latents are adapted to each sample.

Read as meta-learning: the visible tokens are the support set, the hidden ones the query. One
gradient step on the latents makes the support fit better; the query is then answered from the
adapted latents, and a contrast ties the latents before and after the step to each other.

Source: Jang et al., Modality-Agnostic Self-Supervised Learning with Meta-Learned Masked
Auto-Encoder, NeurIPS 2023, arXiv:2310.16318, section 3.
Differs from the published code: the inner loss is averaged within each sample (there: over the
support of the batch, then multiplied by the batch size; `normaliser="batch"` is that form),
which tokens touch comes from the modality, the number of visible tokens is rounded, the inner step
is longer (there 0.5, where it changes next to nothing) and joins late in a run (docs/defaults.md).
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from metamae.core.checks import check_at_least, check_between, check_flag, check_one_of
from metamae.masking.base import Masking
from metamae.methods.base import (
    Method,
    Query,
    Reconstruction,
    draw_query,
    explained,
    is_there,
    mean_where,
    nt_xent,
    positions,
    reconstruction_logs,
)
from metamae.model.backbone import Backbone, pool
from metamae.model.decoder import Decoder, spread_out
from metamae.model.recompute import Loss, gradient_in_parts, loss_in_parts
from metamae.model.tokens import Batch, Mask, Step, Tokens

PROJECTED = 128  # width at which latents are compared, arXiv:2310.16318


class MetaMAE(Method):
    """Reconstruct hidden tokens after a gradient step on the latents of the visible ones.

    Args:
        backbone: Tokenizer and encoder to train.
        decoder: Predicts tokens from the latents of the visible ones.
        masking: Chooses the hidden tokens.
        inner_lr: Length of the inner gradient step; 0.5 in the published code.
        inner_steps: Number of inner gradient steps.
        inner_from: Share of the run before which there is no inner step but plain masked
            auto-encoding, which learns more in as much time; 0 in the published code.
        second_order: Differentiate through the inner step. False is cheaper and less exact.
        query_share: Share of a sample's hidden tokens, at least one, that a step asks for in the
            end; drawn anew for each. 1 in the published code.
        support_share: Chance that a hidden token next to a visible one joins the support set.
        contrast_weight: Weight of the term that pairs latents before and after the inner step.
        temperature: Temperature of that term.
        normaliser: Inner loss averaged within each "sample", or over the "batch".
        recompute: Compute the encoder's blocks and the inner step again when they are derived, and
            decode a few samples at a time: the same gradients in less memory and more time.
    """

    description = "masked auto-encoding with one inner gradient step on the visible latents"
    masking: Masking
    adapts = True

    def __init__(  # noqa: PLR0913  # one argument for each setting
        self,
        backbone: Backbone,
        decoder: Decoder,
        masking: Masking,
        *,
        inner_lr: float = 20.0,
        inner_steps: int = 1,
        inner_from: float = 0.8,
        second_order: bool = True,
        query_share: float = 1.0,
        support_share: float = 0.1,
        contrast_weight: float = 0.1,
        temperature: float = 0.5,
        normaliser: str = "sample",
        recompute: bool = False,
    ):
        super().__init__()
        self.backbone, self.decoder, self.masking = backbone, decoder, masking
        self.inner_lr = check_between("MetaMAE.inner_lr", inner_lr, 0, float("inf"))
        self.inner_steps = check_at_least("MetaMAE.inner_steps", inner_steps, 1)
        self.inner_from = check_between("MetaMAE.inner_from", inner_from, 0, 1, closed=True)
        self.inner_now = True
        self.second_order = check_flag("MetaMAE.second_order", second_order)
        self.query_share = check_between("MetaMAE.query_share", query_share, 0, 1, closed=True)
        self.support_share = check_between(
            "MetaMAE.support_share", support_share, 0, 1, closed=True
        )
        self.contrast_weight = check_between(
            "MetaMAE.contrast_weight", contrast_weight, 0, float("inf"), closed=True
        )
        self.temperature = check_between("MetaMAE.temperature", temperature, 0, float("inf"))
        self.normaliser = check_one_of("MetaMAE.normaliser", normaliser, ["sample", "batch"])
        self.recompute = check_flag("MetaMAE.recompute", recompute)
        width = backbone.tokenizer.width
        self.projector = nn.Sequential(
            nn.Linear(width, 4 * width, bias=False),
            nn.BatchNorm1d(4 * width),
            nn.ReLU(),
            nn.Linear(4 * width, PROJECTED, bias=False),
        )

    def before_update(self, progress: float) -> None:
        self.inner_now = progress >= self.inner_from

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokens = self.backbone.tokenizer.embed(batch)
        mask = self.masking(tokens, rng)
        if self.inner_now:
            return self.losses(batch, tokens, mask, self.support(tokens, mask, rng), rng)
        query, latent = self.query(mask, rng), self.encode(tokens, mask, rng)
        loss, errors = self.reconstruction(latent, batch, tokens, mask, query)
        return Step(loss, reconstruction_logs(self.decoder, batch, mask, query, loss, errors))

    def encode(self, tokens: Tokens, mask: Mask, rng: torch.Generator) -> Tensor:
        """Encode the visible tokens, (B, 1 + V, D)."""
        dropping = rng if self.training else None
        return self.backbone.encode(tokens, mask, dropping, recompute=self.recompute)

    def query(self, mask: Mask, rng: torch.Generator) -> Query:
        """Hidden tokens that the outer loss asks for: all of them, where nothing is learnt."""
        return draw_query(mask, self.query_share, rng if self.training else None)

    def support(self, tokens: Tokens, mask: Mask, rng: torch.Generator) -> Tensor:
        """Tokens that the inner step may look at, (B, N): the visible, and a few next to them.

        The visible only, where nothing is learnt: what is predicted has then not been seen.
        """
        visible = mask.visible(tokens.padding)
        most = self.most_beside(mask)
        if most == 0 or not self.training:
            return visible
        draws = torch.rand(visible.shape, generator=rng, device=visible.device)
        # A fixed number of candidates, of which so many are taken that each hidden token has the
        # chance that was asked for.
        best = draws.masked_fill(~mask.hidden, -1).topk(most, dim=1)
        hidden = mask.hidden.sum(dim=1, keepdim=True)
        chance = self.support_share * hidden / hidden.clamp(1, most)
        taken = torch.rand(best.values.shape, generator=rng, device=visible.device) < chance
        drawn = torch.zeros_like(visible).scatter(1, best.indices, taken)
        return visible | (mask.hidden & drawn & touching(visible, tokens.neighbours))

    def most_beside(self, mask: Mask) -> int:
        """Count the hidden tokens that a sample's support set has at most."""
        return math.ceil(self.support_share * (mask.hidden.shape[1] - mask.kept.shape[1]))

    def losses(
        self, batch: Batch, tokens: Tokens, mask: Mask, support: Tensor, rng: torch.Generator
    ) -> Step:
        """Compute the loss for a given choice of hidden tokens and support set, (B, N)."""
        before = self.encode(tokens, mask, rng)
        adapted = self.adapt(before, batch, tokens, mask, support)
        query = self.query(mask, rng)
        reconstruction, errors = self.reconstruction(adapted.latent, batch, tokens, mask, query)
        contrast = self.contrast(before, adapted.latent, mask)
        logs = reconstruction_logs(self.decoder, batch, mask, query, reconstruction, errors) | {
            "contrast": contrast.detach(),
            "support_before": mean_where(adapted.errors_before, support),
        }
        if not self.training:
            with torch.no_grad():
                first = self.decoder.errors(before, mask, tokens.padding, batch)
            logs |= {
                "r2_before": explained(first, self.decoder.baseline(batch, mask), mask.hidden),
                "support_after": mean_where(errors, support),
                "query_before": mean_where(first, mask.hidden),
            }
        return Step(reconstruction + self.contrast_weight * contrast, logs)

    def reconstruction(
        self, latent: Tensor, batch: Batch, tokens: Tokens, mask: Mask, query: Query
    ) -> tuple[Tensor, Tensor]:
        """Mean error of what is asked for, and the errors (B, N) of the tokens predicted."""
        if not self.recompute:
            errors = self.decoder.errors(latent, mask, tokens.padding, batch, at=query.at)
            return mean_where(errors, query.asked), errors
        precise = torch.promote_types(latent.dtype, torch.float32)
        shares = query.asked.to(precise) / query.asked.sum().clamp(min=1)
        loss = self.sum_of(shares, batch, tokens, mask, query.at)
        return loss_in_parts(loss, latent, mask.hidden.shape[1], self.decoding())

    def adapt(
        self, latent: Tensor, batch: Batch, tokens: Tokens, mask: Mask, support: Tensor
    ) -> "Adapted":
        """Move the latents (B, 1 + V, D) down the gradient of the support set's error."""
        errors_before = latent.new_zeros(())
        # Without gradients nothing will be differentiated through the step.
        second = self.second_order and torch.is_grad_enabled()
        at = positions(support, mask.kept.shape[1] + self.most_beside(mask))
        loss = self.sum_of(self.shares(support, latent), batch, tokens, mask, at, twice=second)
        for number in range(self.inner_steps):
            if self.recompute:
                N = mask.hidden.shape[1]
                gradient, errors = gradient_in_parts(loss, latent, N, self.decoding())
                gradient = gradient if second else gradient.detach()
            else:
                # The gradient is needed at evaluation too, where nothing else asks for one.
                with torch.enable_grad():
                    if not latent.requires_grad:
                        latent = latent.detach().requires_grad_()
                    value, errors = loss(latent, slice(None))
                    (gradient,) = torch.autograd.grad(value, latent, create_graph=second)
            if number == 0:
                errors_before = errors.detach()
            latent = latent - self.inner_lr * gradient
        return Adapted(latent, errors_before)

    def decoding(self) -> list[nn.Parameter]:
        """Parameters to learn that predictions and their errors may depend on."""
        both = (*self.decoder.parameters(), *self.backbone.tokenizer.parameters())
        return [value for value in both if value.requires_grad]

    def sum_of(
        self,
        shares: Tensor,
        batch: Batch,
        tokens: Tokens,
        mask: Mask,
        at: Tensor | None,
        *,
        twice: bool = False,
    ) -> Loss:
        """Return the sum of errors times shares (B, N) as a function of some samples' latents."""

        def loss(latent: Tensor, part: slice) -> tuple[Tensor, Tensor]:
            errors = self.decoder.errors(
                latent,
                replace(mask, hidden=mask.hidden[part], kept=mask.kept[part]),
                None if tokens.padding is None else tokens.padding[part],
                {key: value[part] for key, value in batch.items()},
                at=None if at is None else at[part],
                twice=twice,
            )
            return (errors * shares[part]).sum(), errors

        return loss

    def shares(self, support: Tensor, latent: Tensor) -> Tensor:
        """What each error counts in the inner loss, (B, N), at least in float32."""
        weight = support.to(torch.promote_types(latent.dtype, torch.float32))
        if self.normaliser == "batch":
            return len(weight) * weight / weight.sum().clamp(min=1)
        return weight / weight.sum(dim=1, keepdim=True).clamp(min=1)

    def contrast(self, before: Tensor, after: Tensor, mask: Mask) -> Tensor:
        """NT-Xent between the pooled latents before and after, the summary token left out."""
        # One sample has no other to be told from, and no batch statistics.
        if self.contrast_weight == 0 or len(before) < 2:
            return before.new_zeros(())
        a, b = (self.projector(pool(z[:, 1:], mask.padding)) for z in (before, after))
        return nt_xent(a, b, self.temperature)

    @torch.no_grad()
    def reconstruct(self, batch: Batch, rng: torch.Generator) -> Reconstruction:
        tokens = self.backbone.tokenizer.embed(batch)
        mask = self.masking(tokens, rng)
        support = self.support(tokens, mask, rng)
        latent = self.backbone.encode(tokens, mask)
        adapted = self.adapt(latent, batch, tokens, mask, support).latent
        before, after = (self.decoder(z, mask, tokens.padding, batch) for z in (latent, adapted))
        return Reconstruction(mask.hidden, before, after)

    def adapted(self) -> Backbone:
        return AdaptedBackbone(self)


class AdaptedBackbone(Backbone):
    """The encoder followed by the inner step, with nothing hidden and all tokens as support.

    Args:
        method: Whose weights it shares.
    """

    def __init__(self, method: MetaMAE):
        super().__init__(method.backbone.tokenizer, method.backbone.encoder)
        self.cls = method.backbone.cls
        # A tuple hides the method, which holds the same weights, from the module tree.
        self._method = (method,)

    def token_features(self, batch: Batch, multiple: int = 1) -> tuple[Tensor, Tensor | None]:
        (method,) = self._method
        tokens = self.tokenizer.embed(batch)
        visible = is_there(tokens)
        N = visible.shape[1]
        kept = positions(visible, N)
        mask = Mask(torch.zeros_like(visible), kept, short=tokens.padding is not None)
        latent = self.encode(tokens, mask)
        moved = method.adapt(latent, batch, tokens, mask, visible).latent[:, 1:]
        return spread_out(moved, kept, moved.new_zeros(moved.shape[-1]), N), tokens.padding


@dataclass(frozen=True)
class Adapted:
    """What the inner step gives.

    Attributes:
        latent: Latents after it, (B, 1 + V, D).
        errors_before: Error of every token of the support before it, detached, (B, N).
    """

    latent: Tensor
    errors_before: Tensor


def touching(visible: Tensor, neighbours: Tensor | None) -> Tensor:
    """True where a token has a visible neighbour, (B, N).

    Args:
        visible: True where a token is visible, (B, N).
        neighbours: `Tokens.neighbours`; None if every token touches every other.
    """
    if neighbours is None:
        return visible.any(dim=1, keepdim=True).expand_as(visible)
    near = neighbours.expand(len(visible), *neighbours.shape[-2:])  # (B, N, K)
    found = visible.gather(1, near.clamp(min=0).flatten(1)).view_as(near)
    return (found & (near >= 0)).any(dim=2)
