"""What every method has in common, and the pieces that several share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamae.errors import ConfigError
from metamae.masking.base import Masking
from metamae.model.backbone import Backbone
from metamae.model.decoder import Decoder
from metamae.model.tokens import Batch, Mask, Step, Tokens


class Method(nn.Module, ABC):
    """A rule that turns unlabelled samples into a loss.

    A method is its own settings: every keyword-only argument of `__init__` is one, there are no
    others; the positional ones are the parts that it is built from. It sees samples only
    through its backbone. Everything a step does happens inside `forward`, an inner gradient
    included, so that the whole method can be wrapped for distributed training.
    """

    description: ClassVar[str]
    """One line for `metamae list`."""

    mask_ratio: ClassVar[float | None] = None
    """Share of tokens to hide where nothing else is asked for; None for the modality's own."""

    adapts: ClassVar[bool] = False
    """Whether predictions are made after an inner step too, see `Reconstruction.after`."""

    backbone: Backbone
    masking: Masking | None = None
    """What chooses the hidden tokens; None for a method that hides none."""

    @abstractmethod
    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        """Compute the loss of a batch; every random draw comes from `rng`."""

    def reconstruct(self, batch: Batch, rng: torch.Generator) -> "Reconstruction":
        """Hide some tokens and predict them all.

        Raises:
            ConfigError: If this method has no decoder.
        """
        raise ConfigError(
            f"Method {type(self).__name__} must have a decoder to reconstruct; it has none. "
            f"mae, metamae or masked_embedding would do."
        )

    def adapted(self) -> Backbone:
        """Return an encoder with the same weights that adapts its latents to each sample.

        Its vectors depend on the samples beside it in their last digits.

        Raises:
            ConfigError: If this method has no inner step.
        """
        raise ConfigError(
            f"Method {type(self).__name__} must have an inner step to adapt embeddings; it has "
            f"none. metamae would do."
        )

    def before_update(self, progress: float) -> None:
        """Called before each training step.

        Args:
            progress: Of the run at the end of that step, from 0 to 1.
        """

    def after_update(self, progress: float, learnt: Tensor) -> None:
        """Called after each optimiser step.

        Args:
            progress: Of the run, from 0 to 1.
            learnt: Whether the step changed anything, (): the loss may not have been finite. The
                host need not know yet, so that this is on the device.
        """


def reconstruction_logs(
    decoder: Decoder, batch: Batch, mask: Mask, query: "Query", loss: Tensor, errors: Tensor
) -> dict[str, Tensor]:
    """Say how well hidden tokens are predicted.

    Args:
        decoder: Knows the best constant guess.
        batch: The samples.
        mask: Which tokens are hidden.
        query: Which of them were asked for.
        loss: Their mean error.
        errors: Error of each, (B, N).
    """
    r2 = explained(errors.detach(), decoder.baseline(batch, mask, query.at), query.asked)
    return {"reconstruction": loss.detach(), "r2": r2}


@dataclass(frozen=True)
class Reconstruction:
    """What a method makes of samples of which it saw a part.

    Attributes:
        hidden: True where a token was hidden, (B, N).
        before: Predictions of all tokens, (B, N, P).
        after: The same after the inner step; None for a method that has none.
    """

    hidden: Tensor
    before: Tensor
    after: Tensor | None = None


def mean_where(values: Tensor, chosen: Tensor, dim: int | None = None) -> Tensor:
    """Mean of `values` where `chosen` is True; 0 where nothing is chosen."""
    weight = chosen.to(values.dtype)
    total = (values * weight).sum() if dim is None else (values * weight).sum(dim)
    count = weight.sum() if dim is None else weight.sum(dim)
    return total / count.clamp(min=1)


