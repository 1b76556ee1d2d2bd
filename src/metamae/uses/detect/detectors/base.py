"""What a detector is: it learns from normal samples what tokens are like, and scores others.

Letters: S samples, T tokens of all of them, one sample behind the other, D width, G places.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.encoder.embedding import MULTIPLE, micro_batches
from metamae.encoder.pretrained import Pretrained
from metamae.modalities.base import Modality
from metamae.model.backbone import Backbone
from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch, Tokens

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Described:
    """Samples as what a detector looks at.

    Attributes:
        features: Of every token, (T, D) float32.
        around: Mean over each token and its neighbours, (T, D) float32; `features` itself where
            a detector has no use for it.
        places: Which tokens are alike in kind, (T,) int64: those of one place in aligned samples,
            such as a column of a table; all tokens of a field where samples differ in length.
        starts: Where each sample's tokens begin and the last one's end, (S + 1,).
        positions: Position of each token in its sample, (T,); a missing one leaves a gap.
    """

    features: NDArray[np.float32]
    around: NDArray[np.float32]
    places: Index
    starts: Index
    positions: Index

    @property
    def owner(self) -> Index:
        """Sample of each token, (T,)."""
        return np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))

    @property
    def pooled(self) -> Floats:
        """Mean over the tokens of each sample, (S, D)."""
        return means(self.features.astype(np.float64), self.starts)

    def part(self, samples: Index) -> "Described":
        """Return some samples."""
        parts = [np.arange(self.starts[s], self.starts[s + 1]) for s in samples]
        chosen = np.concatenate([np.empty(0, dtype=np.int64), *parts])
        around = self.features[chosen] if self.around is self.features else self.around[chosen]
        return Described(
            self.features[chosen],
            around,
            self.places[chosen],
            np.cumsum([0, *(len(part) for part in parts)]),
            self.positions[chosen],
        )


@dataclass(frozen=True)
class Strangeness:
    """How strange samples are; higher is stranger.

    Attributes:
        samples: (S,).
        tokens: (T,).
    """

    samples: Floats
    tokens: Floats


class Detector(ABC):
    """A way to tell what is unlike the normal samples; it never sees a label.

    Its keyword-only arguments are its settings.

    Attributes:
        description: One line for `metamae list`.
    """

    description: ClassVar[str]

    @property
    def name(self) -> str:
        """Registered name: a plug-in's module is its key."""
        return type(self).__module__.rpartition(".")[2]

    def check(self, pretrained: Pretrained) -> None:
        """Raise ConfigError if a run cannot be used."""
        return

    def describe(self, pretrained: Pretrained, records: Records, seed: int) -> Described:
        """Describe samples; by default by their frozen encoded tokens, nothing hidden.

        Raises:
            DataError: If a sample does not fit the run.
        """
        return describe_tokens(pretrained, records)

    @abstractmethod
    def fit(self, normal: Described, seed: int) -> None:
        """Learn what is normal."""

    @abstractmethod
    def score(self, described: Described) -> dict[str, Strangeness]:
        """Score samples and their tokens, by each variant of this detector.

        Returns:
            Name of the variant -> scores. The first one is the detector's own.
        """


def describe_tokens(pretrained: Pretrained, records: Records) -> Described:
    """Describe samples by their frozen encoded tokens."""
    backbone: Backbone = pretrained.module.backbone
    backbone.eval()

    def encode(batch: Batch, tokens: Tokens) -> list[Tensor]:
        latent, _ = backbone.token_features(batch, MULTIPLE)
        latent = latent[:, : tokens.values.shape[1]]
        return [latent, _around(latent, tokens)]

    return collect(pretrained, records, encode)


def collect(pretrained: Pretrained, records: Records, measure: Any) -> Described:
    """Run `measure` over micro-batches and put what it says of every token in order.

    Args:
        pretrained: The run.
        records: Samples.
        measure: (batch, tokens) -> one or two tensors (B, N, K): features, and those around.
    """
    spec = pretrained.schema.modality
    device = next(pretrained.module.parameters()).device
    pieces, owner = spec.unfold(records)
    tokenizer = pretrained.module.backbone.tokenizer
    rows: list[Any] = [None] * len(pieces)
    with torch.no_grad():
        for index, batch in micro_batches(spec, pieces, device):
            tokens = tokenizer.embed(batch)
            found = [part.float().cpu().numpy() for part in measure(batch, tokens)]
            B, N = tokens.values.shape[:2]
            there = np.ones((B, N), bool)
            if tokens.padding is not None:
                there = ~tokens.padding.cpu().numpy()
            places, own = places_of(spec, tokenizer, batch, N, cut=owner is not None)
            for row, position in enumerate(index.tolist()):
                at = there[row].nonzero()[0]
                rows[position] = ([part[row, at] for part in found], places[at], own[at])
    counts = np.array([len(row[2]) for row in rows], dtype=np.int64)
    if owner is not None:
        counts = np.bincount(owner, counts, len(records)).astype(np.int64)
    features = [np.concatenate(parts) for parts in zip(*(row[0] for row in rows), strict=True)]
    return Described(
        features=features[0],
        around=features[-1],
        places=np.concatenate([row[1] for row in rows]),
        starts=np.concatenate([[0], np.cumsum(counts)]),
        positions=_positions([row[2] for row in rows], owner),
    )


