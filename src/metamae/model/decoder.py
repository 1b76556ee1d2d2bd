"""The decoder of masked auto-encoding: latents of the visible tokens in, a guess of others out."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch, Mask
from metamae.model.transformer import Transformer, rows, xavier_linear


class Decoder(nn.Module, ABC):
    """Predicts the values of tokens from the latents of the visible ones and their places.

    It has no dropout, so that two passes over the same latents see the same function (Jang et al.,
    arXiv:2310.16318).

    Args:
        tokenizer: That of the backbone; gives positions, head and error.
        mixer: Mixes tokens of the decoder's width.
        width: Of the decoder.
    """

    def __init__(self, tokenizer: Tokenizer, mixer: Transformer, *, width: int):
        super().__init__()
        self.narrow = xavier_linear(tokenizer.width, width)
        self.blank = nn.Parameter(0.02 * torch.randn(width))
        self.place = tokenizer.positions(width)
        self.mixer = mixer
        self.head = tokenizer.head(width)
        # A tuple hides the tokenizer from the module tree: its weights belong to the backbone.
        self._tokenizer = (tokenizer,)

    @abstractmethod
    def states(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        places: Tensor,
        at: Tensor | None,
        *,
        twice: bool,
    ) -> Tensor:
        """Return decoder states of the tokens at positions `at`, (B, K) -> (B, K, width).

        Args:
            latent: Summary token and visible tokens at the decoder's width, (B, 1 + V, width).
            mask: Which positions those are.
            padding: `Tokens.padding`, (B, N).
            places: Where every token stands, (N, width) or (B, N, width).
            at: Positions, each in 0..N-1; None for all N.
            twice: Whether the result will be differentiated twice.
        """

    def forward(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        batch: Batch,
        *,
        at: Tensor | None = None,
        twice: bool = False,
    ) -> Tensor:
        """Predict tokens.

        Args:
            latent: Summary token and visible tokens, (B, 1 + V, D).
            mask: Which positions those are.
            padding: `Tokens.padding`, (B, N).
            batch: The samples; only the places of their tokens are used.
            at: Positions of the tokens to predict, (B, K) int64, -1 for none; None for all.
            twice: Whether the result will be differentiated twice.

        Returns:
            Predictions, (B, N, P); what P means is the tokenizer's affair, and what stands where
            nothing was asked for means nothing.
        """
        found = self._asked(latent, mask, padding, batch, at, twice=twice)
        if at is not None:
            found = spread_out(found, at, found.new_zeros(found.shape[-1]), mask.hidden.shape[1])
        predicted: Tensor = self.head(found)
        return predicted

    def _asked(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        batch: Batch,
        at: Tensor | None,
        *,
        twice: bool,
    ) -> Tensor:
        """Return the states of the tokens to predict, (B, K, width)."""
        places: Tensor = self.place(batch)
        wanted = None if at is None else at.clamp(min=0)
        return self.states(self.narrow(latent), mask, padding, places, wanted, twice=twice)

    def errors(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        batch: Batch,
        *,
        at: Tensor | None = None,
        twice: bool = False,
    ) -> Tensor:
        """Error of every token, (B, N), at least in float32; the arguments of `forward`."""
        (tokenizer,) = self._tokenizer
        if at is None or (some := tokenizer.only(batch, at.clamp(min=0))) is None:
            return _errors(tokenizer, self(latent, mask, padding, batch, at=at, twice=twice), batch)
        predicted = self.head(self._asked(latent, mask, padding, batch, at, twice=twice))
        return _spread_errors(_errors(tokenizer, predicted, some), at, mask)

    @torch.no_grad()
    def baseline(self, batch: Batch, mask: Mask, at: Tensor | None = None) -> Tensor:
        """Error of the best constant guess, (B, N); what stands at others than `at` means nothing.

        The arguments are those of `forward`.
        """
        (tokenizer,) = self._tokenizer
        if at is None or (some := tokenizer.only(batch, at.clamp(min=0))) is None:
            return tokenizer.baseline(batch)
        return _spread_errors(tokenizer.baseline(some), at, mask)


class JointDecoder(Decoder):
    """Puts a blank where a token is hidden and mixes all tokens.

    Source: He et al., CVPR 2022, arXiv:2111.06377.
    """

    def states(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        places: Tensor,
        at: Tensor | None,
        *,
        twice: bool,
    ) -> Tensor:
        blank, N = self.blank.to(latent.dtype), mask.hidden.shape[1]
        full = spread_out(latent[:, 1:], mask.kept, blank, N) + places
        full = torch.cat([latent[:, :1], full], dim=1)
        if padding is not None:
            padding = nn.functional.pad(padding, (1, 0), value=False)
        if at is None:
            mixed: Tensor = self.mixer(full, padding, twice=twice)[:, 1:]
            return mixed
        asked: Tensor = self.mixer(full, padding, at=at + 1, twice=twice)
        return asked


class CrossDecoder(Decoder):
    """Asks the latents of the visible tokens what stands at a place; places do not see each other.

    The cost follows the number of places that are asked for, and a prediction does not depend on
    which others are.

    Source: Fu et al., Rethinking Patch Dependence for Masked Autoencoders, 2024, arXiv:2401.14391.
    Differs: every block attends to the last block of the encoder, not to its own mixture of blocks.
    """

    def states(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        places: Tensor,
        at: Tensor | None,
        *,
        twice: bool,
    ) -> Tensor:
        memory = torch.cat(
            [latent[:, :1], latent[:, 1:] + rows(places, mask.kept.clamp(min=0))], dim=1
        )
        empty = mask.padding
        if empty is not None:
            empty = nn.functional.pad(empty, (1, 0), value=False)
        asked = self.blank.to(latent.dtype) + (places if at is None else rows(places, at))
        asked = asked.expand(len(latent), *asked.shape[-2:])
        states: Tensor = self.mixer(asked, empty, memory=memory, twice=twice)
        return states


DECODERS: dict[str, type[Decoder]] = {"joint": JointDecoder, "cross": CrossDecoder}


def _errors(tokenizer: Tokenizer, predicted: Tensor, batch: Batch) -> Tensor:
    """Error of every token of a batch, (B, N), at least in float32."""
    precise = torch.promote_types(predicted.dtype, torch.float32)
    with torch.autocast(predicted.device.type, enabled=False):
        return tokenizer.error(predicted.to(precise), batch)


def _spread_errors(errors: Tensor, at: Tensor, mask: Mask) -> Tensor:
    """Put the errors of some tokens, (B, K), at their positions: (B, N), 0 elsewhere."""
    return spread_out(errors[..., None], at, errors.new_zeros(1), mask.hidden.shape[1])[..., 0]


def spread_out(x: Tensor, at: Tensor, filling: Tensor, num_tokens: int) -> Tensor:
    """Put tokens at their positions among others: (B, K, D) -> (B, N, D).

    Args:
        x: The tokens.
        at: Where each belongs, (B, K); -1 for nowhere.
        filling: What stands where none of them does, (D,).
        num_tokens: N.
    """
    # One row more than there are tokens takes in those that belong nowhere.
    whole = filling.expand(len(x), num_tokens + 1, -1)
    slot = at.masked_fill(at < 0, num_tokens)[..., None].expand_as(x)
    return whole.scatter(1, slot, x)[:, :num_tokens]
