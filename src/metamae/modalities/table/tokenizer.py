"""Cells of a table, or groups of them, as tokens, and back."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.modalities.table.spec import TableSpec
from metamae.model.positions import Learned
from metamae.model.tokenizer import Places, Tokenizer
from metamae.model.tokens import Batch, Tokens


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

    def __init__(self, spec: TableSpec, width: int):
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

    def guesses(self, predicted: Tensor, batch: Batch) -> list[tuple[Any, tuple[Any, ...]]]:
        values = self.decode(predicted, batch)
        chances: NDArray[Any] = np.full(values.shape, None, dtype=object)
        if self.table is not None:
            logits = predicted[:, self.categorical].masked_fill(~self.legal, -torch.inf)
            known = logits.softmax(dim=-1).amax(dim=-1)
            chances[:, self.spec.rows.categorical] = known.cpu().numpy()
        return [(v, tuple(c)) for v, c in zip(values, chances.tolist(), strict=True)]

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
