"""Rows of a table: numbers and categories, one token per column.

Each column has its own embedding: a number is a point on the column's own line, a category a row
of the column's own table (Gorishniy et al., NeurIPS 2021, arXiv:2106.11959, section 3.3). A
missing cell is no token: neither input nor target. Numbers are predicted in standard deviations
(squared error), categories by cross-entropy. Columns have no geometry: each touches every other.
"""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.checks import check_at_least
from metamae.columns import Index
from metamae.errors import DataError
from metamae.measured import Measured, encode, measure
from metamae.modalities.base import Features, Modality, Places, Tokenizer
from metamae.networks.positions import Learned
from metamae.records import Records
from metamae.types import Batch, Tokens

STATISTICS_FROM = 100_000  # rows that means, deviations and categories are taken from


@dataclass(frozen=True, kw_only=True)
class Table(Modality):
    """What one row of a table looks like.

    Args:
        measured: The input columns in order.
        array: Name of the one column of shape (S, F) that holds them all; None if each is a
            column of its own.
        width: Columns of that array, those left out included.
    """

    kind: ClassVar[str] = "table"
    description: ClassVar[str] = "rows of numbers and categories, missing values allowed"

    measured: tuple[Measured, ...]
    array: str | None = None
    width: int = 0

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        max_categories: int = 256,
        max_columns: int = 1024,
    ) -> tuple["Table", list[str]]:
        """Measure the training data.

        Args:
            records: Training data: columns (S,), or one array (S, F).
            rng: Source of the subsample that statistics are taken from.
            max_categories: Most different values of a column of strings; one with more looks
                like a name or a text and is left out.
            max_columns: Most columns; attention over more tokens needs much memory.
        """
        check_at_least("Table.max_categories", max_categories, 2)
        check_at_least("Table.max_columns", max_columns, 2)
        some = records.sample(STATISTICS_FROM, rng)
        array = _array(records, max_columns)
        cells = _cells(some, np.arange(len(some)), array)
        measured, notes = [], []
        for name, values in cells.items():
            column, note = measure(name, values, max_categories, some)
            if column is not None:
                measured.append(column)
            if note:
                notes.append(f"column {name!r} {note}")
        if len(measured) < 2:
            raise DataError(
                f"{records.source}: a table must have at least 2 columns that vary; got "
                f"{len(measured)} of {len(cells)} feature(s) ({len(cells)} feature(s) in all). "
                f"{' '.join(notes[:3])}"
            )
        numeric = sum(not column.categories for column in measured)
        notes.insert(0, f"{numeric} numeric, {len(measured) - numeric} categorical columns")
        spec = cls(measured=tuple(measured), array=array, width=len(cells))
        # A row without any value is refused here, and not in the middle of the training.
        spec.batch(some, np.arange(len(some)))
        return spec, notes

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.array,) if self.array is not None else self._names

    @property
    def _names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.measured)

    @property
    def num_tokens(self) -> int:
        return len(self.measured)

    @property
    def mask_ratio(self) -> float:
        return 0.5

    def describe(self) -> str:
        categorical = sum(bool(column.categories) for column in self.measured)
        return f"rows of {len(self.measured)} columns, {categorical} of them categorical"

    def lengths(self, records: Records) -> None:
        return None

    def batch(self, records: Records, index: Index) -> Batch:
        """Read rows: "cells" (B, N) float32 and "valid" (B, N) where not all are there.

        A numeric cell is in standard deviations from the mean, a categorical one a category's
        position; one that the training data did not hold counts as missing.
        """
        values, valid = self._encode(records, index)
        if not valid.any(axis=1).all():
            row = int((~valid.any(axis=1)).argmax())
            raise DataError(
                f"{records.where(int(index[row]))}: a row must hold at least one known value; all "
                f"{len(self.measured)} are missing. Leave this row out."
            )
        batch = {"cells": torch.from_numpy(values)}
        return batch if valid.all() else {**batch, "valid": torch.from_numpy(valid)}

    def _encode(
        self, records: Records, index: Index
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        if self.array is None:
            cells = _cells(records.only(self._names), index, None)
        else:
            width = records[self.array].shape[1:]
            if width != (self.width,):
                raise DataError(
                    f"{records.source}: field {self.array!r} must hold rows of {self.width} "
                    f"columns, as in training; got shape {width}."
                )
            cells = _cells(records, index, self.array)
        encoded = np.zeros((len(index), len(self.measured)), dtype=np.float64)
        for position, column in enumerate(self.measured):
            encoded[:, position] = encode(column, cells[column.name], records, index)
        valid = ~np.isnan(encoded)
        return np.nan_to_num(encoded, copy=False).astype(np.float32), valid

    def raw(self, records: Records, index: Index) -> Features:
        """Numbers in standard deviations, one-hot categories, and a flag per gappy column."""
        values, valid = self._encode(records, index)
        parts = []
        for position, column in enumerate(self.measured):
            there = valid[:, position]
            if column.categories:
                hot = np.eye(len(column.categories), dtype=np.float32)
                parts.append(hot[values[:, position].astype(np.int64)] * there[:, None])
            else:
                parts.append(values[:, position : position + 1])
        return np.concatenate([*parts, (~valid).astype(np.float32)], axis=1)

    def tokenizer(self, width: int) -> "TableTokenizer":
        return TableTokenizer(self, width)

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "measured": [asdict(column) for column in self.measured]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Table":
        measured = []
        for column in values["measured"]:
            plain: dict[str, Any] = {
                k: tuple(v) if isinstance(v, list) else v for k, v in column.items()
            }
            measured.append(Measured(**plain))
        return cls(measured=tuple(measured), array=values["array"], width=values["width"])

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
                "colour": letters[rng.integers(0, 3, num)],
                "flag": rng.random(num) < 0.5,
            },
            "example",
        )


