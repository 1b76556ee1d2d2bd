"""Rows of a table: numbers, categories and dates, one token per column or per group of columns.

Each column has its own embedding: a number is a point on the column's own line, a category a row
of the column's own table (Gorishniy et al., NeurIPS 2021, arXiv:2106.11959, section 3.3). Numbers
are predicted in standard deviations (squared error), categories by cross-entropy; a date is a
number and up to three categories. Columns have no geometry: each token touches every other.

Many numeric columns share a token, whose embedding is the sum of theirs (`groups.py`).

A missing value is neither input nor target; a token without any value is no token. Within a group
an embedding of its own says that a value is missing, since nothing would mean the mean.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.core.checks import check_at_least
from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.base import Features, Modality
from metamae.modalities.table.column import Measured
from metamae.modalities.table.groups import deal, group_size
from metamae.modalities.table.rows import CELLS_AT_ONCE, Rows
from metamae.modalities.table.survey import find_array, make_rules, survey
from metamae.model.tokens import Batch

STATISTICS_FROM = 100_000  # rows that statistics are taken from
CELLS = 2**24  # values that they are taken from, in a table of very many columns
FEWEST_ROWS = 1000  # rows that they are taken from nevertheless


@dataclass(frozen=True, kw_only=True)
class TableSpec(Modality):
    """What one row of a table looks like.

    Args:
        measured: The input columns in order.
        array: Name of the one field of shape (S, F) that holds them all; None if each has a
            field of its own.
        width: F of that field, columns that are no input included.
        group: Most numeric columns of one token.
    """

    kind: ClassVar[str] = "table"
    description: ClassVar[str] = "rows of numbers, categories and dates, missing values allowed"
    content = "cells"

    measured: tuple[Measured, ...]
    array: str | None = None
    width: int = 0
    group: int = 1

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        scaling: str | Mapping[str, str] = "auto",
        categorical: Sequence[str | int] = (),
        min_count: int = 2,
        max_categories: int = 256,
        group: int | str = "auto",
        min_columns: int = 2,
        max_tokens: int = 1024,
    ) -> tuple["TableSpec", list[str]]:
        """Measure the training data.

        Args:
            records: Training data: fields (S,), or one array (S, F).
            rng: Source of the subsample that statistics are taken from.
            scaling: Of numeric columns: "standard" in standard deviations, "log" for long right
                tails, "quantile" for what is uglier, "auto" chosen for each column; or a table
                from names of columns to these.
            categorical: Columns to take for categories although they hold numbers, or strings
                that look like names.
            min_count: Times that a value must occur in the training data to be a category of
                its own; rarer ones share the category "other".
            max_categories: Most categories of a column; the rarest values share "other".
            group: Numeric columns of one token; "auto" is 1 for up to 256 of them, and else so
                many that there are about 64 tokens.
            min_columns: Fewest columns that must vary; 1 is enough beside other fields.
            max_tokens: Most tokens; attention over more needs much memory.

        Raises:
            ConfigError: If a setting is refused.
            DataError: If too few columns vary, a value is infinite, or a row is empty.
        """
        check_at_least("Table.min_columns", min_columns, 1)
        check_at_least("Table.max_tokens", max_tokens, 2)
        if group != "auto":
            check_at_least("Table.group", group, 1)  # type: ignore[arg-type]
        array = find_array(records)
        width = 0 if array is None else records[array].shape[1]
        names = list(records) if array is None else [str(n) for n in range(width)]
        rules = make_rules(
            names,
            scaling=scaling,
            categorical=categorical,
            min_count=min_count,
            max_categories=max_categories,
        )
        rows = min(STATISTICS_FROM, max(FEWEST_ROWS, CELLS // len(names)))
        some = records.sample(rows, rng)
        measured, notes = survey(some, array, names, rules)
        if len(measured) < min_columns:
            raise DataError(
                f"{records.source}: a table must have at least {min_columns} columns that vary; "
                f"got {len(measured)} of {len(names)} feature(s). "
                f"{' '.join(notes[:3])}"
            )
        numeric = sum(column.scaling is not None for column in measured)
        spec = cls(measured=measured, array=array, width=width, group=group_size(numeric, group))
        spec._check(some, min_columns, max_tokens)
        notes.insert(0, f"{numeric} numeric, {len(measured) - numeric} categorical columns")
        if spec.group > 1:
            note = f"up to {spec.group} numeric columns share a token (override: group)"
            notes.insert(1, note)
        return spec, notes

    def _check(self, records: Records, fewest: int, most: int) -> None:
        """Refuse now what could not be learnt from in the middle of the training."""
        if self.num_tokens < min(fewest, 2):
            raise ConfigError(
                f"Table.group must leave at least 2 tokens; got {self.group} for "
                f"{len(self.measured)} columns. {len(self.measured) // 2} would do."
            )
        if self.num_tokens > most:
            raise ConfigError(
                f"{records.source}: a table must have at most max_tokens = {most} tokens; got "
                f"{self.num_tokens} from {len(self.measured)} columns. Leave columns out, let "
                f"more numeric ones share a token (group), or raise max_tokens."
            )
        step = max(1, CELLS_AT_ONCE // len(self.measured))
        for at in range(0, len(records), step):
            self.batch(records, np.arange(at, min(at + step, len(records))))

    @property
    def columns(self) -> tuple[str, ...]:
        if self.array is not None:
            return (self.array,)
        return tuple(dict.fromkeys(column.field for column in self.measured))

    @cached_property
    def rows(self) -> Rows:
        """Reads and scales rows."""
        return Rows(self.measured, self.array, self.width)

    @cached_property
    def slots(self) -> Index:
        """Token of each column, and its place among the token's values, (C, 2)."""
        numeric = np.array([column.scaling is not None for column in self.measured])
        return deal(numeric, self.group)

    @property
    def num_tokens(self) -> int:
        return int(self.slots[:, 0].max()) + 1

    @property
    def mask_ratio(self) -> float:
        return 0.5

    def describe(self) -> str:
        categorical = len(self.rows.categorical)
        shared = f" in {self.num_tokens} tokens" if self.group > 1 else ""
        return f"rows of {len(self.measured)} columns{shared}, {categorical} of them categorical"

    def lengths(self, records: Records) -> None:
        return None

    def present(self, records: Records, index: Index) -> NDArray[np.bool_]:
        step = max(1, CELLS_AT_ONCE // len(self.measured))
        parts = [index[at : at + step] for at in range(0, len(index), step)]
        found = [~np.isnan(self.rows.encode(records, part)).all(axis=1) for part in parts]
        return np.concatenate([np.empty(0, dtype=bool), *found])

    def batch(self, records: Records, index: Index) -> Batch:
        """Read rows: "cells" (B, N, G) float32 for up to G columns of a token, 0 where missing.

        A numeric cell is in standard deviations from the mean, a categorical one a category's
        position. "valid" (B, N, G) says which are there; it is left out where the training data
        were complete and these are.
        """
        encoded = self.rows.encode(records, index)
        there = ~np.isnan(encoded)
        if not there.any(axis=1).all():
            row = int((~there.any(axis=1)).argmax())
            raise records.error(
                int(index[row]),
                f"a row must hold at least one known value; all {len(self.measured)} are missing. "
                f"Leave this row out.",
            )
        batch = {"cells": self._lay_out(np.where(there, encoded, np.float32(0)))}
        # With gaps in training always, so that companions do not decide how a row is computed.
        if self.rows.gappy or not there.all():
            batch["valid"] = self._lay_out(there)
        return batch

    def _lay_out(self, values: NDArray[Any]) -> Tensor:
        """Deal columns to tokens, (B, C) -> (B, N, G); 0 where a token has fewer than G."""
        token, place = self.slots.T
        column = np.full((self.num_tokens, self.group), -1)
        column[token, place] = np.arange(len(token))
        laid = np.take(values, column, axis=1, mode="wrap")
        if (column < 0).any():
            laid[:, column < 0] = 0
        return torch.from_numpy(laid)

    def raw(self, records: Records, index: Index) -> Features:
        """Scaled numbers, one-hot categories, and a flag per column with gaps in training."""
        return self.rows.features(self.rows.encode(records, index))

    def to_dict(self) -> dict[str, Any]:
        plain = {key: getattr(self, key) for key in ("array", "width", "group")}
        measured = [column.to_dict() for column in self.measured]
        return {"kind": self.kind, "measured": measured, **plain}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TableSpec":
        plain = {key: values[key] for key in ("array", "width", "group")}
        return cls(measured=tuple(map(Measured.from_dict, values["measured"])), **plain)

    @classmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        size = rng.normal(10, 4, num)
        size[::5] = np.nan
        letters = np.array(["red", "green", "blue"], dtype=object)
        return Records(
            {
                "size": size,
                "weight": np.nan_to_num(size) * 2 + rng.normal(size=num),
                "count": rng.integers(0, 9, num),
                "colour": letters[rng.permutation(num) % 3],
                "flag": rng.random(num) < 0.5,
            },
            "example",
        )
