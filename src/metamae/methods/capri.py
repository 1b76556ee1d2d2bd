"""Contrastive prediction of embeddings: Capri, called ContPred in the first paper.

Source: Tamkin et al., DABS 2.0, NeurIPS 2022 Datasets and Benchmarks; the published code of DABS.
Differs from that code: only hidden tokens are asked for, vectors are brought to length 1, what
is to be found is not moved by the loss, and neither a token equal to it nor one of another field
counts as a wrong answer. `faithful` brings the published form back.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from metamae.core.checks import check_between, check_flag, check_one_of
from metamae.masking.base import Masking
from metamae.methods.base import Method, blanked, is_there, mean_where
from metamae.model.backbone import Backbone
from metamae.model.tokens import Batch, Step, Tokens
from metamae.model.transformer import xavier_linear

ALIKE = 1 - 1e-5  # cosine from which two contents count as equal
MOST = 4096  # hidden tokens of a batch that are told from each other; more are too many pairs


class Capri(Method):
    """Hide the content of some tokens, and find it again among others.

    Args:
        backbone: Tokenizer and encoder to train.
        masking: Chooses the hidden tokens.
        temperature: By which similarities are divided.
        negatives: Where the wrong answers come from: the same "sample", or the hidden tokens of
            the whole "batch".
        faithful: Ask for every token and compare as the published code does.
    """

    description = "find the content of hidden tokens among that of other tokens"
    masking: Masking
    mask_ratio = 0.15  # arXiv:2111.12062

    def __init__(
        self,
        backbone: Backbone,
        masking: Masking,
        *,
        temperature: float = 0.07,
        negatives: str = "sample",
        faithful: bool = False,
    ):
        super().__init__()
        self.backbone, self.masking = backbone, masking
        self.temperature = check_between("Capri.temperature", temperature, 0, float("inf"))
        self.negatives = check_one_of("Capri.negatives", negatives, ["sample", "batch"])
        self.faithful = check_flag("Capri.faithful", faithful)
        self.head = xavier_linear(backbone.tokenizer.width, backbone.tokenizer.width)

    def forward(self, batch: Batch, rng: torch.Generator) -> Step:
        tokens = self.backbone.tokenizer.embed(batch)
        hidden = self.masking(tokens, rng).hidden
        corrupted = blanked(tokens, hidden, tokens.values.new_zeros(()))
        latent = self.backbone.encode(corrupted, rng=rng if self.training else None)
        guesses, contents = self.head(latent[:, 1:]), tokens.values
        precise = torch.promote_types(guesses.dtype, torch.float32)
        guesses, contents = guesses.to(precise), contents.to(precise)
        if not self.faithful:
            guesses, contents = F.normalize(guesses, dim=2), F.normalize(contents.detach(), dim=2)
        with torch.autocast(guesses.device.type, enabled=False):
            if self.negatives == "sample":
                loss, accuracy = self.within_samples(guesses, contents, tokens, hidden)
            else:
                loss, accuracy = self.within_batch(guesses, contents, tokens, hidden, rng)
        return Step(loss, {"accuracy": accuracy.detach()})

    def within_samples(
        self, guesses: Tensor, contents: Tensor, tokens: Tokens, hidden: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of finding each token (B, N, D) among those of its sample."""
        there = is_there(tokens)
        logits = guesses @ contents.transpose(1, 2) / self.temperature  # (B, N, N)
        wrong = ~self.alternatives(contents, tokens.fields)
        logits = logits.masked_fill(wrong, float("-inf"))
        # Whoever is there can always be found: the row of one who is not may be all empty.
        empty = ~there[:, None, :] & ~torch.eye(
            there.shape[1], dtype=torch.bool, device=there.device
        )
        logits = logits.masked_fill(empty, float("-inf"))
        asked = there if self.faithful else hidden
        answer = torch.arange(there.shape[1], device=there.device).expand_as(there)
        errors = F.cross_entropy(logits.transpose(1, 2), answer, reduction="none")
        right = (logits.argmax(dim=2) == answer).to(errors.dtype)
        return mean_where(errors, asked), mean_where(right, asked)

    def within_batch(
        self,
        guesses: Tensor,
        contents: Tensor,
        tokens: Tokens,
        hidden: Tensor,
        rng: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of finding each hidden token among all hidden ones of the batch."""
        rows = hidden.flatten().nonzero()[:, 0]
        if len(rows) > MOST:
            rows = rows[torch.randperm(len(rows), generator=rng, device=rows.device)[:MOST]]
        guesses, contents = guesses.flatten(0, 1)[rows], contents.flatten(0, 1)[rows]
        if not len(rows):  # samples of one token each: nothing is hidden
            return guesses.sum(), guesses.sum()
        fields = None if tokens.fields is None else tokens.fields.repeat(len(hidden))[rows]
        logits = guesses @ contents.T / self.temperature
        logits = logits.masked_fill(~self.alternatives(contents, fields), float("-inf"))
        answer = torch.arange(len(rows), device=rows.device)
        right = (logits.argmax(dim=1) == answer).to(logits.dtype).mean()
        return F.cross_entropy(logits, answer), right

    def alternatives(self, contents: Tensor, fields: Tensor | None) -> Tensor:
        """True where one content may be told from another, (..., M, M); so may each from itself.

        Args:
            contents: Unit vectors, (..., M, D).
            fields: Field of each, (M,); None if all are of one.
        """
        itself = torch.eye(contents.shape[-2], dtype=torch.bool, device=contents.device)
        if self.faithful:
            return torch.ones_like(itself)
        different = contents @ contents.transpose(-1, -2) < ALIKE
        if fields is not None:
            different = different & (fields[:, None] == fields)
        return different | itself
