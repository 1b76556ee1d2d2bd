"""Samples in a random order, a batch at a time."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from metamae.columns import Index
from metamae.modalities.base import Modality
from metamae.records import Records
from metamae.types import Batch


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
        rank: Which share of each batch this process reads, of `world` shares.
        world: Number of processes.
    """

    def __init__(
        self,
        spec: Modality,
        records: Records,
        *,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ):
        self.spec, self.records, self.batch_size, self.seed = spec, records, batch_size, seed
        self.rank, self.world = rank, world
        self.per_pass = max(1, len(records) // batch_size)
        self._order: tuple[int, Index] = (-1, np.empty(0, dtype=np.int64))

    def index(self, number: int) -> Index:
        """Positions of the samples of the n-th batch, ascending, (B,)."""
        turn, place = divmod(number, self.per_pass)
        if self._order[0] != turn:
            rng = np.random.default_rng([self.seed, turn])
            self._order = (turn, rng.permutation(len(self.records)))
        chosen = self._order[1][place * self.batch_size : (place + 1) * self.batch_size]
        # Ascending positions turn random reads of a memory map into one sweep.
        return np.sort(chosen)[self.rank :: self.world]

    def read(self, number: int) -> Batch:
        """Read the n-th batch."""
        return self.spec.batch(self.records, self.index(number))

    def start(self, number: int, device: torch.device) -> Iterator[Batch]:
        """Yield batches from the n-th on, the next being read while one is learnt from."""
        with ThreadPoolExecutor(1, thread_name_prefix="metamae-batches") as pool:
            coming = pool.submit(self.read, number)
            while True:
                batch = coming.result()
                number += 1
                coming = pool.submit(self.read, number)
                yield to_device(batch, device)


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Move a batch; nothing happens on a CPU."""
    if device.type == "cpu":
        return batch
    return {k: v.pin_memory().to(device, non_blocking=True) for k, v in batch.items()}
