"""Batches of samples of like length, so that little of a batch is padding."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metamae.data.columns.base import Index
from metamae.errors import DataError
from metamae.training.order import Order

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
