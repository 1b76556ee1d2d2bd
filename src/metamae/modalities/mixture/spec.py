"""Several fields of one sample learnt together: image and caption, sensors, table and text.

Each field is a part with a modality, tokens, head and error of its own. The tokens of all parts
stand one behind the other and pass through one encoder. A field may be missing in a sample, as
long as the sample has another one.

Left alone, the field of most tokens or of the largest error would rule the loss: an image of 64
cells beside a caption of 12 letters, nats of text beside squares of numbers. Therefore

- a part's errors are divided by the error of its best constant guess in the training data, so
  that 1 means "as good as knowing nothing" in every field;
- a token of a field with n of the N tokens of a sample that has F fields counts N / (F n), so that
  every field of a sample has the same weight in all, and a token counts 1 on average.

`baseline` is scaled in the same way: the share that is explained, R², stays comparable.

Tokens touch only tokens of their own field, since fields share no space. A part without geometry
has all of its own tokens as neighbours.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities.base import Features, Modality
from metamae.modalities.mixture.fields import check_weights, choose_fields
from metamae.modalities.mixture.measuring import (
    PARTS,
    infer_part,
    measure_part,
    read_part,
    tokens_there,
)
from metamae.modalities.mixture.slots import (
    find_slots,
    num_places,
    token_weights,
)
from metamae.model.tokens import Batch

STATISTICS_FROM = 20_000  # samples that a part is measured on, at most
CHUNK = 1024  # samples that are read at once to see which fields they have


@dataclass(frozen=True, kw_only=True)
class MixtureSpec(Modality):
    """What the fields of one sample look like.

    Args:
        parts: Name and spec of each, in the order of their tokens.
        scales: Mean error of each part's best constant guess in the training data.
        weights: Of each part in the loss.
        features: Number of raw features of each part.
    """

    kind: ClassVar[str] = "mixture"
    description: ClassVar[str] = "several fields of one sample: image and text, table and series"
    measured_by_reading: ClassVar[bool] = True  # for a sample may lack fields

    parts: tuple[tuple[str, Modality], ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    features: tuple[int, ...]

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        parts: list[dict[str, Any]] | None = None,
        weights: dict[str, float] | None = None,
    ) -> tuple["MixtureSpec", list[str]]:
        """Measure the training data.

        Args:
            records: Training data; a value that is None, only NaN or empty is a missing one.
            rng: Source of the subsamples that statistics are taken from.
            parts: One {"name", "kind", "columns", "settings"} for each: kind is a modality,
                columns are those it is made of (the one called as the part, if left out), and
                settings are that modality's own. `schema.parts_of` guesses them.
            weights: Part -> its weight in the loss; 1 where nothing is said.

        Raises:
            ConfigError: If parts or weights do not fit the columns or each other, or the samples
                of a part would have to be cut into windows.
        """
        fields, notes = choose_fields(records, parts), list[str]()
        found = check_weights(fields, weights)
        some = records.sample(STATISTICS_FROM, rng)
        specs, measured = [], []
        for field in fields:
            own = some.only(field.columns)
            own = own.subset(np.flatnonzero(PARTS.get(field.kind).given(own)))
            spec, more = infer_part(field, own, rng)
            specs.append((field.name, spec))
            measured.append(measure_part(spec, own, rng))
            if len(own) < len(some):
                more.append(f"missing in {len(some) - len(own)} of {len(some)} samples")
            notes += [f"part {field.name!r}: {note}" for note in (spec.describe(), *more)]
        spec = cls(
            parts=tuple(specs),
            scales=tuple(scale for scale, _ in measured),
            weights=found,
            features=tuple(size for _, size in measured),
        )
        spec.unfold(records)
        return spec, notes

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(column for _, part in self.parts for column in part.columns)

    @property
    def fields(self) -> list[tuple[str, bool]]:
        """Name of each part, and whether it varies in length."""
        return [(name, part.varies) for name, part in self.parts]

    @property
    def num_tokens(self) -> int:
        return sum(num_places(part.num_tokens, part.varies) for _, part in self.parts)

    @property
    def mask_ratio(self) -> float:
        """Mean of the parts' own, weighted by their tokens."""
        tokens = [part.num_tokens for _, part in self.parts]
        shares = [part.mask_ratio for _, part in self.parts]
        return sum(n * r for n, r in zip(tokens, shares, strict=True)) / sum(tokens)

    @property
    def varies(self) -> bool:
        return True

    def describe(self) -> str:
        return "; ".join(f"{name}: {part.describe()}" for name, part in self.parts)

    def lengths(self, records: Records) -> Index:
        """Tokens of each field of each sample, (S, F), 0 where it is missing."""
        there = self._there(records, np.arange(len(records)))
        lengths = np.zeros(there.shape, dtype=np.int64)
        for number, (_, part) in enumerate(self.parts):
            rows = np.flatnonzero(there[:, number])
            if len(rows):
                own = part.lengths(records.only(part.columns).subset(rows))
                lengths[rows, number] = part.num_tokens if own is None else own
        return lengths

    def unfold(self, records: Records) -> tuple[Records, None]:
        """Return the samples as they are.

        Raises:
            ConfigError: If those of a part would have to be cut into windows: there is no saying
                which window of one field belongs to which of another.
        """
        for name, part in self.parts:
            own = records.only(part.columns)
            if any(column.dtype == object for column in own.columns.values()):
                own = own.subset(np.flatnonzero(part.given(own)))
            if len(own) and part.unfold(own)[1] is not None:
                raise ConfigError(
                    f"Mixture.parts: {name!r} must hold samples that are taken whole; got some "
                    f"that would be cut into windows. Raise the window in the settings of this "
                    f"part, or cut the samples of all fields alike beforehand."
                )
        return records, None

    def present(self, records: Records, index: Index) -> NDArray[np.bool_]:
        return np.asarray(self._there(records, index).any(axis=1))

    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples.

        Returns:
            "part/key" for every entry of the batch of a part, and "part/weight" (B, N of the
            part): how much a token counts, 0 where there is none. A part that all the samples
            lack is left out. "valid" (B, N) where not all tokens are there.

        Raises:
            DataError: If a sample has none of the fields, or a field does not fit its part.
        """
        read = [read_part(part, records, index) for _, part in self.parts]
        has = np.stack([own for _, own in read], axis=1)  # (B, F)
        if not has.any(axis=1).all():
            raise records.error(
                int(index[has.any(axis=1).argmin()]),
                f"a sample must have at least one of {', '.join(name for name, _ in self.parts)}; "
                f"got none. Leave this sample out.",
            )
        batch: Batch = {}
        there: dict[str, Tensor] = {}
        weights = []
        for (name, part), share, (held, own) in zip(self.parts, self.weights, read, strict=True):
            if own.any():
                # A sample without the field repeats another's, which any part can compute with;
                # it is masked like padding.
                rows = np.where(own, np.arange(len(own)), own.argmax())
                values = part.batch(held, rows)
                batch |= {f"{name}/{key}": value for key, value in values.items()}
                there[name] = (
                    tokens_there(part, held, rows, values) & torch.from_numpy(own)[:, None]
                )
                weights.append(share)
        for name, weight in zip(there, token_weights(list(there.values()), weights), strict=True):
            batch[f"{name}/weight"] = weight
        slots = find_slots(self.fields, batch)
        valid = torch.cat([F.pad(slot.weight > 0, (0, slot.fill)) for slot in slots], dim=1)
        return batch if valid.all() else {**batch, "valid": valid}

    def raw(self, records: Records, index: Index) -> Features:
        """Raw features of all parts, and a flag for each that is missing; 0 where it is."""
        blocks = []
        for (_, part), size in zip(self.parts, self.features, strict=True):
            held, has = read_part(part, records, index)
            block = np.zeros((len(index), size + 1), dtype=np.float32)
            if has.any():
                block[has, :size] = part.raw(held, np.flatnonzero(has))
            block[:, size] = ~has
            blocks.append(block)
        return np.concatenate(blocks, axis=1)

    def _there(self, records: Records, index: Index) -> NDArray[np.bool_]:
        """Say which sample has which field, (B, F), reading a few at a time."""
        there = np.zeros((len(index), len(self.parts)), dtype=bool)
        for start in range(0, len(index), CHUNK):
            some = index[start : start + CHUNK]
            for number, (_, part) in enumerate(self.parts):
                there[start : start + CHUNK, number] = read_part(part, records, some)[1]
        return there

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "parts": [[name, part.to_dict()] for name, part in self.parts]}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "MixtureSpec":
        parts = [(name, PARTS.get(own["kind"]).from_dict(own)) for name, own in values["parts"]]
        numbers = {key: tuple(values[key]) for key in ("scales", "weights", "features")}
        return cls(parts=tuple(parts), **numbers)

    @classmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        image = rng.normal(3.0, 2.0, (num, 1, 8, 8))
        text = np.empty(num, dtype=object)
        text[:] = ["".join(rng.choice(list("abc"), rng.integers(3, 15))) for _ in range(num)]
        image[1::4], text[2::4] = np.nan, None
        size, weight = rng.normal(size=(2, num))
        return Records({"image": image, "text": text, "size": size, "weight": weight}, "example")
