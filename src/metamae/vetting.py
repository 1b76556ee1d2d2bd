"""Find bad samples before they can stop a run that has begun."""

from collections.abc import Callable, Sequence

import numpy as np

from metamae.aside import LISTED, Aside
from metamae.errors import DataError
from metamae.indexing import AllBut
from metamae.modalities.base import Modality
from metamae.records import Records
from metamae.schema import Schema
from metamae.training.batches import without_bad

CHUNK = 256  # samples that are read at once
MOST_LOOKED_AT = 100_000  # samples that are read once before training


def vet(
    records: Records,
    infer: Callable[[Records], Schema],
    aside: Aside,
    *,
    most: int = MOST_LOOKED_AT,
) -> tuple[Records, Schema]:
    """Infer a schema and read the samples once, leaving out the bad ones.

    A bad sample that is not among those looked at is met while training.

    Args:
        records: Training data.
        infer: Records -> schema; it raises DataError where a sample is bad.
        aside: How many samples may be left out.
        most: Samples to read, from all over the data.

    Returns:
        The good samples, and their schema.

    Raises:
        DataError: If there are more bad samples than allowed; it lists some of them.
    """
    good = records
    while True:
        try:
            schema = infer(good)
            break
        except DataError as error:
            index = without_bad(good, np.arange(len(good)), error, aside)
            _give_up_in_time(aside, records.source)
            if len(index) < 2:
                raise
            good = good.subset(index)
    good = look_through(schema.modality, good, aside, most)
    aside.settle(records.source)
    return good, schema


def look_through(spec: Modality, records: Records, aside: Aside, most: int) -> Records:
    """Read samples once, note the bad ones in `aside`, and return the others."""
    evenly = np.unique(np.linspace(0, len(records) - 1, most).astype(np.int64))
    positions = np.arange(len(records)) if len(records) <= most else evenly
    some = records.only(spec.columns).subset(positions)
    pieces, _ = spec.unfold(some)
    for start in range(0, len(pieces), CHUNK):
        index = np.arange(start, min(start + CHUNK, len(pieces)))
        while len(index):
            try:
                spec.batch(pieces, index)
                break
            except DataError as error:
                index = without_bad(pieces, index, error, aside)
                _give_up_in_time(aside, records.source)
    return without_samples(records, aside.samples)


def without_samples(records: Records, samples: Sequence[int]) -> Records:
    """Leave out samples by their positions in the source."""
    if not samples:
        return records
    left_out = np.unique(np.asarray(samples, dtype=np.int64))
    if isinstance(records.index, AllBut):
        left_out = records.index.rank(np.setdiff1d(left_out, records.index.left_out))
    elif records.index is not None:
        left_out = np.flatnonzero(np.isin(records.index, left_out))
    return records.subset(AllBut(len(records), left_out))


def _give_up_in_time(aside: Aside, source: str) -> None:
    # A few beyond the allowed number are looked for, so that the message can list them.
    if len(aside.found) >= aside.most + LISTED:
        aside.settle(source)
