"""How well gaps are filled: known values are hidden, filled and compared, beside simple guesses.

S samples are filled; the guesses are fitted on others, which are whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metamae.data.columns.base import Array, Index
from metamae.data.records import Records
from metamae.encoder.masked_prediction import check_reconstructs
from metamae.encoder.pretrained import Pretrained
from metamae.errors import DataError
from metamae.modalities.base import Modality
from metamae.modalities.gaps import Holes, Laid, Sheet
from metamae.uses.impute.filling import fill
from metamae.uses.impute.gaps import check_fillable
from metamae.uses.impute.guesses import guess
from metamae.uses.impute.holes import PATTERNS, make_holes

MOST_REFERENCE = 2000  # samples that guesses are fitted on
MOST_TESTED = 500  # samples that are filled for each pattern
TESTED_SHARE = 0.3


@dataclass(frozen=True)
class Error:
    """How far one way of filling is off in one column, or in all.

    Attributes:
        pattern: What was hidden: "cells", "spans" or "columns".
        column: Name; "all numbers" or "all words" for a part as a whole.
        method: The method, or a guess: mean, interpolation, knn or iterative.
        rmse: Root of the mean squared error in the user's units; NaN for words and for all.
        mae: Mean absolute error, likewise.
        normalised: RMSE in standard deviations of the column, 1 for guessing the mean; for all
            numbers, the root mean square over their columns. NaN for words.
        accuracy: Share of words that are right; NaN for numbers.
        num: Values hidden.
    """

    pattern: str
    column: str
    method: str
    rmse: float
    mae: float
    normalised: float
    accuracy: float
    num: int


def check(
    pretrained: Pretrained,
    records: Records,
    *,
    patterns: Sequence[str] = PATTERNS,
    seed: int = 0,
) -> list[Error]:
    """Hide known values, fill them, and measure.

    Args:
        pretrained: The run.
        records: Samples with the columns that are its input.
        patterns: What to hide: "cells", "spans" and "columns".
        seed: Of every draw.

    Raises:
        ConfigError: If the method cannot predict, or nothing can be filled.
        DataError: If there are too few samples.
    """
    rng = np.random.default_rng([seed, 0])
    spec = pretrained.schema.modality
    check_reconstructs(pretrained.module)
    check_fillable(spec, None)
    order = rng.permutation(np.flatnonzero(spec.present(records, np.arange(len(records)))))
    num_tested = min(MOST_TESTED, round(TESTED_SHARE * len(order)))
    if num_tested < 1 or len(order) - num_tested < 2:
        raise DataError(
            f"{records.source}: a check of imputation needs at least 4 samples; got {len(order)}."
        )
    tested, others = order[:num_tested], order[num_tested:][:MOST_REFERENCE]
    found: list[Error] = []
    for name, part in spec.leaves:
        if part.gaps().refusal is None:
            case = _Case(pretrained, records, name, part, tested, others)
            for pattern in patterns:
                found += case.errors(pattern, np.random.default_rng([seed, 1]), seed)
    return found


class _Case:
    """One part of the samples, of those that have it."""

    def __init__(
        self,
        pretrained: Pretrained,
        records: Records,
        name: str,
        part: Modality,
        tested: Index,
        others: Index,
    ):
        self.pretrained, self.part = pretrained, part
        self.prefix = f"{name}: " if name else ""
        own = records.only(part.columns)
        if name:
            has = part.given(own)
            tested, others = tested[has[tested]], others[has[others]]
        self.samples = records.subset(tested)
        every = np.arange(len(tested))
        self.columns = {key: np.asarray(own[key][tested]) for key in part.columns}
        self.rest = {key: np.asarray(self.samples[key][every]) for key in records}
        self.truth = part.gaps().lay_out(self.columns)
        reference = {key: np.asarray(own[key][others]) for key in part.columns}
        self.reference = part.gaps().lay_out(reference).sheet

    def errors(self, pattern: str, rng: np.random.Generator, seed: int) -> list[Error]:
        """Hide values by one pattern and measure every way of filling them."""
        found: dict[str, list[tuple[Sheet, Holes]]] = {}
        for holes in make_holes(self.part.gaps(), self.truth, pattern, rng):
            holed = self.part.gaps().punch(self.columns, self.truth, holes)
            for method, sheet in self._filled(holed, holes, seed).items():
                found.setdefault(method, []).append((sheet, holes))
        return [
            error
            for method, sheets in found.items()
            for error in _errors(pattern, method, self.prefix, self.truth, sheets)
        ]

    def _filled(self, holed: Mapping[str, Array], holes: Holes, seed: int) -> dict[str, Sheet]:
        records = Records({**self.rest, **holed}, self.samples.source)
        name = self.pretrained.config.method
        found = {}
        adapts = self.pretrained.module.adapts
        for key, step in ((name, True), (f"{name}, no inner step", False))[: 1 + adapts]:
            columns = {**holed, **fill(self.pretrained, records, step=step).columns}
            own = {column: columns[column] for column in self.part.columns}
            found[key] = self.part.gaps().lay_out(own).sheet
        sheet = self.truth.sheet
        words = sheet.words.copy()
        words[holes.words] = None
        numbers = np.where(holes.numbers, np.nan, sheet.numbers)
        return found | guess(
            _fitting(self.reference, sheet), Sheet(numbers, words, sheet.lattice), seed
        )


def _fitting(reference: Sheet, sheet: Sheet) -> Sheet:
    """Cut, or fill up with nothing, the reference of ragged samples to the columns of others."""
    words, wanted = reference.words, sheet.words.shape[1]
    if words.shape[1] != wanted:
        fitted = np.full((len(words), wanted), None, dtype=object)
        shared = min(wanted, words.shape[1])
        fitted[:, :shared] = words[:, :shared]
        words = fitted
    numbers = reference.numbers
    if numbers.shape[1] != sheet.numbers.shape[1]:
        assert reference.lattice is not None and sheet.lattice is not None
        blank = np.full((len(numbers), *sheet.lattice), np.nan)
        both = tuple(
            slice(min(a, b)) for a, b in zip(reference.lattice, sheet.lattice, strict=True)
        )
        whole = numbers.reshape(len(numbers), *reference.lattice)
        blank[(slice(None), *both)] = whole[(slice(None), *both)]
        numbers = blank.reshape(len(numbers), -1)
    return Sheet(numbers, words, sheet.lattice)


def _errors(
    pattern: str, method: str, prefix: str, truth: Laid, sheets: Sequence[tuple[Sheet, Holes]]
) -> list[Error]:
    """Measure what was filled in, column by column, and over all."""
    found: list[Error] = []
    nan = float("nan")
    squares, total = 0.0, 0
    for name in dict.fromkeys(truth.columns):
        own = np.array([column == name for column in truth.columns], dtype=bool)
        away = np.concatenate(
            [(sheet.numbers - truth.sheet.numbers)[holes.numbers & own] for sheet, holes in sheets]
        )
        if len(away):
            known = truth.sheet.numbers[:, own]
            spread = float(np.nanstd(known)) or 1.0
            rmse, mae = float(np.sqrt((away**2).mean())), float(np.abs(away).mean())
            squares, total = squares + (rmse / spread) ** 2 * len(away), total + len(away)
            found.append(
                Error(pattern, prefix + name, method, rmse, mae, rmse / spread, nan, len(away))
            )
    if total:
        share = float(np.sqrt(squares / total))
        found.append(Error(pattern, f"{prefix}all numbers", method, nan, nan, share, nan, total))
    right: list[Any] = []
    for name in dict.fromkeys(truth.words):
        own = np.array([column == name for column in truth.words], dtype=bool)
        hits = np.concatenate(
            [(sheet.words == truth.sheet.words)[holes.words & own] for sheet, holes in sheets]
        )
        if len(hits):
            right.extend(hits.tolist())
            share = float(np.mean(hits))
            found.append(Error(pattern, prefix + name, method, nan, nan, nan, share, len(hits)))
    if right:
        share = float(np.mean(right))
        found.append(Error(pattern, f"{prefix}all words", method, nan, nan, nan, share, len(right)))
    return found