def positions(chosen: Tensor, most: int) -> Tensor:
    """Positions of the tokens that are chosen, ascending, (B, most) int64; -1 where none is left.

    Args:
        chosen: True for each of them, (B, N).
        most: At least the number of them in any sample. Given and not counted, since a GPU would
            have to be waited for.
    """
    N = chosen.shape[1]
    order = torch.arange(N, 0, -1, device=chosen.device)
    found = (chosen * order).topk(most, dim=1)
    return found.indices.masked_fill(found.values == 0, -1)


@dataclass(frozen=True)
class Query:
    """The hidden tokens that a loss asks for.

    Attributes:
        asked: True for each of them, (B, N).
        at: Positions to predict, (B, Q) int64; -1, at the end of a row, where a sample has fewer.
            None for all tokens, also those that no loss asks for.
    """

    asked: Tensor
    at: Tensor | None = None


def draw_query(mask: Mask, share: float, rng: torch.Generator | None) -> Query:
    """Draw a share of each sample's hidden tokens, at least one.

    Their mean error stands for that of all, for less work.

    Source: Fu et al., Rethinking Patch Dependence for Masked Autoencoders, 2024,
    arXiv:2401.14391 (there: prediction ratio).

    Args:
        mask: Which tokens are hidden.
        share: Of them, from 0 to 1; nothing is drawn at 1.
        rng: Source of the draws; None to ask for all, where nothing is learnt.
    """
    if rng is None:
        return Query(mask.hidden)
    N, V = mask.hidden.shape[1], mask.kept.shape[1]
    if share == 1:
        return Query(mask.hidden, positions(mask.hidden, N - V))
    draws = torch.rand(mask.hidden.shape, generator=rng, device=mask.hidden.device)
    # Counted in each sample and not in the batch, so that a short sample weighs no more than its
    # tokens do.
    wanted = (mask.hidden.sum(dim=1, keepdim=True).double() * share).round().clamp(min=1)
    most = min(N - V, max(1, round((N - V) * share)))
    found = draws.masked_fill(~mask.hidden, -1).topk(most, dim=1)
    none = (torch.arange(most, device=draws.device) >= wanted) | (found.values < 0)
    at = found.indices.masked_fill(none, -1)
    spare = at.masked_fill(none, N)
    asked = torch.zeros(len(at), N + 1, dtype=torch.bool, device=at.device).scatter(1, spare, True)
    return Query(asked[:, :N], at)


def explained(errors: Tensor, baseline: Tensor, hidden: Tensor) -> Tensor:
    """R²: the share of the constant guess's error on hidden tokens, (B, N), that is gone.

    1 is perfect, 0 as good as guessing the mean, less than 0 worse. It compares between
    modalities, which a loss does not.
    """
    return 1 - mean_where(errors, hidden) / mean_where(baseline, hidden).clamp(min=1e-12)


def blanked(tokens: Tokens, hidden: Tensor, blank: Tensor) -> Tokens:
    """Put one vector, (D,), in the place of the content of hidden tokens; places stay."""
    values = torch.where(hidden[..., None], blank.to(tokens.values.dtype), tokens.values)
    return replace(tokens, values=values)


def is_there(tokens: Tokens) -> Tensor:
    """True where there is a token, (B, N)."""
    if tokens.padding is None:
        return torch.ones(tokens.values.shape[:2], dtype=torch.bool, device=tokens.values.device)
    return ~tokens.padding


def nt_xent(a: Tensor, b: Tensor, temperature: float) -> Tensor:
    """Contrastive loss that pairs row i of `a` with row i of `b`, (B, D) each, in float32.

    Source: Chen et al., ICML 2020, arXiv:2002.05709, section 2.1.
    """
    precise = torch.promote_types(a.dtype, torch.float32)
    with torch.autocast(a.device.type, enabled=False):
        rows = F.normalize(torch.cat([a, b]).to(precise), dim=1)  # (2B, D)
        itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        logits = (rows @ rows.T / temperature).masked_fill(itself, float("-inf"))
        partner = torch.arange(len(rows), device=rows.device).roll(len(a))
        return F.cross_entropy(logits, partner)
