"""The decoder of masked auto-encoding: latents of the visible tokens in, a guess of all out."""

import torch
from torch import Tensor, nn

from metamae.modalities.base import Tokenizer
from metamae.networks.transformer import Transformer, xavier_linear
from metamae.types import Batch, Mask


class Decoder(nn.Module):
    """Puts a blank where a token is hidden, mixes all tokens and predicts each one's values.

    Source: He et al., CVPR 2022, arXiv:2111.06377; without dropout, so that two passes over the
    same latents see the same function (Jang et al., arXiv:2310.16318).

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

    def forward(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        batch: Batch,
        *,
        twice: bool = False,
    ) -> Tensor:
        """Predict every token.

        Args:
            latent: Summary token and visible tokens, (B, 1 + V, D).
            mask: Which positions those are.
            padding: `Tokens.padding`, (B, N).
            batch: The samples; only the places of their tokens are used.
            twice: Whether the result will be differentiated twice.

        Returns:
            Predictions, (B, N, P); what P means is the tokenizer's affair.
        """
        B, N = mask.hidden.shape
        states = self.narrow(latent)  # (B, 1 + V, width)
        # One row more than there are tokens takes in the empty slots of `kept`.
        full = self.blank.to(states.dtype).expand(B, N + 1, -1)
        at = mask.kept.masked_fill(mask.kept < 0, N) if mask.short else mask.kept
        full = full.scatter(1, at[..., None].expand_as(states[:, 1:]), states[:, 1:])[:, :N]
        full = torch.cat([states[:, :1], full + self.place(batch)], dim=1)
        if padding is not None:
            padding = nn.functional.pad(padding, (1, 0), value=False)
        mixed = self.mixer(full, padding, twice=twice)
        predicted: Tensor = self.head(mixed[:, 1:])
        return predicted

    def errors(
        self,
        latent: Tensor,
        mask: Mask,
        padding: Tensor | None,
        batch: Batch,
        *,
        twice: bool = False,
    ) -> Tensor:
        """Error of every token, (B, N), at least in float32; the arguments of `forward`."""
        (tokenizer,) = self._tokenizer
        predicted = self(latent, mask, padding, batch, twice=twice)
        precise = torch.promote_types(predicted.dtype, torch.float32)
        with torch.autocast(predicted.device.type, enabled=False):
            return tokenizer.error(predicted.to(precise), batch)
