"""What flows between the layers.

Axis letters, the same in every file of the package:
B samples in a batch, N tokens of a sample, V visible tokens, D width, P values per token.
A boolean tensor is named after what True means. A position of -1 means "there is none".
"""

from dataclasses import dataclass

from torch import Tensor

Batch = dict[str, Tensor]
"""Some samples as tensors whose first axis is B; the keys are the modality's own affair."""


@dataclass(frozen=True)
class Tokens:
    """A batch as sequences of embedded tokens: all that maskings and methods ever see.

    Attributes:
        values: Embedded content of the tokens, (B, N, D).
        neighbours: Positions of the tokens that touch each token, (N, K) or (B, N, K) int64,
            -1 where there is none. None where the modality has no geometry (the columns of a
            table): every token then touches every other.
        padding: True where there is no token, (B, N): a short sample, a missing value. None if
            all are there, which spares every layer an attention mask.
        fields: Which field of its sample each token belongs to, (N,) int64, counted from 0. None
            where a sample has one field.
        places: Where each token stands or which column it is, embedded: (N, D) or (B, N, D). None
            for tokens that are nowhere.
    """

    values: Tensor
    neighbours: Tensor | None = None
    padding: Tensor | None = None
    fields: Tensor | None = None
    places: Tensor | None = None

    @property
    def field_starts(self) -> Tensor | None:
        """Position of the first token of each token's field, (N,); None with one field.

        A batch may lack fields, so that their numbers have gaps; these positions are below N.
        """
        if self.fields is None:
            return None
        return (self.fields[:, None] == self.fields).int().argmax(dim=1)

    @property
    def placed(self) -> Tensor:
        """Content with places added, (B, N, D): what an encoder takes."""
        return self.values if self.places is None else self.values + self.places


@dataclass(frozen=True)
class Mask:
    """Which tokens are hidden from the encoder.

    Attributes:
        hidden: True where a token is hidden, (B, N); never where there is none.
        kept: Positions of the visible tokens, (B, V) int64; -1, at the end of a row, where a
            sample has fewer than V.
        short: Whether any row of `kept` may end in -1.
    """

    hidden: Tensor
    kept: Tensor
    short: bool = False

    @property
    def padding(self) -> Tensor | None:
        """True where a slot of `kept` is empty, (B, V); None if none can be."""
        return self.kept < 0 if self.short else None

    def visible(self, padding: Tensor | None) -> Tensor:
        """True where a token is there and not hidden, (B, N), given `Tokens.padding`."""
        return ~self.hidden if padding is None else ~(self.hidden | padding)


@dataclass(frozen=True)
class Step:
    """What one training step returns.

    Attributes:
        loss: The scalar to minimise.
        logs: Detached scalars to write down; a method never logs by itself.
    """

    loss: Tensor
    logs: dict[str, Tensor]
