"""Symbols as tokens, and back."""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.modalities.symbols.spec import SymbolsSpec
from metamae.modalities.symbols.units import UNKNOWN
from metamae.model.positions import Line
from metamae.model.tokenizer import Places, Tokenizer
from metamae.model.tokens import Batch, Tokens
from metamae.model.transformer import xavier_linear


class SymbolsTokenizer(Tokenizer):
    """Symbols in, tokens out."""

    scored = ("codes",)
    frequencies: Tensor

    def __init__(self, spec: SymbolsSpec, width: int):
        super().__init__()
        self.spec, self.width = spec, width
        self.table = nn.Parameter(torch.empty(len(spec.alphabet), width))
        nn.init.xavier_uniform_(self.table)
        self.place = self.positions(width)
        shares = torch.tensor(spec.frequencies)
        self.register_buffer("frequencies", shares, persistent=False)

    def embed(self, batch: Batch) -> Tokens:
        codes = batch["codes"]
        N = codes.shape[1]
        at = torch.arange(N, device=codes.device)
        beside = torch.stack([at - 1, torch.where(at == N - 1, -1, at + 1)], dim=1)
        padding = ~batch["valid"] if "valid" in batch else None
        return Tokens(F.embedding(codes, self.table), beside, padding, places=self.place(batch))

    def positions(self, width: int) -> nn.Module:
        return Places(Line(self.spec.length, width), "codes")

    def head(self, width: int) -> nn.Module:
        """Return the map to width D; `logits` completes it with the embedding table."""
        return xavier_linear(width, self.width)

    def logits(self, predicted: Tensor) -> Tensor:
        """Score every symbol of the alphabet, (B, N, D) -> (B, N, symbols)."""
        return predicted @ self.table.T

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of each token in nats."""
        logits = self.logits(predicted).transpose(1, 2)
        return F.cross_entropy(logits, batch["codes"], reduction="none")

    def baseline(self, batch: Batch) -> Tensor:
        return -self.frequencies.log()[batch["codes"]]

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """Name the likeliest symbol of each token: strings (B,), or codes (B, N).

        Where there is no symbol, a string has none or, before its last one, the replacement
        character, and an array of codes has the padding code, or -1.
        """
        return self._name(self.logits(predicted).argmax(dim=-1), batch)

    def original(self, batch: Batch) -> NDArray[Any]:
        return self._name(batch["codes"], batch)

    def _name(self, ids: Tensor, batch: Batch) -> NDArray[Any]:
        there = batch["valid"].cpu().numpy() if "valid" in batch else np.ones(ids.shape, dtype=bool)
        if self.spec.unit != "code":
            return self.spec.vocabulary.decode(ids.cpu().numpy(), there)
        code = self.spec.padding_code
        symbols: NDArray[Any] = np.array(self.spec.alphabet, dtype=np.int64)[ids.cpu().numpy()]
        symbols[~there] = -1 if code is None else code
        return symbols

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[np.bool_]:
        spread: NDArray[np.bool_] = hidden.cpu().numpy()
        return spread

    def shown(self, batch: Batch) -> list[Any]:
        unit = self.spec.vocabulary.unit
        return [unit.join(symbols) for symbols in self._symbols(batch)]

    def elements(self, batch: Batch) -> list[Any]:
        """One text per symbol of each sample, up to its last one that is known."""
        unit = self.spec.vocabulary.unit
        return [
            [UNKNOWN if symbol is None else unit.join([symbol]) for symbol in symbols]
            for symbols in self._symbols(batch)
        ]

    def guesses(self, predicted: Tensor, batch: Batch) -> list[tuple[Any, tuple[Any, ...]]]:
        names = [self.spec.vocabulary.unit.join([symbol]) for symbol in self.spec.alphabet]
        best = self.logits(predicted).softmax(dim=-1).max(dim=-1)
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [([names[n] for n in ids], tuple(chances)) for ids, chances in rows]

    def _symbols(self, batch: Batch) -> list[list[str | int | None]]:
        """The symbols of each sample up to its last one, None for an unknown one."""
        codes = batch["codes"].cpu()
        valid = batch["valid"].cpu() if "valid" in batch else torch.ones_like(codes).bool()
        rows: list[list[str | int | None]] = []
        for own, known in zip(codes.tolist(), valid.tolist(), strict=True):
            end = max((n + 1 for n, is_known in enumerate(known) if is_known), default=0)
            rows.append([self.spec.alphabet[own[n]] if known[n] else None for n in range(end)])
        return rows