def _positions(at: list[Index], owner: Index | None) -> Index:
    """Position of each token in its sample; the tokens of its pieces stand in a row."""
    if owner is None:
        return np.concatenate(at)
    before, last, shifted = 0, -1, []
    for own, sample in zip(at, owner.tolist(), strict=True):
        before = 0 if sample != last else before
        shifted.append(own + before)
        before, last = before + int(own.max(initial=-1)) + 1, sample
    return np.concatenate(shifted)


def places_of(
    spec: Modality, tokenizer: Tokenizer, batch: Batch, num_tokens: int, *, cut: bool
) -> tuple[Index, Index]:
    """Number the places of a batch's tokens, and say where each stands in its sample.

    Args:
        spec: What a sample is.
        tokenizer: Of the encoder.
        batch: Samples.
        num_tokens: N.
        cut: Whether samples are in pieces, whose tokens stand anywhere in their sample.

    Returns:
        Places (N,): tokens of one number can be compared. Positions (N,): the same for the same
        token of every batch, whatever fields of a mixture the samples of this one lack.
    """
    every = np.arange(num_tokens)
    places, positions = np.zeros_like(every), np.zeros_like(every)
    starts = np.cumsum([0, *(own.num_tokens for _, own in spec.leaves)])
    for leaf in tokenizer.leaves(batch):
        own = np.arange(len(every[leaf.range]))
        positions[leaf.range] = starts[leaf.number] + own
        compared = spec.leaves[leaf.number][1].aligned and not cut
        places[leaf.range] = starts[leaf.number] + (own if compared else 0)
    return places, positions


def _around(latent: Tensor, tokens: Tokens) -> Tensor:
    """Mean over each token and its neighbours that are there, (B, N, D)."""
    B, N, D = latent.shape
    there = torch.ones(B, N, 1, device=latent.device)
    if tokens.padding is not None:
        there = (~tokens.padding)[..., None].to(latent.dtype)
    values = latent * there
    if tokens.neighbours is None:
        whole = values.sum(dim=1, keepdim=True) / there.sum(dim=1, keepdim=True).clamp(min=1)
        return whole.expand(B, N, D)
    near = tokens.neighbours.expand(B, *tokens.neighbours.shape[-2:])  # (B, N, K)
    total, count = values.clone(), there.clone()
    for k in range(near.shape[2]):
        at = near[:, :, k : k + 1]
        exists = (at >= 0).to(latent.dtype)
        at = at.clamp(min=0)
        total += values.gather(1, at.expand(-1, -1, D)) * exists
        count += there.gather(1, at) * exists
    return total / count.clamp(min=1)


def means(values: NDArray[Any], starts: Index) -> Floats:
    """Mean of the rows of each sample, (T, K) -> (S, K); zeros for a sample without any."""
    counts = np.diff(starts)
    sums: Floats = np.zeros((len(counts), values.shape[1]))
    full = counts > 0
    if full.any():
        sums[full] = np.add.reduceat(values, starts[:-1][full], axis=0)
    return np.asarray(sums / np.maximum(counts, 1)[:, None])


def strongest(values: Floats, starts: Index, share: float) -> Floats:
    """Mean of the highest values of each sample, (T,) -> (S,): a share of them, at least one."""
    found = np.zeros(len(starts) - 1)
    for sample, (start, stop) in enumerate(pairwise(starts)):
        own = values[start:stop]
        if len(own):
            most = max(1, round(share * len(own)))
            found[sample] = own.mean() if most >= len(own) else _top(own, most)
    return found


def _top(values: Floats, most: int) -> float:
    return float(np.partition(values, len(values) - most)[-most:].mean())


def draw(described: Described, most: int, rng: np.random.Generator) -> Index:
    """Choose at most so many tokens at random, ascending."""
    total = len(described.features)
    if total <= most:
        return np.arange(total)
    return np.sort(rng.choice(total, most, replace=False))
