"""What a modality is: a spec, which is data, and a tokenizer, which is trained."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.columns import Index, decodes, known_sizes
from metamae.networks.transformer import rows
from metamae.records import Records
from metamae.types import Batch, Tokens

Features = NDArray[np.float32]


class Modality(ABC):
    """What one sample looks like, and how its values are brought to one scale.

    A subclass is a frozen dataclass of plain values: safe to save as JSON, without weights. Its
    statistics come from the training data and are applied to all data ever after.
    """

    kind: ClassVar[str]
    """Registered name."""
    description: ClassVar[str]
    """One line for `metamae list`."""
    editable: ClassVar[tuple[str, ...]] = ()
    """Settings of `infer` that stand in the spec by the same name, for a user to look at."""
    measured_by_reading: ClassVar[bool] = False
    """Whether `lengths` reads samples although their sizes are known."""

    @classmethod
    @abstractmethod
    def infer(
        cls, records: Records, rng: np.random.Generator, **settings: Any
    ) -> tuple["Modality", list[str]]:
        """Measure the training data.

        Args:
            records: Training data, only with the columns that are input.
            rng: Source of the subsample that statistics are taken from.
            **settings: The user's choices; a modality documents its own as keyword-only
                arguments.

        Returns:
            The spec, and one sentence for every assumption or warning that a user should see.

        Raises:
            DataError: If the records are not of this modality.
            ConfigError: If a setting does not fit them.
        """

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Names of the input columns."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """N of the largest training sample."""

    @property
    @abstractmethod
    def mask_ratio(self) -> float:
        """Share of tokens to hide where nothing else is asked for."""

    @property
    def suited(self) -> dict[str, Any]:
        """Settings of methods that suit such data better than the methods' own defaults.

        A method takes those that it has.
        """
        return {}

    @abstractmethod
    def describe(self) -> str:
        """Say in a few words what a sample is, e.g. "series, 6 channels x 100, cell 4"."""

    @property
    def token_regions(self) -> Index | None:
        """Region that each token is in, (N,), counted from 0; an embedding has a mean of each.

        None for one mean over all tokens, as where no place means the same in all samples.
        """
        return None

    def embedding_width(self, width: int) -> int:
        """Return the numbers of an embedding by an encoder of width D."""
        regions = self.token_regions
        return width if regions is None else width * (int(regions.max()) + 1)

    @property
    def varies(self) -> bool:
        """Whether samples may differ in their number of tokens."""
        return False

    @abstractmethod
    def lengths(self, records: Records) -> Index | None:
        """Tokens of each sample, where they differ; None where all have N.

        Returns:
            (S,), or (S, F) for a mixture of F fields. Samples whose rows, each number rounded up
            to a multiple of 8, are equal may be computed together.
        """

    def rough_lengths(self, records: Records) -> Index | None:
        """`lengths`, or numbers that they nearly follow from, where those take long to find."""
        return self.lengths(records)

    def rough_sizes(self, records: Records) -> Index | None:
        """How long each sample is beside the others, all its fields together, (S,).

        None where all have the same number of tokens, or where samples would have to be decoded.

        Raises:
            DataError: If a sample does not fit the spec.
        """
        for column in records.columns.values():
            if decodes(column) and (self.measured_by_reading or known_sizes(column) is None):
                return None
        lengths = self.rough_lengths(records)
        return None if lengths is None else lengths.reshape(len(records), -1).sum(axis=1)

    def unfold(self, records: Records) -> tuple[Records, Index | None]:
        """Return the pieces that samples are learnt from and embedded in.

        A long recording or text is cut into windows; a sample's embedding is the mean over its
        pieces. `lengths`, `batch` and `raw` are called with pieces.

        Returns:
            The pieces as records, and the position of the sample that each belongs to, (W,)
            ascending; None if each sample is its own piece.
        """
        return records, None

    def present(self, records: Records, index: Index) -> NDArray[np.bool_]:
        """Say which samples have a value at all, (B,); a mixture's sample may lack a field."""
        return np.ones(len(index), dtype=bool)

    @abstractmethod
    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples and bring them to the training data's scale.

        Raises:
            DataError: If a value does not fit the spec; the message names the sample.
        """

    @abstractmethod
    def raw(self, records: Records, index: Index) -> Features:
        """Return the same samples as plain features without any learning, (B, F)."""

    @abstractmethod
    def tokenizer(self, width: int) -> "Tokenizer":
        """Return the trainable half for an encoder of that width."""

    @classmethod
    @abstractmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        """Make `num` small samples of this modality, for the contract tests."""

    @property
    def kind_word(self) -> str:
        """What a user calls this kind of sample, a word of `schema.KINDS`."""
        return self.kind

    def settings(self) -> dict[str, Any]:
        """Return what a user may want to change of what was measured, as settings of `infer`."""
        found = {name: getattr(self, name) for name in self.editable}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in found.items()
            if value is not None and value != 0
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"kind": self.kind, **asdict(self)}  # type: ignore[call-overload]

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Modality":
        """Undo `to_dict`; lists become the tuples they were."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        return cls(**{k: _frozen(v) for k, v in values.items() if k in known})


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


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
