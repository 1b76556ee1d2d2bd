"""Lattices of numbers: series, images, volumes, video and sound are one modality of 1 to 3 axes.

A sample has shape (C, *size): C channels at every point of a regular lattice. It is cut into
equal cells that do not overlap; one cell is one token of P = prod(cell) * C numbers, position
slowest and channel fastest. Where the cell does not divide the size the last cells reach beyond
the sample; what lies there, and what is NaN, is neither input nor target.

Samples of one data set may differ in size (they are ragged): each has the tokens of its own
lattice, and a batch is filled up to the longest. Long series are cut into windows.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.core.checks import check_at_least
from metamae.data.columns.base import Index, Subset, decodes, sizes_of
from metamae.data.records import Records
from metamae.data.windows import cut
from metamae.errors import ConfigError
from metamae.modalities.base import Features, Modality
from metamae.modalities.grid import planning
from metamae.modalities.grid.channels import summary
from metamae.modalities.grid.geometry import (
    pack,
    regions_of,
)
from metamae.modalities.grid.intake import Intake, choose_intake, missing
from metamae.modalities.grid.preparation import Preparation
from metamae.modalities.grid.scaled import Scaled
from metamae.model.tokens import Batch

NAMES = {1: "series", 2: "image", 3: "volume"}


@dataclass(frozen=True, kw_only=True)
class GridSpec(Modality):
    """What one sample of a lattice looks like.

    Args:
        column: Name of the input column.
        layout: Where the channels stand in it: "first", "last" or "none".
        channels: C, numbers at each lattice point.
        size: Lattice points along each axis, e.g. (320,) or (32, 32); the most of each, if ragged.
        cell: Lattice points of a token along each axis.
        mean: Mean of each channel in the training data, (C,).
        std: Standard deviation of each channel in the training data, (C,); 1 where it is 0.
        ragged: Whether samples may differ in size.
        longest: Tokens of the largest training sample, if ragged.
        window: Points at the common rate that a long series is cut into; 0 for no cutting.
        stride: Points between the starts of two windows.
        max_tokens: Tokens of the largest sample that is accepted.
        preparation: What is done to a recording before it is cut into cells; None for nothing.
        regions: Parts along each axis that an embedding has a mean of each of.

    Raises:
        ConfigError: If a cell has the wrong number of axes, is empty or exceeds the sample.
    """

    kind: ClassVar[str] = "grid"
    description: ClassVar[str] = "series, sound, images, video and volumes: numbers on a lattice"
    content = "cells"
    editable: ClassVar[tuple[str, ...]] = ("layout", "cell", "window", "stride")

    column: str
    layout: str
    channels: int
    size: tuple[int, ...]
    cell: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    ragged: bool = False
    longest: int = 0
    window: int = 0
    stride: int = 0
    max_tokens: int = 4096
    preparation: Preparation | None = None
    regions: int = 1

    def __post_init__(self) -> None:
        planning.check_cut(self.size, self.cell, self.channels)
        if self.num_tokens < 2:
            raise ConfigError(
                f"Grid.cell must cut a sample into at least 2 tokens; got {list(self.cell)} for "
                f"size {list(self.size)}. {[max(1, n // 4) for n in self.size]} would do."
            )
        check_at_least("Grid.max_tokens", self.max_tokens, 2)
        if self.num_tokens > self.max_tokens:
            raise ConfigError(
                f"Grid.max_tokens must be at least the tokens of the largest sample; got "
                f"{self.max_tokens} for {self.num_tokens}. {planning.too_many(len(self.size))}"
            )

    @classmethod
    def infer(  # type: ignore[override]  # settings are each modality's own
        cls,
        records: Records,
        rng: np.random.Generator,
        *,
        axes: int = 0,
        layout: str = "auto",
        cell: int | list[int] | tuple[int, ...] | str = "auto",
        window: int | str = "auto",
        stride: int | str = "auto",
        rate: float | None = None,
        rate_field: str | None = None,
        prepare: str | Mapping[str, Any] = "none",
        max_tokens: int = 4096,
        regions: int | str = "auto",
    ) -> tuple["GridSpec", list[str]]:
        """Measure the training data.

        Args:
            records: Training data with one numeric column: (S, ...), or arrays of different sizes.
            rng: Source of the subsample that statistics are taken from.
            axes: 1 for series and sound, 2 for images, 3 for volumes and video, 0 to guess.
            layout: Whether channels stand "first" or "last" or there are "none"; or "auto".
            cell: Points of a token along each axis, one number for all axes, or "auto" for
                about 64 tokens.
            window: Length of the pieces that long series and sound are cut into, in points at the
                common rate or as text such as "2 s"; 0 for none. "auto" cuts where a sample would
                have more than 1,024 tokens.
            stride: Distance between the starts of two windows, likewise; "auto" for the window.
            rate: Sampling rate that all series are brought to; None for the most frequent one.
            rate_field: Field that holds the sampling rate of each sample.
            prepare: "log_mel" or "waveform" for sound, "none" for other series; or a dict with
                "name" and settings: mels, frame and hop (seconds), fmin and fmax (Hz).
            max_tokens: Tokens of the largest sample that is accepted.
            regions: Parts along each axis of which an embedding has a mean each; "auto" for 3 in
                images and volumes of one size, else 1: one mean over all tokens.
        """
        intake, notes = choose_intake(
            records, axes=axes, layout=layout, rate=rate, rate_field=rate_field, prepare=prepare
        )
        ragged = intake.ragged(records)
        # Of samples of one shape, one tells as much as all.
        shown = records if ragged else records.subset(np.zeros(1, dtype=np.int64))
        channels = intake.channels(shown)
        cuts = planning.plan(shown, intake, channels, cell=cell, window=window, stride=stride)
        pieces, owner = _windows(records, intake, cuts)
        ragged = ragged or cuts.window > 0
        sizes = intake.sizes(pieces if ragged else shown)
        sizes = sizes[sizes.all(axis=1)]
        tokens = planning.num_tokens(sizes, cuts.cell)
        spec = cls(
            column=intake.column,
            layout=intake.layout,
            channels=channels,
            size=tuple(sizes.max(axis=0).tolist()),
            cell=cuts.cell,
            mean=(0.0,) * channels,
            std=(1.0,) * channels,
            ragged=ragged,
            longest=int(tokens.max()) if ragged else 0,
            window=cuts.window,
            stride=cuts.stride,
            max_tokens=max_tokens,
            preparation=intake.preparation,
            regions=planning.choose_regions(regions, len(cuts.cell), ragged=ragged),
        )
        mean, std, warnings = spec.scaled.measure(pieces, sizes, rng, ragged=ragged)
        more = cuts.notes(tokens, spec.num_values, owner)
        return replace(spec, mean=mean, std=std), [*notes, *more, *warnings]

    @property
    def intake(self) -> Intake:
        """How values are read."""
        prepared, axes = self.preparation, len(self.size) if self.preparation is None else 1
        return Intake(column=self.column, layout=self.layout, axes=axes, preparation=prepared)

    @property
    def scaled(self) -> Scaled:
        """How values are brought to the training data's scale."""
        return Scaled(
            intake=self.intake,
            described=self.describe(),
            axes=len(self.size),
            mean=self.mean,
            std=self.std,
        )

    @property
    def columns(self) -> tuple[str, ...]:
        rate_field = self.preparation and self.preparation.rate_field
        return (self.column, rate_field) if rate_field else (self.column,)

    @property
    def counts(self) -> tuple[int, ...]:
        """Tokens along each axis of the largest lattice."""
        return tuple(-(-n // c) for n, c in zip(self.size, self.cell, strict=True))

    @property
    def num_tokens(self) -> int:
        return self.longest if self.ragged else math.prod(self.counts)

    @property
    def num_values(self) -> int:
        """Values of a token: P."""
        return self.channels * math.prod(self.cell)

    @property
    def mask_ratio(self) -> float:
        # He et al. (arXiv:2111.06377) hide 0.75 of 196 patches; a few large ones tell less of
        # each other.
        return 0.75 if self.num_tokens >= 32 else 0.5

    @property
    def token_regions(self) -> Index | None:
        return None if self.regions == 1 else regions_of(self.counts, self.regions)

    @property
    def kind_word(self) -> str:
        if self.preparation is not None and self.preparation.sound:
            return "waveform" if len(self.size) == 1 else "audio"
        return NAMES[len(self.size)]

    def settings(self) -> dict[str, Any]:
        return super().settings() | (self.preparation.settings() if self.preparation else {})

    def describe(self) -> str:
        size, cell = (" x ".join(map(str, n)) for n in (self.size, self.cell))
        name = NAMES[len(self.size)]
        if self.preparation is not None and self.preparation.sound:
            name = f"sound ({self.preparation.name})"
        most = "up to " if self.ragged else ""
        cut = f", windows of {self.window}" if self.window else ""
        return f"{name}, {self.channels} channel(s) x {most}{size}, cell {cell}{cut}"

    @property
    def varies(self) -> bool:
        return self.ragged

    def lengths(self, records: Records) -> Index | None:
        if not self.ragged:
            return None
        tokens = planning.num_tokens(self.intake.sizes(records), self.cell)
        self._check_lengths(records, np.arange(len(records)), tokens)
        return tokens

    def unfold(self, records: Records) -> tuple[Records, Index | None]:
        cuts = planning.Plan(cell=self.cell, window=self.window, stride=self.stride)
        return _windows(records, self.intake, cuts)

    def present(self, records: Records, index: Index) -> NDArray[np.bool_]:
        column = Subset(records[self.column], index)
        if decodes(column):
            return np.asarray(sizes_of(column).all(axis=1))
        values = column[:]
        if self.ragged or values.dtype == object:
            return np.array([not missing(value) for value in values], dtype=bool)
        if values.dtype.kind != "f":
            return np.ones(len(index), dtype=bool)
        return np.asarray(~np.isnan(values.reshape(len(index), -1)).all(axis=1))

    def batch(self, records: Records, index: Index) -> Batch:
        """Read samples: "cells" (B, N, P), and "valid" (B, N, P) where not all values are.

        Those of ragged samples have their own lattice's size too, "size" (B, axes).
        """
        if self.ragged:
            values = self.scaled.ragged(records, index)
            size = np.array([v.shape[1:] for v in values])
            self._check_lengths(records, index, planning.num_tokens(size, self.cell))
            cells, valid = pack(values, self.cell)
            found = {"cells": cells, "size": size, "valid": None if valid.all() else valid}
        else:
            cells, there = self.scaled.equal(records, index, self.size, self.cell)
            found = {"cells": cells, "valid": there}
        return {k: torch.from_numpy(v) for k, v in found.items() if v is not None}

    def _check_lengths(self, records: Records, index: Index, tokens: Index) -> None:
        if tokens.max(initial=0) > self.max_tokens:
            row = int(tokens.argmax())
            raise records.error(
                int(index[row]),
                f"field {self.column!r} must hold samples of at most max_tokens = "
                f"{self.max_tokens} tokens; got {tokens[row]}. {planning.too_many(len(self.size))}",
            )

    def raw(self, records: Records, index: Index) -> Features:
        if self.ragged:
            read = self.scaled.ragged(records, index)
            return torch.stack([summary(torch.from_numpy(v)) for v in read]).numpy()
        return self.batch(records, index)["cells"].flatten(1).numpy()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Modality":
        prepared = values.get("preparation")
        if prepared is not None:
            values = {**values, "preparation": Preparation(**prepared)}
        return super().from_dict(values)

    @classmethod
    def example(cls, num: int, rng: np.random.Generator) -> Records:
        return Records({"X": rng.normal(2.0, 3.0, (num, 2, 10, 8)).astype(np.float32)}, "example")


def _windows(records: Records, intake: Intake, cuts: planning.Plan) -> tuple[Records, Index | None]:
    if not cuts.window:
        return records, None
    length, step = intake.own_points(records, cuts.window, cuts.stride)
    return cut(records, intake.column, length, step, axis=intake.axis)
