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
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.core.checks import check_at_least
from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.base import Features, Modality
from metamae.modalities.table.column import Measured
from metamae.modalities.table.groups import deal, group_size
from metamae.modalities.table.rows import CELLS_AT_ONCE, Rows
from metamae.modalities.table.survey import find_array, make_rules, survey
from metamae.model.positions import Learned
from metamae.model.tokenizer import Places, Tokenizer
from metamae.model.tokens import Batch, Tokens

STATISTICS_FROM = 100_000  # rows that statistics are taken from
CELLS = 2**24  # values that they are taken from, in a table of very many columns
FEWEST_ROWS = 1000  # rows that they are taken from nevertheless


@dataclass(frozen=True, kw_only=True)
class Table(Modality):
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
    ) -> tuple["Table", list[str]]:
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

    def tokenizer(self, width: int) -> "TableTokenizer":
        return TableTokenizer(self, width)

    def to_dict(self) -> dict[str, Any]:
        plain = {key: getattr(self, key) for key in ("array", "width", "group")}
        measured = [column.to_dict() for column in self.measured]
        return {"kind": self.kind, "measured": measured, **plain}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Table":
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


class TableTokenizer(Tokenizer):
    """Columns in, tokens out.

    Letters: C columns, N tokens, M of them numeric and K categorical, G columns of a token.
    """

    numeric: Tensor
    categorical: Tensor
    order: Tensor
    slots: Tensor
    filled: Tensor
    starts: Tensor
    legal: Tensor
    guess: Tensor

    def __init__(self, spec: Table, width: int):
        super().__init__()
        self.spec, self.width = spec, width
        N, G = spec.num_tokens, spec.group
        token, place = torch.from_numpy(spec.slots).T
        known = [spec.measured[n] for n in spec.rows.categorical]
        sizes = torch.tensor([column.num_outputs for column in known], dtype=torch.long)
        categorical = token[spec.rows.categorical]
        is_numeric = torch.ones(N, dtype=torch.bool).index_fill(0, categorical, False)
        numeric = is_numeric.nonzero()[:, 0]
        filled = torch.zeros(N, G, dtype=torch.bool)
        filled[token, place] = True
        self.outputs = max(G, *sizes.tolist(), 1)
        legal = torch.arange(self.outputs) < sizes[:, None]  # (K, P)
        guess = torch.zeros(N, self.outputs)
        for at, column in zip(categorical.tolist(), known, strict=True):
            shares = torch.tensor(column.frequencies)
            guess[at, : len(shares)] = shares.clamp(min=1e-12).log()
        for name, value in {
            "numeric": numeric,  # (M,)
            "categorical": categorical,  # (K,)
            "order": torch.cat([numeric, categorical]).argsort(),  # (N,)
            "slots": token * G + place,  # (C,)
            "filled": filled,
            "starts": sizes.cumsum(0) - sizes,  # (K,)
            "legal": legal,
            "guess": guess,
        }.items():
            self.register_buffer(name, value, persistent=False)
        # Divided by G too, so that a group is as long a vector as a column by itself.
        self.slopes = self.missing = self.table = None
        if len(numeric):
            self.slopes = nn.Parameter(torch.randn(len(numeric), G, width) / (G * width) ** 0.5)
        if len(numeric) and G > 1 and spec.rows.gappy:
            self.missing = nn.Parameter(torch.randn(len(numeric), G, width) / (G * width) ** 0.5)
        if len(categorical):
            self.table = nn.Parameter(torch.randn(int(sizes.sum()), width) / width**0.5)
        self.column = self.positions(width)

    def embed(self, batch: Batch) -> Tokens:
        cells, valid = batch["cells"], batch.get("valid")
        parts = []
        if self.slopes is not None:
            numbers = cells[:, self.numeric]  # (B, M, G)
            if valid is None:
                parts.append(_times(numbers, self.slopes))
            else:
                there = valid[:, self.numeric]
                parts.append(_times(numbers * there, self.slopes))
                if self.missing is not None:
                    gone = ~there & self.filled[self.numeric]
                    parts[0] = parts[0] + _times(gone.to(numbers.dtype), self.missing)
        if self.table is not None:
            parts.append(self.table[self.starts + self._codes(cells)])
        values = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)[:, self.order]
        padding = None if valid is None else ~valid.any(dim=2)
        return Tokens(values, None, padding, places=self.column(batch))

    def positions(self, width: int) -> nn.Module:
        return Places(Learned(self.spec.num_tokens, width), "cells")

    def head(self, width: int) -> nn.Module:
        return TokenHead(self.spec.num_tokens, width, self.outputs)

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Mean squared error in standard deviations, or cross-entropy in nats, of each token."""
        cells = batch["cells"]
        there = batch.get("valid", self.filled).to(predicted.dtype)
        squares = (predicted[..., : cells.shape[2]] - cells).square() * there
        errors = squares.sum(dim=2) / there.sum(dim=-1).clamp(min=1)
        if self.table is None:
            return errors
        surprise = F.cross_entropy(
            self._logits(predicted).transpose(1, 2), self._codes(cells), reduction="none"
        )
        return errors.index_copy(1, self.categorical, surprise)

    def baseline(self, batch: Batch) -> Tensor:
        return self.error(self.guess.expand(len(batch["cells"]), -1, -1), batch)

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Numbers in the user's units, dates and categories as text, an object array (B, C)."""
        cells = predicted[..., : self.spec.group].clone()
        if self.table is not None:
            best = self._logits(predicted).argmax(dim=-1)
            cells[:, self.categorical, 0] = best.to(cells.dtype)
        return self._shown(cells)

    def original(self, batch: Batch) -> NDArray[Any]:
        rows = self._shown(batch["cells"])
        if "valid" in batch:
            rows[~batch["valid"].flatten(1)[:, self.slots].cpu().numpy()] = None
        return rows

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[np.bool_]:
        spread: NDArray[np.bool_] = hidden.cpu().numpy()[:, self.spec.slots[:, 0]]
        return spread

    def _codes(self, cells: Tensor) -> Tensor:
        """Positions of categories, (B, K)."""
        return cells[:, self.categorical, 0].long()

    def _logits(self, predicted: Tensor) -> Tensor:
        """Scores of categories, (B, K, P); those that a column does not have lose."""
        least = torch.finfo(predicted.dtype).min
        return predicted[:, self.categorical].masked_fill(~self.legal, least)

    def _shown(self, cells: Tensor) -> NDArray[Any]:
        numbers = cells.detach().double().flatten(1)[:, self.slots]
        return self.spec.rows.decode(numbers.cpu().numpy())


class TokenHead(nn.Module):
    """A linear map of its own for each token: (B, N, width) -> (B, N, P)."""

    def __init__(self, num_tokens: int, width: int, num_outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_tokens, width, num_outputs) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(num_tokens, 1, num_outputs))

    def forward(self, states: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, states.transpose(0, 1), self.weight).transpose(0, 1)


def _times(values: Tensor, weight: Tensor) -> Tensor:
    """Multiply each token's values by its own matrix: (B, M, G) x (M, G, D) -> (B, M, D)."""
    if values.shape[2] == 1:
        return values * weight[:, 0]
    return torch.bmm(values.transpose(0, 1), weight).transpose(0, 1)
