"""Find bad samples before they can stop a run that has begun."""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice, takewhile

import numpy as np

from metamae.data.bad_samples import LISTED, Aside, Bad
from metamae.data.columns.base import Index
from metamae.data.columns.indexing import AllBut
from metamae.data.records import Records
from metamae.errors import DataError
from metamae.modalities.base import Modality
from metamae.schema.schema import Schema
from metamae.training.batches import without_bad
from metamae.training.workers import auto_workers, processes

log = logging.getLogger("metamae")
CHUNK, CHUNK_OF_DECODED = 256, 8  # samples that one of several processes reads at a time
AHEAD = 2  # chunks for each process that are under way
AT_ONCE = 2**26  # bytes of samples that are read at once
MOST_LOOKED_AT = 100_000  # samples that are read once before training
PATIENCE = 5.0  # seconds after which a user is told what is going on


def vet(
    records: Records,
    infer: Callable[[Records], Schema],
    aside: Aside,
    *,
    most: int = MOST_LOOKED_AT,
    seconds: float = math.inf,
    workers: int | None = 0,
) -> tuple[Records, Schema]:
    """Infer a schema and read the samples once, leaving out the bad ones.

    A bad sample that is not among those looked at is met while training. Samples that have been
    here before are not read again.

    Args:
        records: Training data.
        infer: Records -> schema; it raises DataError where a sample is bad.
        aside: How many samples may be left out.
        most: Samples to read, from all over the data.
        seconds: After so many, no more are read.
        workers: Processes that read; 0 to read here, None for as many as pay.

    Returns:
        The good samples, and their schema.

    Raises:
        DataError: If there are more bad samples than allowed; it lists some of them.
        TrainingError: If a process that reads ends unexpectedly.
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
    if not good.vetted:
        good = look_through(schema.modality, good, aside, most, seconds=seconds, workers=workers)
    aside.settle(records.source)
    return replace(good, vetted=True), schema


def look_through(
    spec: Modality,
    records: Records,
    aside: Aside,
    most: int,
    *,
    seconds: float = math.inf,
    workers: int | None = 0,
) -> Records:
    """Read samples once, note the bad ones in `aside`, and return the others; see `vet`."""
    evenly = np.unique(np.linspace(0, len(records) - 1, most).astype(np.int64))
    positions = np.arange(len(records)) if len(records) <= most else evenly
    pieces, _ = spec.unfold(records.only(spec.columns).subset(positions))
    began, done, told = time.monotonic(), 0, False
    search = _Search(spec, pieces, aside.most + LISTED, began + seconds)
    with closing(_searched(search, workers)) as searched:
        for num, bad in searched:
            aside.add_new(bad)
            _give_up_in_time(aside, records.source)
            done += num
            if time.monotonic() - began > PATIENCE and not told:
                log.info("looking for bad samples first: %d of %d so far", done, len(pieces))
                told = True
    if done < len(pieces):
        log.info("looked for bad samples in %d of %d, as time allows", done, len(pieces))
    return without_samples(records, aside.samples)


@dataclass(frozen=True)
class _Search:
    """What to look through: `limit` bad samples of each part are enough, until a moment."""

    spec: Modality
    records: Records
    limit: int
    end: float

    def part(self, index: Index) -> tuple[int, list[Bad]]:
        """Read some samples, few at a time if they are large.

        Returns:
            How many were read, and the bad ones among them.
        """
        left, found, num = index, Aside(self.limit), 1
        while len(left) and len(found.found) < self.limit and time.monotonic() < self.end:
            some = left[:num]
            try:
                batch = self.spec.batch(self.records, some)
            except DataError as error:
                # With all of its other windows.
                left = without_bad(self.records, left, error, found)
            else:
                left = left[num:]
                size = sum(value.nbytes for value in batch.values())
                num = max(1, AT_ONCE * len(some) // size)
        return len(index) - len(left), found.found


def _searched(search: _Search, workers: int | None) -> Generator[tuple[int, list[Bad]], None, None]:
    """Yield of each part of the samples how many were read, and the bad ones among them."""
    records = search.records
    if workers is None:
        workers = auto_workers(records)
        workers += workers > 0  # this process only waits for them
    size = CHUNK_OF_DECODED if records.decoded else CHUNK
    starts = range(0, len(records), size)
    every = (np.arange(start, min(start + size, len(records))) for start in starts)
    parts = takewhile(lambda _: time.monotonic() < search.end, every)
    if workers == 0 or len(starts) < 2:
        yield from map(search.part, parts)
        return
    with processes(workers, search) as submit:
        coming = deque(submit(_Search.part, one) for one in islice(parts, AHEAD * workers))
        while coming:
            yield coming.popleft().result()
            coming += (submit(_Search.part, one) for one in islice(parts, 1))


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
