"""Tokenizer and encoder: the part that outlives pretraining."""

from collections import deque

import torch
from torch import Tensor, nn

from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch, Mask, Tokens
from metamae.model.transformer import Transformer, rows


class Backbone(nn.Module):
    """Samples in, one vector per token or per sample out.

    Args:
        tokenizer: Turns samples into tokens of width D.
        encoder: Mixes tokens of width D.
    """

    def __init__(self, tokenizer: Tokenizer, encoder: Transformer):
        super().__init__()
        self.tokenizer, self.encoder = tokenizer, encoder
        self.cls = nn.Parameter(0.02 * torch.randn(tokenizer.width))

    def encode(
        self,
        tokens: Tokens,
        mask: Mask | None = None,
        rng: torch.Generator | None = None,
        *,
        recompute: bool = False,
    ) -> Tensor:
        """Encode the visible tokens behind a summary token, (B, 1 + V, D).

        Args:
            tokens: Embedded samples.
            mask: Which tokens are hidden; None for none, then V = N.
            rng: Source of the dropout; None for none.
            recompute: Whether blocks keep their input only and are computed again to be derived.
        """
        encoded: Tensor = self.encoder(*self._visible(tokens, mask), rng=rng, recompute=recompute)
        return encoded

    def layers(self, tokens: Tokens, last: int) -> list[Tensor]:
        """Return what the last blocks make of all tokens, each (B, 1 + N, D), without dropout."""
        states = deque(self.encoder.states(*self._visible(tokens, None)), maxlen=last)
        return list(states)

    def _visible(self, tokens: Tokens, mask: Mask | None) -> tuple[Tensor, Tensor | None]:
        """Summary token and visible tokens, (B, 1 + V, D), and where there is none."""
        if mask is None:
            values, padding = tokens.placed, tokens.padding
        else:
            # Places are added where they are seen only.
            at = mask.kept.clamp(min=0)
            values, padding = rows(tokens.values, at), mask.padding
            if tokens.places is not None:
                values = values + rows(tokens.places, at)
        values = torch.cat([self.cls.expand(len(values), 1, -1), values], dim=1)
        if padding is not None:
            padding = nn.functional.pad(padding, (1, 0), value=False)
        return values, padding

    def token_features(self, batch: Batch, multiple: int = 1) -> tuple[Tensor, Tensor | None]:
        """Encode samples with nothing hidden.

        Args:
            batch: Samples.
            multiple: Round N up to a multiple of this with padding, so that samples of nearly
                equal length can share a batch without changing each other's last digits.

        Returns:
            Latents without the summary token, (B, N, D), and True where there is no token, (B, N).
        """
        tokens = _padded(self.tokenizer.embed(batch), multiple)
        return self.encode(tokens)[:, 1:], tokens.padding

    def features(self, batch: Batch, multiple: int = 1) -> Tensor:
        """One vector per sample, (B, D): the mean over all of its encoded tokens."""
        return pool(*self.token_features(batch, multiple))


def pool(latent: Tensor, padding: Tensor | None) -> Tensor:
    """Mean over the tokens that are there: (B, N, D) -> (B, D)."""
    if padding is None:
        return latent.mean(dim=1)
    there = (~padding)[..., None].to(latent.dtype)
    return (latent * there).sum(dim=1) / there.sum(dim=1).clamp(min=1)


def pool_regions(latent: Tensor, padding: Tensor | None, regions: Tensor) -> Tensor:
    """Mean over the tokens of each region, side by side: (B, N, D) -> (B, R D).

    A region without any token that is there gets the mean over the whole sample.

    Args:
        latent: Encoded tokens, (B, N, D).
        padding: True where there is no token, (B, N); None if all are there.
        regions: Region of each of the first tokens, (M,) int64, M <= N; others have none.
    """
    B, N, _ = latent.shape
    inside = nn.functional.one_hot(regions).to(latent.dtype)  # (M, R)
    inside = nn.functional.pad(inside, (0, 0, 0, N - len(inside)))
    there = torch.ones(B, N, dtype=latent.dtype, device=latent.device)
    if padding is not None:
        there = (~padding).to(latent.dtype)
    weight = there[:, None] * inside.T  # (B, R, N)
    count = weight.sum(dim=2, keepdim=True)
    means = weight @ latent / count.clamp(min=1)
    means = torch.where(count > 0, means, pool(latent, padding)[:, None])
    return means.flatten(1)


def _padded(tokens: Tokens, multiple: int) -> Tokens:
    B, N, _ = tokens.values.shape
    extra = -N % multiple
    if extra == 0:
        return tokens
    padding = tokens.padding
    if padding is None:
        padding = torch.zeros(B, N, dtype=torch.bool, device=tokens.values.device)
    values = nn.functional.pad(tokens.placed, (0, 0, 0, extra))
    return Tokens(values, None, nn.functional.pad(padding, (0, extra), value=True))
