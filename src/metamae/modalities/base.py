"""What a modality is: a spec, which is data, and a tokenizer, which is trained."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.data.columns.base import Column, Index, decodes, known_sizes
from metamae.data.presence import given
from metamae.data.records import Records
from metamae.modalities.form import Form
from metamae.modalities.gaps import Gaps, NoGaps
from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch

LOOK_AT = 1024  # samples that a guess is taken from
Features = NDArray[np.float32]


class Sure(IntEnum):
    """How sure a modality is of a field."""

    FALLBACK = 1  # it is a single value or text, and there is nothing else to learn from
    SHAPE = 2  # by the shape or the content of its values
    NAME = 3  # readers give such a name to such fields only


@dataclass(frozen=True)
class Look:
    """One field of a data set, as a guess looks at it.

    Attributes:
        name: Of the field.
        column: Its values.
    """

    name: str
    column: Column

    @cached_property
    def values(self) -> list[Any]:
        """The first of its values."""
        return list(self.column[np.arange(min(len(self.column), LOOK_AT))])

    @cached_property
    def arrays(self) -> list[NDArray[Any]]:
        """Those of the first values that are arrays, of a column of objects."""
        return [value for value in self.values if isinstance(value, np.ndarray)]

    @property
    def holds_objects(self) -> bool:
        """Whether its values are texts or arrays of different shapes, one per sample."""
        return len(self.column.shape) == 1 and self.column.dtype.kind in "OU"


@dataclass(frozen=True)
class FieldRow:
    """What one field of the input is, in words.

    Attributes:
        field: Its name.
        kind: What it is taken for.
        holds: Its size or its values.
    """

    field: str
    kind: str
    holds: str


class Modality(ABC):
    """What one sample looks like, and how its values are brought to one scale.

    A subclass is a frozen dataclass of plain values: safe to save as JSON, without weights. Its
    statistics come from the training data and are applied to all data ever after.
    """

    kind: ClassVar[str]
    """Registered name."""
    description: ClassVar[str]
    """One line for `metamae list`."""
    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """What users call such samples -> settings of `infer` that the word implies."""
    timed: ClassVar[tuple[str, ...]] = ()
    """Those of the words whose samples may have their sampling rate in a field of its own."""
    columnwise: ClassVar[bool] = False
    """Whether all fields of this modality are the columns of one input, as in a table."""
    remarks: ClassVar[bool] = False
    """Whether such a field beside numbers and categories may be a remark in their table."""
    content: ClassVar[str]
    """Entry of a batch that holds the values, (B, N, ...); "valid" says which are known."""
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

    @classmethod
    def recognises(cls, field: Look) -> tuple[Sure, str] | None:
        """Say how sure it is that one field by itself is of this modality, and by which word.

        None for a field that it would not take.
        """
        return None

    @classmethod
    def doubt(cls, records: Records) -> str:
        """Return the end of a note: what else samples may be that were taken for this modality."""
        return ""

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

    @property
    def leaves(self) -> tuple[tuple[str, "Modality"], ...]:
        """Name and modality of each field of a sample; one without a name, but for a mixture."""
        return (("", self),)

    @property
    def aligned(self) -> bool:
        """Whether the n-th token is the same place in all samples."""
        return not self.varies

    @abstractmethod
    def form(self, part: str = "") -> Form:
        """Say in which form a page draws samples.

        Args:
            part: Name of the field in a mixture.
        """

    def describe_fields(self, part: str = "") -> list[FieldRow]:
        """Describe the input: a row for each field that a user would recognise."""
        return [FieldRow(part or ", ".join(self.columns), self.kind_word, self.describe())]

    def gaps(self) -> Gaps:
        """Return where values are missing in such samples, and how predictions are put there."""
        return NoGaps(f"{self.kind_word} has no place that could be empty")

    def search_space(self) -> dict[str, list[Any]]:
        """Settings of `infer` that are worth a trial, by name: the present value, then others."""
        return {}

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

    @classmethod
    def given(cls, records: Records) -> NDArray[np.bool_]:
        """Say which samples have a field that is made of these columns, (S,)."""
        return given(records, every=not cls.columnwise)

    @abstractmethod
    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples and bring them to the training data's scale.

        Raises:
            DataError: If a value does not fit the spec; the message names the sample.
        """

    def whole_batch(self, records: Records, index: Index) -> Batch:
        """`batch` with every entry that one may have, also where nothing is missing.

        Of a mixture, a field that none of these samples has is left out still.

        Raises:
            DataError: If a value does not fit the spec.
        """
        batch = self.batch(records, index)
        if "valid" not in batch:
            batch["valid"] = torch.ones(batch[self.content].shape[:3], dtype=torch.bool)
        return batch

    @abstractmethod
    def raw(self, records: Records, index: Index) -> Features:
        """Return the same samples as plain features without any learning, (B, F)."""

    @abstractmethod
    def tokenizer(self, width: int) -> Tokenizer:
        """Return the trainable half for an encoder of that width."""

    @classmethod
    @abstractmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        """Make `num` small samples of this modality, for the contract tests."""

    @property
    def kind_word(self) -> str:
        """What a user calls this kind of sample, a word of `words`."""
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


def _frozen(value: Any) -> Any:
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
