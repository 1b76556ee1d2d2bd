"""Batches of labelled samples, and their embeddings with a gradient.

A sample that is learnt from in pieces, such as windows of a long recording, has one label for all
of them. A step takes a few of its pieces, drawn anew each time; predictions use all.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.modalities.base import Modality
from metamae.model.backbone import Backbone, pool, pool_regions
from metamae.model.tokens import Batch
from metamae.training.batches import Batches
from metamae.training.order import Order

PIECES = 4  # of a sample, in one step


class LabelledBatches(Batches):
    """An endless stream of batches of whole samples, or of some pieces of each.

    Args:
        spec: Reads and scales the samples.
        records: S training samples.
        batch_size: Samples of a batch, at most S.
        seed: Of the order and of the pieces.
        workers: Processes that read batches; None for as many as pay.
    """

    def __init__(
        self,
        spec: Modality,
        records: Records,
        *,
        batch_size: int,
        seed: int,
        workers: int | None = None,
    ):
        pieces, owner = spec.unfold(records)
        super().__init__(spec, pieces, batch_size=batch_size, seed=seed, workers=workers)
        self.first: Index | None = None
        if owner is not None:
            # Where the pieces of each sample begin, and the last ones end.
            self.first = np.searchsorted(owner, np.arange(len(records) + 1))
            self.per_pass = max(1, len(records) // batch_size)
            self.order = Order(len(records), seed=seed)

    def samples(self, number: int) -> Index:
        """Positions of the samples of the n-th batch, ascending, (B,)."""
        return super().index(number)

    def index(self, number: int) -> Index:
        """Positions of what is read for the n-th batch: its samples, or pieces of them."""
        return self._drawn(number)[0]

    def owner(self, number: int) -> Index | None:
        """Place within the n-th batch of the sample of each piece; None without pieces."""
        return self._drawn(number)[1]

    def _drawn(self, number: int) -> tuple[Index, Index | None]:
        samples = self.samples(number)
        if self.first is None:
            return samples, None
        rng = np.random.default_rng([self.seed, 3, number])
        drawn = []
        for sample in samples:
            start, count = int(self.first[sample]), int(np.diff(self.first[sample:])[0])
            some = rng.choice(count, min(count, PIECES), replace=False)
            drawn.append(start + np.sort(some))
        lengths = [len(some) for some in drawn]
        return np.concatenate(drawn), np.repeat(np.arange(len(samples)), lengths)


@dataclass(frozen=True)
class Pooling:
    """How the tokens of samples become one vector each, as `embed_samples` does it.

    Attributes:
        regions: Region of each token, (N,); None for one mean over all.
    """

    regions: Tensor | None

    @classmethod
    def of(cls, spec: Modality, device: torch.device) -> "Pooling":
        """Return that of a modality."""
        own = spec.token_regions
        return cls(None if own is None else torch.from_numpy(own).to(device))

    def features(
        self, backbone: Backbone, batch: Batch, owner: Index | None, rng: torch.Generator
    ) -> Tensor:
        """Embed the samples of a batch, (B, F), with the encoder's dropout.

        Args:
            backbone: The encoder.
            batch: Samples, or pieces of them, (W, ...).
            owner: Place of each piece's sample, (W,); None if each is a sample.
            rng: Source of the dropout.
        """
        tokens = backbone.tokenizer.embed(batch)
        latent, padding = backbone.encode(tokens, rng=rng)[:, 1:].float(), tokens.padding
        if self.regions is None:
            found = pool(latent, padding)
        else:
            found = pool_regions(latent, padding, self.regions)
        if owner is None:
            return found
        weight = found.new_full((len(found),), latent.shape[1])
        if padding is not None:
            weight = (~padding).sum(dim=1).to(found.dtype)
        at = torch.from_numpy(owner).to(found.device)
        num = int(owner[-1]) + 1
        sums = found.new_zeros(num, found.shape[1]).index_add(0, at, found * weight[:, None])
        total = found.new_zeros(num).index_add(0, at, weight)
        return sums / total[:, None].clamp(min=1)
