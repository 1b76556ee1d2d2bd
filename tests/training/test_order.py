"""Random orders: each sample once a pass, mixed as far as storage allows."""

import numpy as np
import pytest

from metamae.data.columns.base import Chain
from metamae.data.columns.indexing import AllBut
from metamae.data.records import Records
from metamae.training import order as order_module
from metamae.training.order import MIXED, Order, blocks_of_records

BLOCKS = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(1, 30, 37))])
TOTAL = int(BLOCKS[-1])


def orders():
    return {"alone": Order(TOTAL, seed=0), "in blocks": Order(TOTAL, seed=0, blocks=BLOCKS)}


@pytest.mark.parametrize("name", ["alone", "in blocks"])
def test_a_pass_holds_every_sample_once_however_it_is_cut(name):
    order = orders()[name]
    for turn, step in ((0, 7), (1, 64), (2, TOTAL), (0, 13)):
        cuts = [
            order.positions(turn, start, min(start + step, TOTAL))
            for start in range(0, TOTAL, step)
        ]
        assert sorted(np.concatenate(cuts)) == list(range(TOTAL))
        assert np.array_equal(np.concatenate(cuts), orders()[name].positions(turn, 0, TOTAL))


def test_passes_and_seeds_differ():
    order, other = orders()["in blocks"], Order(TOTAL, seed=1, blocks=BLOCKS)
    first = order.positions(0, 0, TOTAL)
    assert not np.array_equal(first, order.positions(1, 0, TOTAL))
    assert not np.array_equal(first, other.positions(0, 0, TOTAL))


def test_few_blocks_are_open_at_a_time_and_each_is_read_once():
    order = orders()["in blocks"]
    block = BLOCKS.searchsorted(order.positions(0, 0, TOTAL), side="right") - 1
    first = {n: int(np.flatnonzero(block == n)[0]) for n in range(len(BLOCKS) - 1)}
    last = {n: int(np.flatnonzero(block == n)[-1]) for n in range(len(BLOCKS) - 1)}
    most = max(sum(first[n] <= at <= last[n] for n in first) for at in range(TOTAL))
    assert most == MIXED


def test_batches_mix_their_blocks():
    # Sorted data: the label of a sample is its block. A batch must not be of one block.
    blocks = np.arange(0, 6401, 100)
    order = Order(6400, seed=0, blocks=blocks)
    batches = order.positions(0, 0, 6400).reshape(-1, 64) // 100
    different = [len(np.unique(batch)) for batch in batches]
    assert min(different) >= 6 and np.mean(different) > 7.5


def test_without_blocks_every_place_is_equally_likely():
    order = Order(50, seed=3)
    firsts = np.array([order.positions(turn, 0, 1)[0] for turn in range(4000)])
    counts = np.bincount(firsts, minlength=50)
    # Chi-squared with 49 degrees of freedom exceeds 94 once in ten thousand seeds.
    assert ((counts - 80) ** 2 / 80).sum() < 94


def test_blocks_come_from_the_columns():
    class Packed:
        blocks = np.array([0, 4, 10])
        dtype, shape = np.dtype(float), (10,)

        def __len__(self):
            return 10

        def __getitem__(self, index):
            return np.arange(10.0)[index]

    assert blocks_of_records(Records({"a": np.zeros(10)}, "x")) is None
    both = Records({"a": Packed(), "b": np.zeros(10)}, "x")
    assert blocks_of_records(both).tolist() == [0, 4, 10]
    # Training samples are a part of the data, in their old order.
    assert blocks_of_records(both.subset(np.array([1, 3, 4, 9]))).tolist() == [0, 2, 4]
    assert blocks_of_records(both.subset(np.array([3, 1]))) is None
    assert blocks_of_records(both.subset(AllBut(10, [0, 2, 5, 6, 7, 8]))).tolist() == [0, 2, 4]
    chain = Chain([Packed(), np.zeros(5)], "c")
    assert blocks_of_records(Records({"a": chain}, "x")).tolist() == [0, 4, 10, 15]


def test_the_order_of_very_many_samples_is_drawn_in_parts(monkeypatch):
    monkeypatch.setattr(order_module, "WHOLE", 1000)
    monkeypatch.setattr(order_module, "BLOCK", 100)
    assert len(Order(1000, seed=0).sizes) == 1
    order = Order(1001, seed=0)
    assert order.sizes.tolist() == [100] * 10 + [1]
    assert sorted(order.positions(0, 0, 1001)) == list(range(1001))
