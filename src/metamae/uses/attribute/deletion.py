"""Which tokens an answer rests on: leave tokens out of the encoder, and see what changes.

A token that is left out is not there at all: no blank, no grey patch, nothing that the encoder has
never seen, since it was trained on samples of which tokens were missing.

Source: leaving one part out, Zeiler & Fergus, ECCV 2014, arXiv:1311.2901, section 4.2; deletion and
insertion curves, Petsiuk et al., RISE, BMVC 2018, arXiv:1806.07421, section 4.1.

B samples of a batch, N tokens, F features, C classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.encoder.masked_prediction import mask_of
from metamae.encoder.pretrained import Pretrained
from metamae.model.backbone import pool, pool_regions
from metamae.model.decoder import spread_out
from metamae.model.tokens import Batch, Tokens

Floats = NDArray[np.float64]
Answer = Callable[[NDArray[np.float32]], Floats]
"""A probe: features (B, F) -> what it says of each sample, (B, C)."""

SHARES = tuple(number / 10 for number in range(10))
"""Shares of a sample's tokens that are left out along a curve."""


@dataclass(frozen=True)
class Attributed:
    """What the tokens of some samples mean to a probe.

    Attributes:
        scores: How much the answer falls without the token, (B, N); NaN where there is none.
        deletion: The answer while tokens are left out, the most important first, (B, shares).
        insertion: The answer while the least important are left out first, (B, shares).
        random: The answer while tokens are left out at random, (B, shares).
    """

    scores: Floats
    deletion: Floats
    insertion: Floats
    random: Floats


def attribute(pretrained: Pretrained, batch: Batch, answer: Answer, seed: int = 0) -> Attributed:
    """Score the tokens of a batch by what a probe says without them.

    The answer is the one that the probe gives to the whole sample: its largest entry.

    Args:
        pretrained: The encoder, in evaluation mode.
        batch: Samples, on its device.
        answer: The probe.
        seed: Of the random order that the curves are compared with.
    """
    tokens = pretrained.module.backbone.tokenizer.embed(batch)
    there = np.ones(tokens.values.shape[:2], dtype=bool)
    if tokens.padding is not None:
        there = ~tokens.padding.cpu().numpy()
    B, N = there.shape
    nothing = np.zeros((B, N), dtype=bool)
    whole = answer(features_without(pretrained, tokens, nothing))
    given = whole.argmax(axis=1)

    def left(hidden: NDArray[np.bool_]) -> Floats:
        said = answer(features_without(pretrained, tokens, hidden))
        return np.asarray(said[np.arange(B), given])

    full, scores = left(nothing), np.full((B, N), np.nan)
    for n in range(N):
        hidden = nothing.copy()
        # The last token of a sample stays: without any there is nothing to be said.
        hidden[:, n] = there[:, n] & (there.sum(axis=1) > 1)
        scores[:, n] = np.where(there[:, n], full - left(hidden), np.nan)
    draws = np.random.default_rng(seed).random(N)
    orders = {
        "deletion": np.where(there, scores, -np.inf),
        "insertion": np.where(there, -scores, -np.inf),
        "random": np.where(there, draws, -np.inf),
    }
    curves = {
        name: np.stack([left(_first(order, there, share)) for share in SHARES], axis=1)
        for name, order in orders.items()
    }
    return Attributed(scores, **curves)


@torch.no_grad()
def features_without(
    pretrained: Pretrained, tokens: Tokens, hidden: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Embed samples as if some of their tokens had never been there, (B, F).

    Args:
        pretrained: The encoder.
        tokens: Embedded samples.
        hidden: True where a token is left out, (B, N); one of each sample stays.
    """
    backbone, spec = pretrained.module.backbone, pretrained.schema.modality
    mask = mask_of(torch.from_numpy(hidden).to(tokens.values.device), tokens.padding)
    latent = backbone.encode(tokens, mask)[:, 1:]
    N = tokens.values.shape[1]
    latent = spread_out(latent, mask.kept, latent.new_zeros(latent.shape[-1]), N)
    gone = mask.hidden if tokens.padding is None else mask.hidden | tokens.padding
    own = spec.token_regions
    pooled: Tensor
    if own is None:
        pooled = pool(latent, gone)
    else:
        pooled = pool_regions(latent, gone, torch.from_numpy(own).to(latent.device))
    found: NDArray[np.float32] = pooled.float().cpu().numpy()
    return found


def _first(order: Floats, there: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """Mark a share of each sample's tokens, those of highest value; one is always left."""
    count = there.sum(axis=1)
    most = np.minimum((count * share).round(), count - 1)
    rank = (-order).argsort(axis=1, kind="stable").argsort(axis=1)
    return np.asarray((rank < most[:, None]) & there)
