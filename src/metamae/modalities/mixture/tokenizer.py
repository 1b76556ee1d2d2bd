"""The tokens of all fields, one field behind the other, and back."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from metamae.data.columns.base import Array
from metamae.modalities.mixture.slots import (
    JoinedPlaces,
    Slot,
    find_slots,
    join,
    join_neighbours,
)
from metamae.modalities.mixture.spec import MixtureSpec
from metamae.model.positions import Learned
from metamae.model.tokenizer import Leaf, Tokenizer
from metamae.model.tokens import Batch, Tokens
from metamae.model.transformer import xavier_linear


class MixtureTokenizer(Tokenizer):
    """Fields in, the tokens of all of them out.

    A prediction has width D, whatever its field; the head of the field, which is a part of this
    tokenizer, completes it, as the embedding table does that of a symbol.
    """

    def __init__(self, spec: MixtureSpec, width: int):
        super().__init__()
        self.spec, self.width = spec, width
        tokenizers: list[Tokenizer] = [part.tokenizer(width) for _, part in spec.parts]
        self.parts = nn.ModuleList(tokenizers)
        self.heads = nn.ModuleList([part.head(width) for part in tokenizers])
        self.field = Learned(len(tokenizers), width)

    def embed(self, batch: Batch) -> Tokens:
        values, places, near = [], [], []
        slots = find_slots(self.spec.fields, batch)
        for slot in slots:
            own = self.tokenizers[slot.number].embed(slot.batch)
            mark = self.field.table[slot.number]
            values.append(slot.filled(own.values))
            assert own.places is not None  # every part gives them
            places.append(slot.filled(own.places + mark))
            near.append(own.neighbours)
        device = values[0].device
        fields = torch.cat([torch.full((s.places,), s.number, device=device) for s in slots])
        padding = ~batch["valid"] if "valid" in batch else None
        return Tokens(join(values), join_neighbours(slots, near), padding, fields, join(places))

    def positions(self, width: int) -> nn.Module:
        places = [part.positions(width) for part in self.tokenizers]
        return JoinedPlaces(self.spec.fields, places, width)

    def head(self, width: int) -> nn.Module:
        """Return the map to width D, which the parts' own heads complete."""
        return xavier_linear(width, self.width)

    def error(self, predicted: Tensor, batch: Batch) -> Tensor:
        """Error of each token in those of its part's best constant guess, times its weight."""
        return self._weighted(
            batch, lambda part, slot: part.error(self._complete(predicted, slot), slot.batch)
        )

    def baseline(self, batch: Batch) -> Tensor:
        return self._weighted(batch, lambda part, slot: part.baseline(slot.batch))

    def decode(self, predicted: Tensor, batch: Batch) -> NDArray[Any]:
        """One dict per sample, (B,): part -> its values, None where the field is missing."""
        return self._rows(
            batch, lambda part, slot: part.decode(self._complete(predicted, slot), slot.batch)
        )

    def original(self, batch: Batch) -> NDArray[Any]:
        return self._rows(batch, lambda part, slot: part.original(slot.batch))

    def spread(self, hidden: Tensor, batch: Batch) -> NDArray[Any]:
        """One dict per sample, (B,): part -> marks (bool) over its values; None as in `decode`."""
        return self._rows(batch, lambda part, slot: part.spread(hidden[:, slot.range], slot.batch))

    def embed_for_export(self, batch: Batch) -> tuple[Tensor, Tensor]:
        # One field behind the other, without the empty places that give a sample its micro-batch.
        found, missing = [], []
        for number, (name, _) in enumerate(self.spec.parts):
            keys = {key: key.rpartition("/") for key in batch}
            own = {entry: batch[key] for key, (owner, _, entry) in keys.items() if owner == name}
            missing.append(own.pop("weight") <= 0)
            tokens = self.tokenizers[number].embed(own)
            found.append(tokens.placed + self.field.table[number])
        return torch.cat(found, dim=1), torch.cat(missing, dim=1)

    def leaves(self, batch: Batch) -> list[Leaf]:
        return [
            Leaf(
                slot.number,
                self.tokenizers[slot.number],
                slot.batch,
                slot.range,
                slot.weight.any(dim=1),
                partial(self._complete, slot=slot),
            )
            for slot in find_slots(self.spec.fields, batch)
        ]

    @property
    def tokenizers(self) -> list[Tokenizer]:
        """Those of the parts."""
        return [part for part in self.parts if isinstance(part, Tokenizer)]

    def _complete(self, predicted: Tensor, slot: Slot) -> Tensor:
        """The part's own predictions, (B, N of the part, P of the part)."""
        completed: Tensor = self.heads[slot.number](predicted[:, slot.range])
        return completed

    def _weighted(self, batch: Batch, error: Callable[[Tokenizer, Slot], Tensor]) -> Tensor:
        parts = []
        for slot in find_slots(self.spec.fields, batch):
            own = error(self.tokenizers[slot.number], slot) / self.spec.scales[slot.number]
            parts.append(F.pad(own * slot.weight, (0, slot.fill)))
        return torch.cat(parts, dim=1)

    def _rows(self, batch: Batch, values: Callable[[Tokenizer, Slot], Array]) -> NDArray[Any]:
        found = find_slots(self.spec.fields, batch)
        rows = np.empty(len(found[0].weight), dtype=object)
        rows[:] = [{name: None for name, _ in self.spec.parts} for _ in rows]
        for slot in found:
            name = self.spec.parts[slot.number][0]
            own = values(self.tokenizers[slot.number], slot)
            for row in slot.weight.any(dim=1).nonzero().flatten().tolist():
                rows[row][name] = own[row]
        return rows