class TableTokenizer(Tokenizer):
    """Columns in, tokens out."""

    numeric: Tensor
    starts: Tensor
    legal: Tensor
    guess: Tensor

    def __init__(self, spec: Table, width: int):
        super().__init__()
        self.spec, self.width = spec, width
        N = spec.num_tokens
        # One slope per numeric column, one row per category: all in one table, found by offset.
        sizes = [column.num_outputs for column in spec.measured]
        self.table = nn.Parameter(torch.randn(sum(sizes), width) / width**0.5)
        self.column = self.positions(width)
        numeric = torch.tensor([not column.categories for column in spec.measured])
        self.register_buffer("numeric", numeric, persistent=False)
        starts = torch.tensor([sum(sizes[:n]) for n in range(N)])
        self.register_buffer("starts", starts, persistent=False)
        most = max(sizes)
        legal = torch.arange(most) < torch.tensor(sizes)[:, None]  # (N, P)
        self.register_buffer("legal", legal, persistent=False)
        guess = torch.zeros(N, most)
        for position, column in enumerate(spec.measured):
            shares = torch.tensor(column.frequencies)
            guess[position, : len(shares)] = shares.clamp(min=1e-12).log()
        self.register_buffer("guess", guess, persistent=False)

    def embed(self, batch: Batch) -> Tokens:
        cells = batch["cells"]
        codes = torch.where(self.numeric, 0, cells).long()
        slope = torch.where(self.numeric, cells, 1.0)[..., None]
        values = self.table[self.starts + codes] * slope + self.column(batch)
        return Tokens(values, None, ~batch["valid"] if "valid" in batch else None)

    def positions(self, width: int) -> nn.Module:
        return Places(Learned(self.spec.num_tokens, width), "cells")

    def head(self, width: int) -> nn.Module:
        return ColumnHead(self.spec.num_tokens, width, self.legal.shape[1])

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Squared error in standard deviations, or cross-entropy in nats, of each column."""
        cells = batch["cells"]
        squares = (predicted[..., 0] - cells).square()
        if self.legal.shape[1] == 1:
            return squares
        logits = predicted.masked_fill(~self.legal, torch.finfo(predicted.dtype).min)
        codes = torch.where(self.numeric, 0, cells).long()
        surprise = F.cross_entropy(logits.transpose(1, 2), codes, reduction="none")
        return torch.where(self.numeric, squares, surprise)

    def baseline(self, batch: Batch) -> Tensor:
        return self.error(self.guess.expand(len(batch["cells"]), -1, -1), batch)

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Numbers in the user's units and categories by name, an object array (B, N)."""
        best = predicted.masked_fill(~self.legal, float("-inf")).argmax(dim=-1)
        return self._name(torch.where(self.numeric, predicted[..., 0], best))

    def original(self, batch: Batch) -> NDArray[Any]:
        rows = self._name(batch["cells"])
        if "valid" in batch:
            rows[~batch["valid"].cpu().numpy()] = None
        return rows

    def _name(self, cells: Tensor) -> NDArray[Any]:
        """Undo the scaling of cells (B, N): numbers, and names of categories."""
        numbers = cells.detach().double().cpu().numpy()
        rows = np.empty(numbers.shape, dtype=object)
        for position, column in enumerate(self.spec.measured):
            if column.categories:
                names = np.array(column.categories, dtype=object)
                rows[:, position] = names[numbers[:, position].astype(np.int64)]
            else:
                rows[:, position] = numbers[:, position] * column.std + column.mean
        return rows

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[np.bool_]:
        spread: NDArray[np.bool_] = hidden.cpu().numpy()
        return spread


class ColumnHead(nn.Module):
    """A linear map of its own for each column: (B, N, width) -> (B, N, P)."""

    def __init__(self, num_columns: int, width: int, num_outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(num_columns, width, num_outputs) / width**0.5)
        self.bias = nn.Parameter(torch.zeros(num_columns, 1, num_outputs))

    def forward(self, states: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, states.transpose(0, 1), self.weight).transpose(0, 1)


def _array(records: Records, max_columns: int) -> str | None:
    """Name the one array of shape (S, F) that holds the table; None if it is in columns."""
    names = list(records)
    array = next((name for name in names if len(records[name].shape) == 2), None)
    if array is not None and len(names) > 1:
        raise DataError(
            f"{records.source}: a table must be one array or several columns; got the array "
            f"{array!r} among {len(names)} fields. Choose one with `field`."
        )
    num_columns = len(names) if array is None else records[array].shape[1]
    if num_columns > max_columns:
        raise DataError(
            f"{records.source}: a table must have at most max_columns = {max_columns} columns; got "
            f"{num_columns}. If they are the points of a curve --modality series would do; else "
            f"leave columns out, or raise max_columns."
        )
    return array


def _cells(records: Records, index: Index, array: str | None) -> dict[str, NDArray[Any]]:
    """Values of each column at some rows, name -> (B,)."""
    if array is None:
        return {name: np.asarray(records[name][index]) for name in records}
    block = np.asarray(records[array][index])
    return {str(n): block[:, n] for n in range(block.shape[1])}
