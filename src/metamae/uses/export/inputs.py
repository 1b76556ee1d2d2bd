"""The arguments of a program: entries of a batch, and which of their axes are open.

A sample of one field has the entries that `Modality.batch` makes of it; a mixture has those of all
of its fields, "field/entry", and for each field "field/weight", which is 0 where there is no token.
A program takes all entries always: what a batch leaves out is filled in here.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import DataError
from metamae.modalities.base import Modality
from metamae.model.tokens import Batch

TRACED = 3  # samples that a program is made with, at least
CHECKED = 32  # samples that it is checked on


@dataclass(frozen=True)
class Input:
    """An argument of a program.

    Attributes:
        name: As in a batch.
        dtype: Of its values, as numpy names it.
        shape: Of its axes a number, or a name where it is open: "batch", "length", or "length_2"
            for the third field of a mixture. Axes of one name are of one size.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Samples:
    """Samples to make a program with and to check it on, and the arguments that it will have.

    Attributes:
        pieces: The samples, or the pieces that they are embedded in.
        inputs: Arguments in order.
        traced: Positions of the pieces that a program is made with.
        fresh: Of those that it is checked on.
        alone: Of those that it is checked on by themselves: the shortest, and one without each
            field that may be missing.
        longest: Name of each open axis but "batch" -> its largest size.
    """

    pieces: Records
    inputs: tuple[Input, ...]
    traced: Index
    fresh: Index
    alone: Index
    longest: dict[str, int]


def look_at(spec: Modality, records: Records) -> Samples:
    """Find out what arguments a program has, from samples of different lengths.

    Args:
        spec: What one sample is.
        records: Samples like those of the training.

    Raises:
        ConfigError: If a field of a mixture would have to be cut into windows.
        DataError: If there are too few samples, or none has a field.
    """
    some = records.subset(np.unique(np.linspace(0, len(records) - 1, 4 * CHECKED).astype(int)))
    pieces, _ = spec.unfold(some)
    names = [name for name, _ in spec.leaves]
    traced = max(TRACED, len(names))
    if len(pieces) < traced + 1:
        raise DataError(
            f"{records.source} must hold at least {traced + 1} samples to check a program on; got "
            f"{len(pieces)}."
        )
    lengths = _lengths(spec, pieces)
    missing = [name for name, own in zip(names, lengths.T, strict=True) if not own.any()]
    if missing:
        raise DataError(
            f"{records.source} must hold samples with every field to make a program with; got none "
            f"with {missing[0]!r}. The data of the training would do."
        )
    long = lengths.argmax(axis=0)
    short = np.where(lengths > 0, lengths, lengths.max() + 1).argmin(axis=0)
    lacking = [own.argmin() for own in lengths.T if not own.all()]
    every = [*long, *short, *range(len(pieces))]
    order = np.array(list(dict.fromkeys(int(position) for position in every)))
    inputs = []
    for number, name in enumerate(names):
        pair = (spec.whole_batch(pieces, ends[number : number + 1]) for ends in (long, short))
        label = f"length_{number}" if name else "length"
        inputs += list(_inputs(name, label, *pair))
    used = {size for one in inputs for size in one.shape if isinstance(size, str)}
    longest = {
        label: max(part.num_tokens, int(own.max()))
        for number, ((name, part), own) in enumerate(zip(spec.leaves, lengths.T, strict=True))
        if (label := f"length_{number}" if name else "length") in used
    }
    alone = np.array(list(dict.fromkeys([*short, *lacking])))
    return Samples(pieces, tuple(inputs), order[:traced], order[traced:][:CHECKED], alone, longest)


def _lengths(spec: Modality, pieces: Records) -> Index:
    """Tokens of each field of each piece, (S, F), 0 where it is missing."""
    lengths = spec.lengths(pieces)
    if lengths is None:
        lengths = np.full(len(pieces), spec.num_tokens)
    return lengths.reshape(len(pieces), -1)


def _inputs(name: str, label: str, long: Batch, short: Batch) -> Iterator[Input]:
    """Describe the entries of one field, from its longest and its shortest sample."""
    for key, value in long.items():
        if key.rpartition("/")[0] == name or not name:
            shape: list[int | str] = ["batch", *value.shape[1:]]
            for axis in range(1, value.ndim):
                if value.shape[axis] != short[key].shape[axis]:
                    shape[axis] = label
            yield Input(key, str(value.numpy().dtype), tuple(shape))


def arguments(spec: Modality, samples: Samples, index: Index) -> tuple[Tensor, ...]:
    """Read pieces as the arguments of a program."""
    batch = spec.whole_batch(samples.pieces, index)
    found = (
        batch[one.name] if one.name in batch else _stand_in(one, len(index))
        for one in samples.inputs
    )
    return tuple(value.contiguous() for value in found)


def _stand_in(one: Input, rows: int) -> Tensor:
    """An entry of a field that no sample has: any that can be computed with, of weight 0."""
    shape = [rows, *(1 if isinstance(size, str) else size for size in one.shape[1:])]
    value = torch.zeros(shape, dtype=getattr(torch, one.dtype))
    return value + 1 if one.name.endswith("/size") else value


def open_axes(samples: Samples) -> tuple[dict[int, Any], ...]:
    """Axis -> name and range of each argument, where its size is left open."""
    named = {"batch": torch.export.Dim("batch", min=1, max=2**16)}
    for label, most in samples.longest.items():
        named[label] = torch.export.Dim(label, min=1, max=most)
    return tuple(
        {axis: named[size] for axis, size in enumerate(one.shape) if isinstance(size, str)}
        for one in samples.inputs
    )
