"""Masked prediction with the whole sample in the encoder, as in BERT; the MAE of DABS.

Source: Devlin et al., BERT, NAACL 2019, arXiv:1810.04805, section 3.1; its form for any modality
from Tamkin et al., DABS 2.0, NeurIPS 2022 Datasets and Benchmarks.
Differs from the code of DABS: a learned vector stands in for what is hidden (there: zeros), the
head is linear, and errors are each modality's own. `faithful` brings back the zeros, the
rectifier before the head, and the length of the error instead of its mean square where an error
is one of squares.
"""

import torch
from torch import Tensor, nn

from metamae.core.checks import check_flag
from metamae.masking.base import Masking
from metamae.methods.base import Method, Reconstruction, blanked, explained, mean_where
from metamae.model.backbone import Backbone
from metamae.model.tokens import Batch, Step, Tokens


class MaskedEmbedding(Method):
    """Hide the content of some tokens, encode all of them, and predict what was hidden.

    Args:
        backbone: Tokenizer and encoder to train.
        masking: Chooses the hidden tokens.
        faithful: Hide, predict and measure as the code of DABS does.
    """

    description = "BERT: predict hidden tokens from an encoder that sees where they are"
    masking: Masking
    mask_ratio = 0.15  # arXiv:1810.04805

    def __init__(self, backbone: Backbone, masking: Masking, *, faithful: bool = False):
        super().__init__()
        self.backbone, self.masking = backbone, masking
        self.faithful = check_flag("MaskedEmbedding.faithful", faithful)
        tokenizer = backbone.tokenizer
        self.head = tokenizer.head(tokenizer.width)
        if not faithful:
            self.blank = nn.Parameter(0.02 * torch.randn(tokenizer.width))

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokenizer = self.backbone.tokenizer
        tokens = tokenizer.embed(batch)
        mask = self.masking(tokens, rng)
        predicted = self.predict(tokens, mask.hidden, rng if self.training else None)
        precise = torch.promote_types(predicted.dtype, torch.float32)
        with torch.autocast(predicted.device.type, enabled=False):
            errors = tokenizer.error(predicted.to(precise), batch)
        with torch.no_grad():
            baseline = tokenizer.baseline(batch)
        r2 = explained(errors.detach(), baseline, mask.hidden)
        if self.faithful and tokenizer.num_squares:
            # Its derivative at an error of 0 would be infinite.
            errors = (errors * tokenizer.num_squares).clamp(min=1e-12).sqrt()
        return Step(mean_where(errors, mask.hidden), {"r2": r2})

    def predict(self, tokens: Tokens, hidden: Tensor, rng: torch.Generator | None) -> Tensor:
        """Predict all tokens, (B, N, P), from those that are not hidden."""
        blank = tokens.values.new_zeros(()) if self.faithful else self.blank
        latent = self.backbone.encode(blanked(tokens, hidden, blank), rng=rng)[:, 1:]
        predicted: Tensor = self.head(latent.relu() if self.faithful else latent)
        return predicted

    @torch.no_grad()
    def reconstruct(self, batch: Batch, rng: torch.Generator) -> Reconstruction:
        tokens = self.backbone.tokenizer.embed(batch)
        mask = self.masking(tokens, rng)
        return Reconstruction(mask.hidden, self.predict(tokens, mask.hidden, None))
