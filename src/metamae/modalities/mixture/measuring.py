"""The parts of a mixture, each measured on the samples that have it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.core.registry import Registry
from metamae.data.columns.base import Index
from metamae.data.records import Records, hold
from metamae.errors import DataError
from metamae.modalities.base import Modality
from metamae.modalities.mixture.fields import Field, check_settings
from metamae.model.tokens import Batch

# What a part may be: every modality but this one.
PARTS = Registry(
    "metamae.modalities",
    "modality of a part",
    {"grid": "Grid", "points": "Points", "symbols": "Symbols", "table": "Table"},
    group="metamae.modalities",
)


SMALLEST = 0.01  # error of the constant guess of a part that hardly varies


SCALE_FROM = 256  # samples that the error of the constant guess is measured on


def infer_part(field: Field, own: Records, rng: np.random.Generator) -> tuple[Modality, list[str]]:
    """Measure one part on the samples that have it."""
    kind = PARTS.get(field.kind)
    check_settings(field, kind.infer.__func__.__kwdefaults__ or {})
    if len(own) < 2:
        raise DataError(
            f"{own.source}: part {field.name!r} of a mixture must be there in at least 2 samples; "
            f"got {len(own)}. Leave it out."
        )
    found: tuple[Modality, list[str]] = kind.infer(own, rng, **field.settings)
    return found


def measure_part(part: Modality, own: Records, rng: np.random.Generator) -> tuple[float, int]:
    """Mean error of a part's best constant guess, and its number of raw features."""
    some = own.sample(SCALE_FROM, rng)
    index = np.flatnonzero(part.present(some, np.arange(len(some))))
    batch = part.batch(some, index)
    there = tokens_there(part, some, index, batch)
    # No weight has a say in the constant guess; drawing some must not move the global generator.
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        tokenizer = part.tokenizer(16)
        errors = tokenizer.baseline(batch)
    return max(float(errors[there].mean()), SMALLEST), part.raw(some, index[:1]).shape[1]


def read_part(part: Modality, records: Records, index: Index) -> tuple[Records, NDArray[np.bool_]]:
    """Bring the columns of a part into memory, and say which of the samples have it, (B,)."""
    held = hold(records.only(part.columns), index)
    has = part.given(held)
    if has.any():
        has[has] = part.present(held, np.flatnonzero(has))
    return held, has


def tokens_there(part: Modality, held: Records, rows: Index, batch: Batch) -> Tensor:
    """Say which tokens of a part's batch are there, (B, N of the part).

    What is missing is told by the entry "valid" of a batch, in every modality.
    """
    if "valid" in batch:
        return batch["valid"].flatten(2).any(dim=2) if batch["valid"].ndim > 2 else batch["valid"]
    lengths = part.lengths(held.subset(rows[:1]))
    tokens = part.num_tokens if lengths is None else int(lengths[0])
    return torch.ones(len(rows), tokens, dtype=torch.bool)
