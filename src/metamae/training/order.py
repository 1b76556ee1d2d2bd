"""The order in which samples are seen: random, the same for the same seed, and never stored.

Where lengths differ, `Grouped` makes batches of samples of like length, so that little of a batch
is padding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metamae.data.columns.base import Index, blocks_of
from metamae.data.records import Records
from metamae.errors import DataError

MIXED = 8
"""Blocks that are mixed at a time, where samples are stored in blocks."""
# Samples whose order is drawn as a whole: 128 MiB of it. More are treated as if stored in blocks.
WHOLE, BLOCK = 2**24, 2**18


class Order:
    """A random order of the samples for each pass, as a function of the pass.

    Where each sample can be read alone, every order of all samples is equally likely. Where they
    are stored in blocks (row groups, packed chunks, shards), each pass draws an order of the
    blocks, takes `MIXED` of them at a time, and draws an order of all their samples: a batch
    then comes from up to 8 places of the data, others in each pass, and each block is read once
    a pass. Data that are sorted by block alone (by day, by person) are mixed well; within one
    pass, neighbouring batches share their blocks. More than `WHOLE` samples are divided into
    blocks of `BLOCK` of them, so that the order takes no more room than that of a few blocks.

    Args:
        num_samples: S.
        seed: Of all orders.
        blocks: Ascending positions from 0 to S between which samples are stored together; None
            if each can be read alone.
    """

    def __init__(self, num_samples: int, *, seed: int, blocks: Index | None = None):
        self.num_samples, self.seed = num_samples, seed
        if blocks is None:
            size = num_samples if num_samples <= WHOLE else BLOCK
            blocks = np.unique(np.r_[0:num_samples:size, num_samples])
        self.starts, self.sizes = blocks[:-1], np.diff(blocks)
        self._turn: tuple[int, Index, Index] | None = None  # pass, order of blocks, ends of groups
        self._group: tuple[int, int, Index] | None = None  # pass, group, positions

    def positions(self, turn: int, start: int, stop: int) -> Index:
        """Positions of the samples that stand from `start` to `stop` in a pass."""
        _, ends = self._blocks(turn)
        first, last = ends.searchsorted([start, stop - 1], side="right")
        found = []
        for group in range(int(first), int(last) + 1):
            before = int(ends[group - 1]) if group else 0
            found.append(self._members(turn, group)[max(0, start - before) : stop - before])
        return np.concatenate(found)

    def ends(self, turn: int) -> Index:
        """Positions in a pass behind each group of samples that are mixed with each other."""
        return self._blocks(turn)[1]

    def longest(self, turn: int, start: int) -> int:
        """Where a batch stands in a pass that is as large as those near one at `start`."""
        return start

    def _blocks(self, turn: int) -> tuple[Index, Index]:
        """Order of the blocks in a pass, and how many samples the first groups of them hold."""
        if self._turn is None or self._turn[0] != turn:
            order = np.random.default_rng([self.seed, turn]).permutation(len(self.starts))
            ends = np.cumsum(self.sizes[order])
            last = np.minimum(np.arange(MIXED, len(order) + MIXED, MIXED), len(order)) - 1
            self._turn = turn, order, ends[last]
        return self._turn[1], self._turn[2]

    def _members(self, turn: int, group: int) -> Index:
        if self._group is None or self._group[:2] != (turn, group):
            order, _ = self._blocks(turn)
            chosen = order[group * MIXED : (group + 1) * MIXED]
            members = np.concatenate(
                [np.arange(self.starts[n], self.starts[n] + self.sizes[n]) for n in chosen]
            )
            rng = np.random.default_rng([self.seed, turn, group])
            self._group = turn, group, rng.permutation(members)
        return self._group[2]


def blocks_of_records(records: Records) -> Index | None:
    """Positions between which samples are stored together; None if each can be read alone."""
    every = [blocks_of(column) for column in records.columns.values()]
    found = [blocks for blocks in every if blocks is not None]
    return np.unique(np.concatenate(found)) if found else None


POOL = 32
"""Most batches whose samples are sorted together."""
JITTER = 0.1
"""Share of its length by which a sample may be out of order, so that its companions change."""


@dataclass(frozen=True)
class _Pool:
    """Some batches of a pass, one behind the other.

    Attributes:
        turn: The pass.
        start: Where the first stands in it.
        stop: Behind the last.
    """

    turn: int
    start: int
    stop: int


class Grouped:
    """A random order of the samples for each pass in which neighbours are of like length.

    The samples of up to `POOL` batches, drawn as by `Order`, are sorted by length, give or take
    `JITTER`, and the batches that this makes come in random order, but for the longest, which is
    first. Only samples that `Order` mixes with each other are sorted together, so that each block
    is still read once; a batch with some of two such groups is left as it is drawn. It is a
    function of the pass, like `Order`.

    Args:
        order: Draws the samples.
        batch_size: B.
        sizes: Positions of samples -> how long each is beside the others, (S,); None if all are
            alike or it is not known. Samples are left as they are drawn then, and where it raises
            DataError: a bad one is found when it is read.
    """

    def __init__(self, order: Order, batch_size: int, sizes: Callable[[Index], Index | None]):
        self.order, self.batch_size, self.sizes = order, batch_size, sizes
        self._last: tuple[_Pool, Index] | None = None

    def positions(self, turn: int, start: int, stop: int) -> Index:
        """Positions of the samples of the batch that stands from `start` to `stop` in a pass."""
        pool = self._pool(turn, start)
        if pool is None:
            return self.order.positions(turn, start, stop)
        if self._last is None or self._last[0] != pool:
            self._last = pool, self._sorted(pool)
        return self._last[1][start - pool.start : stop - pool.start]

    def longest(self, turn: int, start: int) -> int:
        """Where the longest batch stands of those that are sorted with the one at `start`."""
        pool = self._pool(turn, start)
        return start if pool is None else pool.start

    def _pool(self, turn: int, start: int) -> _Pool | None:
        """Batches that are sorted together with the one at `start`; None if it is not sorted."""
        B, ends = self.batch_size, self.order.ends(turn)
        group = int(ends.searchsorted(start, side="right"))
        before = int(ends[group - 1]) if group else 0
        first, last = -(-before // B), int(ends[group]) // B  # whole batches of the group
        place = start // B
        if not first <= place < last:
            return None
        begin = place - (place - first) % POOL
        return _Pool(turn, begin * B, min(begin + POOL, last) * B)

    def _sorted(self, pool: _Pool) -> Index:
        """Positions of the samples of a pool, batch by batch."""
        drawn = self.order.positions(pool.turn, pool.start, pool.stop)
        ascending = np.sort(drawn)  # turns random reads into one sweep
        try:
            sizes = self.sizes(ascending)
        except DataError:
            return drawn
        if sizes is None or np.ptp(sizes) == 0:
            return drawn
        rng = np.random.default_rng([self.order.seed, pool.turn, pool.start, 1])
        rough = sizes * rng.uniform(1 - JITTER, 1 + JITTER, len(drawn))
        falling = ascending[np.argsort(-rough, kind="stable")].reshape(-1, self.batch_size)
        return falling[np.r_[0, 1 + rng.permutation(len(falling) - 1)]].ravel()
