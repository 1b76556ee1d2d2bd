"""Predict tokens that a caller chooses to hide, with any method that reconstructs.

Training draws what it hides. Here nothing is drawn: what is hidden is given. In evaluation mode the
inner step sees visible tokens only: a value that is missing, or that is to be judged, does not
help to predict itself.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from metamae.errors import ConfigError
from metamae.masking.base import Masking
from metamae.methods.base import Method, Reconstruction, positions
from metamae.model.tokens import Batch, Mask, Tokens

LONGEST = 8192  # tokens of a sample up to which the order of the turns is one for all lengths


class _Chosen(Masking):
    """Hides what it is told to hide."""

    description = "hides what a caller chose"

    def __init__(self, hidden: Tensor):
        self.hidden = hidden

    def scores(self, tokens: Tokens, rng: torch.Generator) -> Tensor:
        return (~self.hidden).float()

    def __call__(self, tokens: Tokens, rng: torch.Generator) -> Mask:
        return mask_of(self.hidden, tokens.padding)


def check_reconstructs(method: Method) -> Masking:
    """Return the masking of a method that predicts hidden tokens.

    Raises:
        ConfigError: If it cannot predict them.
    """
    if type(method).reconstruct is Method.reconstruct or method.masking is None:
        raise ConfigError(
            f"Method {type(method).__name__} must have a decoder to predict what is hidden; it "
            f"has none. mae, metamae or masked_embedding would do."
        )
    return method.masking


def predict_hidden(method: Method, batch: Batch, hidden: Tensor) -> Reconstruction:
    """Hide chosen tokens and predict all.

    Args:
        method: In evaluation mode; it is left as it was.
        batch: Samples.
        hidden: True where a token is to be hidden, (B, N); ignored where there is none.

    Returns:
        Predictions before and after the inner step.

    Raises:
        ConfigError: If the method cannot predict hidden tokens.
    """
    check_reconstructs(method)
    # A shallow copy shares all weights; what is set below is set in the copy alone.
    chosen: Any = copy.copy(method)
    chosen.masking = _Chosen(hidden)
    generator = torch.Generator(hidden.device).manual_seed(0)
    found: Reconstruction = chosen.reconstruct(batch, generator)
    return found


def mask_of(hidden: Tensor, padding: Tensor | None) -> Mask:
    """Return the mask that hides just these tokens, (B, N), as many as each sample has."""
    if padding is not None:
        hidden = hidden & ~padding
    visible = ~hidden if padding is None else ~(hidden | padding)
    most = max(1, int(visible.sum(dim=1).max()))
    kept = positions(visible, most)
    return Mask(hidden, kept, short=bool((kept < 0).any()))


def turns(there: Tensor, ratio: float, seed: int, draws: int = 1) -> list[Tensor]:
    """Hide tokens in turns, so that each one is hidden at least once in each draw.

    Which ones go together follows from the seed and the number of a sample's tokens alone, not
    from the samples beside it.

    Args:
        there: True where there is a token, (B, N).
        ratio: Share of a sample's tokens to hide at a time; one stays visible where there are two.
        seed: Of the order.
        draws: How often all tokens take their turns.

    Returns:
        True where a token is hidden, (B, N) for each turn.
    """
    N = there.shape[1]
    count = there.sum(dim=1, keepdim=True)  # (B, 1)
    size = (count * ratio).round().clamp(min=1).minimum((count - 1).clamp(min=1)).long()
    number = -(-count // size)  # (B, 1)
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(draws):
        # Drawn longer than it is needed: the beginning is then the same for all lengths.
        order = torch.rand(max(N, LONGEST), generator=generator)[:N].to(there.device)
        rank = order.expand_as(there).masked_fill(~there, 2.0).argsort(dim=1).argsort(dim=1)
        for turn in range(int(number.max())):
            moved = (rank - turn * size) % count.clamp(min=1)
            found.append((moved < size) & there & (turn < number))
    return found
