"""Where the tokens of each field of a mixture stand among those of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metamae.model.tokens import Batch

# A field that varies in length is filled up to a multiple of this, as samples are when they are
# embedded, so that the shape a sample is computed in does not follow from its companions.
MULTIPLE = 8


@dataclass(frozen=True)
class Slot:
    """The tokens of one field: a stretch of those of the whole batch.

    Attributes:
        number: Position of the field among all.
        batch: The field's own entries.
        weight: Of its tokens, (B, N of the field); 0 where there is none.
        start: Position of the first token.
        fill: Empty places behind the last.
    """

    number: int
    batch: Batch
    weight: Tensor
    start: int
    fill: int

    @property
    def tokens(self) -> int:
        """N of the field."""
        return self.weight.shape[1]

    @property
    def places(self) -> int:
        """Tokens and empty places."""
        return self.tokens + self.fill

    @property
    def range(self) -> slice:
        """Positions of the tokens."""
        return slice(self.start, self.start + self.tokens)

    def filled(self, values: Tensor, value: float = 0) -> Tensor:
        """Add rows for the empty places: (..., N of the field, K) -> (..., places, K)."""
        return F.pad(values, (0, 0, 0, self.fill), value=value)


def find_slots(fields: Sequence[tuple[str, bool]], batch: Batch) -> list[Slot]:
    """Divide a batch into its fields; one that is not in it has no slot.

    Args:
        fields: Name of each, and whether it varies in length.
        batch: "name/key" for every entry of a field, "name/weight" among them.
    """
    slots: list[Slot] = []
    start = 0
    for number, (name, varies) in enumerate(fields):
        # From the right: a field's name may hold a slash, an entry's does not.
        keys = {key: key.rpartition("/") for key in batch}
        own = {entry: batch[key] for key, (owner, _, entry) in keys.items() if owner == name}
        if own:
            weight = own.pop("weight")
            fill = num_places(weight.shape[1], varies) - weight.shape[1]
            slots.append(Slot(number, own, weight, start, fill))
            start += slots[-1].places
    return slots


def num_places(tokens: int, varies: bool) -> int:
    """Places for the tokens of a field."""
    return -(-tokens // MULTIPLE) * MULTIPLE if varies else tokens


def token_weights(there: Sequence[Tensor], weights: Sequence[float]) -> list[Tensor]:
    """Share the weight of each sample out over its tokens.

    Args:
        there: For each field which of its tokens a sample has, (B, N of the field).
        weights: Of the fields, positive.

    Returns:
        For each field (B, N of the field) float32, 0 where there is no token. Over a sample they
        add up to its number of tokens, over each field that it has to a share by `weights`.
    """
    counts = torch.stack([own.sum(dim=1) for own in there], dim=1).double()  # (B, F)
    shares = (counts > 0) * torch.tensor(weights, dtype=torch.float64)
    shares = shares / shares.sum(dim=1, keepdim=True)
    one = shares * counts.sum(dim=1, keepdim=True) / counts.clamp(min=1)
    return [(own * one[:, n, None]).float() for n, own in enumerate(there)]


def join_neighbours(slots: Sequence[Slot], neighbours: Sequence[Tensor | None]) -> Tensor:
    """Turn the neighbours within each field into positions in the batch, -1 for none.

    Where a field has no geometry, each of its tokens has all of them as neighbours.

    Args:
        slots: One for each field.
        neighbours: Of each, (N, K), (B, N, K) or None.

    Returns:
        (N, K) or, if any field's follow from the sample, (B, N, K), with the largest K.
    """
    moved = []
    for slot, near in zip(slots, neighbours, strict=True):
        if near is None:
            every = torch.arange(slot.tokens, device=slot.weight.device)
            near = every.expand(slot.tokens, slot.tokens)
        moved.append(slot.filled(torch.where(near < 0, -1, near + slot.start), -1))
    most = max(near.shape[-1] for near in moved)
    return join([F.pad(near, (0, most - near.shape[-1]), value=-1) for near in moved])


def join(parts: Sequence[Tensor]) -> Tensor:
    """Put tensors (N, K) or (B, N, K) one behind the other along N; (B, N, K) if any has B."""
    batches = [len(part) for part in parts if part.ndim == 3]
    if batches:
        parts = [part.expand(batches[0], -1, -1) for part in parts]
    return torch.cat(list(parts), dim=-2)


class JoinedPlaces(nn.Module):
    """Positions of the tokens of all fields, each with a learned mark of its field.

    A map from a batch to (N, width), or to (B, N, width) if those of any field follow from the
    sample.

    Args:
        fields: As in `find_slots`.
        places: The same map for each field.
        width: Of the positions.
    """

    def __init__(self, fields: Sequence[tuple[str, bool]], places: Sequence[nn.Module], width: int):
        super().__init__()
        self.fields, self.places = list(fields), nn.ModuleList(places)
        self.mark = nn.Parameter(torch.randn(len(places), width) / width**0.5)

    def forward(self, batch: Batch) -> Tensor:
        joined = []
        for slot in find_slots(self.fields, batch):
            own = self.places[slot.number](slot.batch) + self.mark[slot.number]
            joined.append(slot.filled(own))
        return join(joined)
