"""What turns samples into tokens and back: the half of a modality that is trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.model.tokens import Batch, Tokens
from metamae.model.transformer import rows


class Places(nn.Module):
    """Positions that follow from the number of tokens alone: batch -> (N, width).

    Args:
        table: Map from N to (N, width).
        key: Entry of a batch that has one element per token along its second axis.
    """

    def __init__(self, table: nn.Module, key: str):
        super().__init__()
        self.table, self.key = table, key

    def forward(self, batch: Batch) -> Tensor:
        found: Tensor = self.table(batch[self.key].shape[1])
        return found


class OwnPlaces(nn.Module):
    """Positions that follow from each sample: batch -> (B, N, width).

    Args:
        table: Map from places (B, N, axes) to positions.
        where: Map from a batch to the places of its tokens.
    """

    def __init__(self, table: nn.Module, where: Callable[[Batch], Tensor]):
        super().__init__()
        self.table, self.where = table, where

    def forward(self, batch: Batch) -> Tensor:
        found: Tensor = self.table(self.where(batch))
        return found


@dataclass(frozen=True)
class Leaf:
    """One field of a batch: all of it, but for a mixture.

    Attributes:
        number: Position of the field among all that samples may have.
        tokenizer: Its own.
        batch: Its own entries.
        range: Positions of its tokens among those of the whole batch.
        present: True for samples that have the field, (B,).
        complete: Map from predictions of the whole batch (B, N, P) to those of the field's tokens,
            as its own tokenizer takes them.
    """

    number: int
    tokenizer: "Tokenizer"
    batch: Batch
    range: slice
    present: Tensor
    complete: Callable[[Tensor], Tensor]


class Tokenizer(nn.Module, ABC):
    """Samples in, tokens out; and back again as an error per token.

    Attributes:
        width: D.
        num_squares: Values of a token whose squared errors `error` averages, P; 0 where an error
            is something else, such as a cross-entropy.
        scored: Entries of a batch, (B, N, ...), from which `error` and `baseline` follow for each
            token by itself; none if tokens at different positions have errors of different kinds.
    """

    width: int
    num_squares: int = 0
    scored: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def embed(self, batch: Batch) -> Tokens:
        """Turn samples into tokens with positions."""

    @abstractmethod
    def positions(self, width: int) -> nn.Module:
        """Return positions for a decoder: a map from a batch to (N, width) or (B, N, width)."""

    @abstractmethod
    def head(self, width: int) -> nn.Module:
        """Return the map from decoder states (B, N, width) to predictions (B, N, P)."""

    @abstractmethod
    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Score predictions against the samples, (B, N); any finite number where padded."""

    @abstractmethod
    def baseline(self, batch: Batch) -> Tensor:
        """Error of the best constant guess, (B, N): the mean, or the symbols' frequencies."""

    def only(self, batch: Batch, at: Tensor) -> Batch | None:
        """Return what `error` and `baseline` need of some tokens, as if there were no others.

        Args:
            batch: The samples.
            at: Positions of those tokens, (B, K), each in 0..N-1.

        Returns:
            A batch of K tokens; None if they cannot be told apart from all.
        """
        found = {}
        for key in self.scored:
            if key in batch:
                B, N, *rest = batch[key].shape
                found[key] = rows(batch[key].reshape(B, N, -1), at).view(*at.shape, *rest)
        return found or None

    @abstractmethod
    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Turn predictions into values in the user's units, one row per sample."""

    @abstractmethod
    def original(self, batch: Batch) -> NDArray[Any]:
        """Turn samples back into values in the user's units, in the form of `decode`."""

    @abstractmethod
    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[np.bool_]:
        """Lay a mark per token (B, N) out over the values that `decode` gives."""

    def leaves(self, batch: Batch) -> list[Leaf]:
        """Divide a batch into its fields; a field that no sample has is left out."""
        value = next(iter(batch.values()))
        present = torch.ones(len(value), dtype=torch.bool, device=value.device)
        return [Leaf(0, self, batch, slice(None), present, _unchanged)]

    def embed_for_export(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Tokens with their places, (B, N, D), and where there is none, (B, N), for any N.

        Args:
            batch: As `Modality.whole_batch` makes it.
        """
        tokens = self.embed(batch)
        assert tokens.padding is not None
        return tokens.placed, tokens.padding

    def shown(self, batch: Batch) -> list[Any]:
        """Turn samples back into values as a page draws them whole."""
        return list(self.original(batch))

    def elements(self, batch: Batch) -> list[Any]:
        """Turn samples back into values one by one, as `spread` marks them."""
        return list(self.original(batch))

    def guesses(self, predicted: Tensor, batch: Batch) -> list[tuple[Any, tuple[Any, ...]]]:
        """Turn predictions into values as `elements` gives them, with the probability of each.

        Probabilities are None for a value that has none, and empty where no value has any.
        """
        return [(values, ()) for values in self.decode(predicted, batch)]


def _unchanged(predicted: Tensor) -> Tensor:
    return predicted
