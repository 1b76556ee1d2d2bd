"""Masked auto-encoding.

Source: He et al., Masked Autoencoders Are Scalable Vision Learners, CVPR 2022,
arXiv:2111.06377, section 3.
Differs: any modality; targets are on the scale of the whole training set, not of each cell.
"""

import torch

from metamae.core.checks import check_between
from metamae.masking.base import Masking
from metamae.methods.base import (
    Method,
    Reconstruction,
    draw_query,
    mean_where,
    reconstruction_logs,
)
from metamae.model.backbone import Backbone
from metamae.model.decoder import Decoder
from metamae.model.tokens import Batch, Step


class MAE(Method):
    """Hide most tokens and reconstruct them from the rest.

    Args:
        backbone: Tokenizer and encoder to train.
        decoder: Predicts tokens from the latents of the visible ones.
        masking: Chooses the hidden tokens.
        query_share: Share of a sample's hidden tokens, at least one, that a step asks for; drawn
            anew for each. 1 in the paper.
    """

    description = "masked auto-encoding: reconstruct hidden tokens from the visible ones"
    masking: Masking

    def __init__(
        self, backbone: Backbone, decoder: Decoder, masking: Masking, *, query_share: float = 1.0
    ):
        super().__init__()
        self.backbone, self.decoder, self.masking = backbone, decoder, masking
        self.query_share = check_between("MAE.query_share", query_share, 0, 1, closed=True)

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokens = self.backbone.tokenizer.embed(batch)
        mask = self.masking(tokens, rng)
        query = draw_query(mask, self.query_share, rng if self.training else None)
        latent = self.backbone.encode(tokens, mask, rng if self.training else None)
        errors = self.decoder.errors(latent, mask, tokens.padding, batch, at=query.at)
        loss = mean_where(errors, query.asked)
        return Step(loss, reconstruction_logs(self.decoder, batch, mask, query, loss, errors))

    @torch.no_grad()
    def reconstruct(self, batch: Batch, rng: torch.Generator) -> Reconstruction:
        tokens = self.backbone.tokenizer.embed(batch)
        mask = self.masking(tokens, rng)
        latent = self.backbone.encode(tokens, mask)
        return Reconstruction(mask.hidden, self.decoder(latent, mask, tokens.padding, batch))
