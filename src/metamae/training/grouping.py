"""Batches of samples of like length, so that little of a batch is padding."""

from collections.abc import Callable

import numpy as np

from metamae.columns import Index
from metamae.errors import DataError
from metamae.training.order import Order

POOL = 32
"""Batches whose samples are sorted together."""
JITTER = 0.1
"""Share of its length by which a sample may be out of order, so that its companions change."""


class Grouped:
    """A random order of the samples for each pass in which neighbours are of like length.

    The samples of `POOL` batches, drawn as by `Order`, are sorted by length, give or take
    `JITTER`, and the batches that this makes come in random order but for the longest, which is
    first: what does not fit into memory fails at once. It is a function of the pass, like `Order`.

    Args:
        order: Draws the samples.
        batch_size: B.
        lengths: Positions of samples -> tokens of each, (S,). A pool for which it raises
            DataError is left as it is drawn: a bad sample is found when it is read.
    """

    def __init__(self, order: Order, batch_size: int, lengths: Callable[[Index], Index]):
        self.order, self.batch_size, self.lengths = order, batch_size, lengths
        self.per_pass = order.num_samples // batch_size
        self._pool: tuple[int, int, Index] | None = None  # pass, pool, positions

    def positions(self, turn: int, start: int, stop: int) -> Index:
        """Positions of the samples of the batch that stands from `start` to `stop` in a pass."""
        pool, place = divmod(start // self.batch_size, POOL)
        first = place * self.batch_size
        return self._sorted(turn, pool)[first : first + stop - start]

    def _sorted(self, turn: int, pool: int) -> Index:
        """Positions of the samples of a pool, batch by batch."""
        if self._pool is None or self._pool[:2] != (turn, pool):
            # Those at the end of a pass that fill no batch wait for the next; a batch is all there
            # is where samples are fewer.
            batches = max(1, min(POOL, self.per_pass - pool * POOL))
            start = pool * POOL * self.batch_size
            stop = min(start + batches * self.batch_size, self.order.num_samples)
            # Ascending positions turn random reads into one sweep.
            drawn = np.sort(self.order.positions(turn, start, stop))
            rng = np.random.default_rng([self.order.seed, turn, pool, 1])
            self._pool = turn, pool, self._arranged(drawn, batches, rng)
        return self._pool[2]

    def _arranged(self, drawn: Index, batches: int, rng: np.random.Generator) -> Index:
        try:
            lengths = self.lengths(drawn)
        except DataError:
            return rng.permutation(drawn)
        rough = lengths * rng.uniform(1 - JITTER, 1 + JITTER, len(drawn))
        falling = drawn[np.argsort(-rough)].reshape(batches, -1)
        return falling[np.r_[0, 1 + rng.permutation(batches - 1)]].ravel()
