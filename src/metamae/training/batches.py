"""Samples in a random order, a batch at a time, read while the batch before is learnt from."""

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
import torch

from metamae.data.bad_samples import Aside, Bad
from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import DataError
from metamae.modalities.base import Modality
from metamae.model.tokens import Batch
from metamae.training.order import Grouped, Order, blocks_of_records
from metamae.training.workers import Placed, Slots, auto_workers, processes

AHEAD = 2  # batches that each worker reads ahead
# What comes from a worker: where the batch lies in its slot, or the batch itself if it does not
# fit, and the bad samples that were left out of it.
_Sent = tuple[list[Placed] | dict[str, Any], list[Bad]]


class Batches:
    """An endless stream of batches that can start anywhere.

    Every pass draws a new order from the seed and the number of the pass, so the n-th batch is
    a function of n: nothing needs to be stored to resume. Samples that do not fill a batch at
    the end of a pass wait for the next pass.

    Args:
        spec: Reads and scales the samples.
        records: Training data.
        batch_size: B.
        seed: Of the order.
        workers: Processes that read batches; 0 for a thread, which is enough where reading is
            copying. None for as many as pay.
        aside: Takes the bad samples that turn up, if the user allows some.
        group_by_length: Whether samples of like length come together, where lengths differ and are
            known without decoding.
        rank: Which share of each batch this process reads, of `world` shares.
        world: Number of processes that share the training.
    """

    def __init__(
        self,
        spec: Modality,
        records: Records,
        *,
        batch_size: int,
        seed: int,
        workers: int | None = 0,
        aside: Aside | None = None,
        group_by_length: bool = False,
        rank: int = 0,
        world: int = 1,
    ):
        self.spec, self.records, self.batch_size, self.seed = spec, records, batch_size, seed
        self.workers = auto_workers(records) if workers is None else workers
        self.aside = aside or Aside()
        self.rank, self.world = rank, world
        self.per_pass = max(1, len(records) // batch_size)
        self.order: Order | Grouped = Order(
            len(records), seed=seed, blocks=blocks_of_records(records)
        )
        if group_by_length and spec.varies:
            self.order = Grouped(self.order, batch_size, self._sizes)

    def index(self, number: int) -> Index:
        """Positions of the samples of the n-th batch, ascending, (B,)."""
        turn, place = divmod(number, self.per_pass)
        start = place * self.batch_size
        chosen = self.order.positions(turn, start, min(start + self.batch_size, len(self.records)))
        # Ascending positions turn random reads of a memory map into one sweep.
        return np.sort(chosen)[self.rank :: self.world]

    def _sizes(self, index: Index) -> Index | None:
        return self.spec.rough_sizes(self.records.subset(index))

    def read(self, number: int) -> Batch:
        """Read the n-th batch.

        Raises:
            DataError: If it holds more bad samples than are allowed.
        """
        return self._keep(*self._read(number))

    def start(self, number: int, device: torch.device) -> Generator[Batch, None, None]:
        """Yield batches from the n-th on, the next being read while one is learnt from.

        Raises:
            DataError: If there are more bad samples than are allowed.
            TrainingError: If a worker ends unexpectedly.
        """
        if self.workers:
            return self._from_processes(number, device)
        return self._from_thread(number, device)

    def _from_thread(self, number: int, device: torch.device) -> Generator[Batch, None, None]:
        with ThreadPoolExecutor(1, thread_name_prefix="metamae-batches") as pool:
            coming: deque[Future[tuple[Batch, list[Bad]]]] = deque()
            try:
                while True:
                    while len(coming) <= AHEAD:
                        coming.append(pool.submit(self._read_for, device, number))
                        number += 1
                    yield to_device(self._keep(*coming.popleft().result()), device)
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def _from_processes(self, number: int, device: torch.device) -> Generator[Batch, None, None]:
        first = self.read(number)
        # One of the longest tells how much memory the others need.
        turn, place = divmod(number, self.per_pass)
        longest = self.order.longest(turn, place * self.batch_size) // self.batch_size
        large = first if longest == place else self._read(turn * self.per_pass + longest)[0]
        slots = Slots(AHEAD * self.workers + 1, large)
        free = deque(range(len(slots.maps)))
        coming: deque[tuple[int, Future[_Sent]]] = deque()
        with processes(self.workers, self, slots) as submit:
            yield to_device(first, device)
            while True:
                while free:
                    number += 1
                    slot = free.popleft()
                    coming.append((slot, submit(_read_here, number, slot)))
                slot, sent = coming.popleft()
                batch, bad = sent.result()
                if isinstance(batch, list):
                    batch = slots.take(slot, batch)
                else:
                    batch = {k: torch.from_numpy(v) for k, v in batch.items()}
                free.append(slot)
                yield to_device(self._keep(batch, bad), device)

    def _read(self, number: int) -> tuple[Batch, list[Bad]]:
        bad = Aside(self.aside.most)
        return read_good(self.spec, self.records, self.index(number), bad), bad.found

    def _read_for(self, device: torch.device, number: int) -> tuple[Batch, list[Bad]]:
        batch, bad = self._read(number)
        return pinned(batch, device), bad

    def _keep(self, batch: Batch, bad: list[Bad]) -> Batch:
        if self.aside.add_new(bad):
            self.aside.settle(self.records.source)
        return batch


def read_good(spec: Modality, records: Records, index: Index, aside: Aside) -> Batch:
    """Read samples, and note the bad ones in place of reading them.

    Raises:
        DataError: If there are more bad samples than allowed, or no others.
    """
    while True:
        try:
            return spec.batch(records, index)
        except DataError as error:
            index = without_bad(records, index, error, aside)
            aside.settle(records.source)
            if len(index) == 0:
                raise


def without_bad(records: Records, index: Index, error: DataError, aside: Aside) -> Index:
    """Note the sample that an error blames, and return the positions of the others.

    Raises:
        DataError: The error itself, if it blames none of these samples.
    """
    origins = index if records.index is None else records.index[index]
    blamed = origins == error.sample
    if error.sample is None or not blamed.any():
        raise error
    where = records.where(int(index[blamed.argmax()]))
    reason = str(error).removeprefix(f"{where}: ")
    aside.add(where, reason, records.source, error.sample)
    others: Index = index[~blamed]
    return others


def _read_here(batches: Batches, slots: Slots, number: int, slot: int) -> _Sent:
    batch, bad = batches._read(number)
    arrays = {k: v.numpy() for k, v in batch.items()}
    placed = slots.put(slot, arrays)
    return (arrays if placed is None else placed), bad


def pinned(batch: Batch, device: torch.device) -> Batch:
    """Put a batch where a GPU can copy it from by itself; nothing happens for a CPU."""
    return {k: v.pin_memory() for k, v in batch.items()} if device.type == "cuda" else batch


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch, on a GPU beside what it computes; nothing happens on a CPU."""
    if device.type == "cpu":
        return batch
    if device.type != "cuda":
        return {k: v.to(device) for k, v in batch.items()}
    copying, computing = _copying(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        moved = {k: v.to(device, non_blocking=True) for k, v in pinned(batch, device).items()}
    computing.wait_stream(copying)
    for value in moved.values():
        value.record_stream(computing)  # its memory is not given away while that is at it
    return moved


@cache
def _copying(device: torch.device) -> torch.cuda.Stream:
    """Return the one stream on which batches are copied: each has a memory of its own."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
