import os
import threading
import time

import numpy as np
import pytest

from metamae.data.columns.base import Subset
from metamae.data.columns.blocks import BLOCK_BYTES, Blocked, Recent, Rows, joined
from metamae.errors import DataError
from metamae.training.order import Order


class Counted:
    """Reads blocks of an array and notes which."""

    def __init__(self, values, starts):
        self.values, self.starts, self.numbers = values, np.asarray(starts), []

    def __call__(self, number):
        self.numbers.append(number)
        return self.values[self.starts[number] : self.starts[number + 1]]

    def column(self, recent=None):
        shape = self.values.shape[1:]
        return Blocked(self.starts, self, self.values.dtype, shape, recent or Recent())


def test_recent_keeps_the_last_ones_only():
    made, recent = [], Recent(2)
    for key in "abacab":
        recent.get(key, lambda key=key: made.append(key) or key)
    assert made == ["a", "b", "c", "b"]
    assert "a" in recent and "b" in recent and "c" not in recent


def test_recent_makes_a_value_once_for_many_threads():
    made, recent = [], Recent()

    def make():
        time.sleep(0.02)
        made.append(1)
        return len(made)

    found = []
    threads = [
        threading.Thread(target=lambda: found.append(recent.get("a", make))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1] * 8


def test_recent_does_not_keep_a_failure():
    recent = Recent()
    with pytest.raises(KeyError):
        recent.get("a", {}.popitem)
    assert recent.get("a", lambda: 3) == 3


def test_recent_works_in_a_process_forked_while_a_thread_holds_its_lock():
    recent = Recent()
    with recent._lock:
        child = os.fork()
        if child == 0:
            os._exit(recent.get("a", lambda: 7))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_blocked_gives_what_the_array_gives():
    values = np.random.default_rng(0).normal(size=(20, 2, 3))
    column = Counted(values, [0, 4, 4, 11, 20]).column()
    assert (column.dtype, column.shape, len(column)) == (values.dtype, values.shape, 20)
    assert column.blocks.tolist() == [0, 4, 11, 20]
    rng = np.random.default_rng(1)
    for index in (rng.permutation(20), [3, 3, -1], slice(2, 18, 5), 7, np.arange(20) % 3 == 0):
        np.testing.assert_array_equal(column[index], values[index])


def test_a_call_reads_each_block_once_however_few_are_kept():
    counted = Counted(np.arange(100), range(0, 101, 5))
    column = counted.column(Recent(2))
    np.testing.assert_array_equal(column[np.arange(99, -1, -1)], np.arange(99, -1, -1))
    assert sorted(counted.numbers) == list(range(20))


@pytest.mark.parametrize("batch_size", [16, 50])
def test_a_pass_of_training_reads_each_block_once(batch_size):
    values = np.arange(40 * 10)
    counted = Counted(values, range(0, 401, 10))
    column = Subset(counted.column(), np.flatnonzero(values % 10))
    order = Order(len(column), seed=0, blocks=column.blocks)
    for start in range(0, len(column), batch_size):
        batch = np.sort(order.positions(0, start, min(start + batch_size, len(column))))
        np.testing.assert_array_equal(column[batch], values[values % 10 > 0][batch])
    assert sorted(counted.numbers) == list(range(40))


def test_columns_that_share_what_is_kept_do_not_mix_it_up():
    recent = Recent()
    for sign in (1, -1):
        column = Counted(sign * np.arange(6), [0, 3, 6]).column(recent)
        assert column[np.array([1, 4])].tolist() == [sign, 4 * sign]
        del column


def test_blocked_refuses_a_block_that_has_changed():
    column = Blocked(np.array([0, 3]), lambda number: np.zeros(2), np.dtype(float), (), Recent())
    with pytest.raises(DataError, match="got 2 instead of 3"):
        column[0]


def test_blocked_strings_and_arrays_of_different_shapes():
    ragged = np.empty(3, dtype=object)
    ragged[:] = [np.zeros(1), np.ones(2), np.ones(2)]
    column = Blocked(np.array([0, 3]), lambda number: ragged, np.dtype(float), None, Recent())
    assert column.dtype == object and column.shape == (3,)
    assert [len(value) for value in column[np.array([1, 0])]] == [2, 1]
    # A block of equal shapes comes as one array and is taken apart.
    column = Blocked(np.array([0, 2]), lambda n: np.eye(2), np.dtype(float), None, Recent())
    assert [value.tolist() for value in column[:]] == [[1, 0], [0, 1]]


def test_threads_share_a_column():
    values = np.arange(1000)
    column = Counted(values, range(0, 1001, 10)).column()
    failed = []

    def read(seed):
        rng = np.random.default_rng(seed)
        for _ in range(50):
            index = rng.integers(0, 1000, 30)
            if not np.array_equal(column[index], values[index]):
                failed.append(index)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_rows_are_asked_for_once_and_in_order():
    asked = []

    def read(index):
        asked.append(index.tolist())
        return np.stack([index, -index], axis=1)

    column = Rows(9, read, np.dtype(np.float32), (2,))
    assert column[np.array([5, 1, 5])].tolist() == [[5, -5], [1, -1], [5, -5]]
    assert column[3].tolist() == [3, -3] and column[3].dtype == np.float32
    assert asked == [[1, 5], [3], [3]]


@pytest.mark.parametrize(
    ("length", "chunk", "row_bytes", "expected"),
    [
        (10, 3, BLOCK_BYTES, [0, 3, 6, 9, 10]),
        (10, 3, BLOCK_BYTES // 3 + 1, [0, 3, 6, 9, 10]),
        (10, 3, BLOCK_BYTES // 6 + 1, [0, 6, 10]),
        (10, 3, 1, [0, 10]),
        (9, 3, BLOCK_BYTES, [0, 3, 6, 9]),
        (4, 100, 1, [0, 4]),
    ],
)
def test_tiny_chunks_are_joined(length, chunk, row_bytes, expected):
    assert joined(length, chunk, row_bytes).tolist() == expected
