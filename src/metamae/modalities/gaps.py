"""Gaps: values that are missing in samples, where predictions are put, and what can be hidden.

A gap is a value that a user would expect to be there: NaN in a lattice or a table, an empty cell,
a letter that is unknown. What a sample does not have, such as the end of a short one, is no gap.

Letters: S samples, B samples of a batch, N tokens, G values of a token, F numbers and K words of a
sample that is laid out as a row.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Array, Index
from metamae.data.records import Records, hold
from metamae.model.tokens import Batch

SPAN = 0.25  # share of a sample that one hidden run of it takes


@dataclass(frozen=True)
class Opened:
    """A batch whose missing tokens are there, to be hidden and predicted.

    Attributes:
        batch: The samples.
        empty: True where a token has a gap and no known value, (B, N).
        partly: True where a token has a gap and known values too, (B, N).
    """

    batch: Batch
    empty: Tensor
    partly: Tensor


@dataclass(frozen=True)
class Marks:
    """What the values of a batch's tokens are, (B, N, G) each.

    Attributes:
        gaps: True where a value is missing that could be there.
        known: True where it is known.
        extent: True where there could be a value if a sample of a mixture lacks the field as a
            whole; nothing where its size would be unknown.
    """

    gaps: Tensor
    known: Tensor
    extent: Tensor


@dataclass(frozen=True)
class Sheet:
    """Samples as rows of numbers and of words.

    Attributes:
        numbers: (S, F), NaN where missing.
        words: (S, K) object, None where missing.
        lattice: Shape of the numbers of a lattice, (C, *size); None for others.
    """

    numbers: NDArray[np.float64]
    words: NDArray[Any]
    lattice: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Laid:
    """Samples of one field as numbers and words, and what reports call each.

    Attributes:
        sheet: The values.
        columns: Name of the column of each number, (F,).
        words: Name of the column of each word, (K,).
    """

    sheet: Sheet
    columns: list[str]
    words: list[str]

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Which numbers may be hidden, (S, F)."""
        return ~np.isnan(self.sheet.numbers)

    @cached_property
    def known_words(self) -> NDArray[np.bool_]:
        """Which words may be hidden, (S, K)."""
        there = np.array([[w is not None for w in row] for row in self.sheet.words], dtype=bool)
        return there.reshape(self.sheet.words.shape)


@dataclass(frozen=True)
class Holes:
    """What is hidden: numbers (S, F) and words (S, K)."""

    numbers: NDArray[np.bool_]
    words: NDArray[np.bool_]


class Canvas(ABC):
    """One input column in memory, whose gaps are being filled.

    Attributes:
        values: All of its values, (S, ...); gaps are filled in place.
        count: Values that were filled.
    """

    def __init__(self, column: str, records: Records):
        self.values = np.array(np.asarray(records[column][np.arange(len(records))]))
        self.count = 0

    @abstractmethod
    def put(self, sample: int, value: Any, begin: int, blank: str | None) -> None:
        """Put predictions into the gaps of one sample.

        Args:
            sample: Its position.
            value: As `Tokenizer.decode` gives it.
            begin: Where in the sample it begins, if that was cut into windows.
            blank: A letter or code that stands for an unknown one.
        """


class Gaps(ABC):
    """What `metamae impute` has to know of a modality."""

    refusal: str | None = None
    """Why gaps of these samples cannot be filled; None if they can."""

    def check_blank(self, blank: str) -> None:  # noqa: B027  # most modalities have no blank
        """Raise ConfigError if something cannot stand for an unknown value."""

    @abstractmethod
    def found(self, records: Records, index: Index, blank: str | None) -> NDArray[np.bool_]:
        """Say which samples have a gap, (B,); a field that is missing as a whole is one."""

    @abstractmethod
    def marks(self, held: Records, batch: Batch, blank: str | None) -> Marks:
        """Say which values of a batch are gaps and which are known.

        Args:
            held: The samples, in memory.
            batch: What `Modality.batch` made of them.
            blank: A letter or code that stands for an unknown one.
        """

    @abstractmethod
    def canvas(self, column: str, records: Records) -> Canvas:
        """Return an input column to be filled."""

    @abstractmethod
    def lay_out(self, columns: Mapping[str, Array]) -> Laid:
        """Lay samples that are in memory out as rows."""

    @abstractmethod
    def punch(self, columns: Mapping[str, Array], laid: Laid, holes: Holes) -> dict[str, Array]:
        """Return the samples with the chosen values missing."""

    def spans(self, laid: Laid, rng: np.random.Generator) -> list[Holes]:
        """Choose a run of values of each sample to hide; nothing where values have no order."""
        return []

    def open(self, records: Records, index: Index, batch: Batch, blank: str | None) -> Opened:
        """Say what is missing in a batch, so that it can be predicted.

        Args:
            records: Samples, or pieces of them.
            index: Positions, (B,).
            batch: What `Modality.batch` made of them; it may be changed.
            blank: A letter or code that stands for an unknown one.
        """
        marks = self.marks(hold(records, index), batch, blank)
        touched = marks.gaps.any(dim=2)
        empty = touched & ~marks.known.any(dim=2)
        declare_present(batch, empty)
        return Opened(batch, empty, touched & ~empty)


class NoGaps(Gaps):
    """Samples whose gaps cannot be filled.

    Args:
        refusal: Why.
    """

    def __init__(self, refusal: str):
        self.refusal = refusal

    def found(self, records: Records, index: Index, blank: str | None) -> NDArray[np.bool_]:
        return np.zeros(len(index), dtype=bool)

    def marks(self, held: Records, batch: Batch, blank: str | None) -> Marks:
        raise AssertionError(self.refusal)

    def canvas(self, column: str, records: Records) -> Canvas:
        raise AssertionError(self.refusal)

    def lay_out(self, columns: Mapping[str, Array]) -> Laid:
        raise AssertionError(self.refusal)

    def punch(self, columns: Mapping[str, Array], laid: Laid, holes: Holes) -> dict[str, Array]:
        raise AssertionError(self.refusal)


def declare_present(batch: Batch, empty: Tensor) -> None:
    """Declare tokens that are wholly missing, (B, N), to be there, or they would be padding."""
    if "valid" in batch:
        valid = batch["valid"]
        batch["valid"] = valid | (empty if valid.ndim == 2 else empty[..., None])


def no_words(rows: int) -> NDArray[Any]:
    """Return the words of samples that have none, (S, 0)."""
    return np.empty((rows, 0), dtype=object)


def span(there: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Hide a run of what is there, which is not all of it: marks (length,)."""
    mark = np.zeros(length, dtype=bool)
    if len(there) >= 2:
        size = max(1, round(SPAN * len(there)))
        start = int(rng.integers(len(there) - size + 1))
        mark[there[start : start + size]] = True
    return mark
