"""How badly a method predicts what is hidden from it, before and after MetaMAE's inner step.

Source: An and Cho, SNU Data Mining Center technical report, 2015 (reconstruction as a score);
the inner step: Jang et al., NeurIPS 2023, arXiv:2310.16318.
Differs: every token is hidden in turn while others are visible, and its errors are averaged over
the turns, so that none is copied. The inner step sees visible tokens only. A token's error is
compared with that of normal tokens at its place, since some places are easier than others.
"""

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from metamae.core.checks import check_at_least, check_between
from metamae.data.records import Records
from metamae.encoder.masked_prediction import check_reconstructs, predict_hidden, turns
from metamae.encoder.pretrained import Pretrained
from metamae.model.tokens import Batch, Tokens
from metamae.uses.detect.detectors.base import (
    Described,
    Detector,
    Strangeness,
    collect,
    means,
    strongest,
)

SMALLEST = 1e-6  # spread of a place that is always predicted alike


class ReconstructionError(Detector):
    """Error of hidden tokens, in standard deviations from that of normal ones at their place.

    Args:
        draws: How often all tokens are hidden in turn.
        top: Share of the strangest tokens whose mean is a sample's; 1 for the mean over all.
    """

    description: ClassVar[str] = "error of hidden tokens, before and after the inner step"

    def __init__(self, *, draws: int = 2, top: float = 1.0):
        self.draws = check_at_least("ReconstructionError.draws", draws, 1)
        self.top = check_between("ReconstructionError.top", top, 0, 1, closed=True)

    def check(self, pretrained: Pretrained) -> None:
        check_reconstructs(pretrained.module)

    def describe(self, pretrained: Pretrained, records: Records, seed: int) -> Described:
        module = pretrained.module
        module.eval()
        ratio = check_reconstructs(module).ratio
        tokenizer = module.backbone.tokenizer

        def errors(batch: Batch, tokens: Tokens) -> list[Tensor]:
            there = torch.ones(
                tokens.values.shape[:2], dtype=torch.bool, device=tokens.values.device
            )
            if tokens.padding is not None:
                there = ~tokens.padding
            total = torch.zeros(*there.shape, 2, device=there.device)
            times = torch.zeros(*there.shape, 1, device=there.device)
            for hidden in turns(there, ratio, seed, self.draws):
                found = predict_hidden(module, batch, hidden)
                after = found.before if found.after is None else found.after
                both = [tokenizer.error(part.float(), batch) for part in (found.before, after)]
                total += torch.stack(both, dim=2) * hidden[..., None]
                times += hidden[..., None]
            return [total / times.clamp(min=1)]

        return collect(pretrained, records, errors)

    def fit(self, normal: Described, seed: int) -> None:
        self.known, at = np.unique(normal.places, return_inverse=True)
        order = np.argsort(at, kind="stable")
        starts = np.searchsorted(at[order], np.arange(len(self.known) + 1))
        errors = np.log1p(normal.features.astype(np.float64).clip(min=0))
        self.centre = means(errors[order], starts)
        spread = np.sqrt(means((errors[order] - self.centre[at[order]]) ** 2, starts))
        self.spread = np.maximum(spread, SMALLEST)
        # A place that no normal sample has is compared with all of them.
        self.centre = np.concatenate([self.centre, errors.mean(axis=0)[None]])
        self.spread = np.concatenate([self.spread, errors.std(axis=0)[None].clip(min=SMALLEST)])

    def score(self, described: Described) -> dict[str, Strangeness]:
        at = np.searchsorted(self.known, described.places).clip(max=len(self.known) - 1)
        at = np.where(self.known[at] == described.places, at, len(self.known))
        errors = np.log1p(described.features.astype(np.float64).clip(min=0))
        tokens = (errors - self.centre[at]) / self.spread[at]
        return {
            name: Strangeness(strongest(column, described.starts, self.top), column)
            for name, column in (
                ("reconstruction_after", tokens[:, 1]),
                ("reconstruction_before", tokens[:, 0]),
            )
        }
