"""Every sample once a pass, in an order that follows from the seed alone."""

import multiprocessing
import os
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest
import torch

from command import children, running, start
from metamae.data.bad_samples import Aside
from metamae.data.columns.decoded import Decoded
from metamae.data.readers import read
from metamae.data.records import Records
from metamae.errors import DataError, TrainingError
from metamae.modalities.grid.grid import Grid
from metamae.pretraining.pretrain import _read_all
from metamae.training.batches import AHEAD, Batches, to_device
from metamae.training.workers import auto_workers

from .runs import CPU, series


def batches(num=20, batch_size=6, seed=0, **settings):
    spec, records = series(num)
    return Batches(spec, records, batch_size=batch_size, seed=seed, **settings)


@pytest.mark.parametrize(("num", "batch_size"), [(20, 5), (20, 6), (7, 7), (9, 2)])
def test_a_pass_reads_no_sample_twice_and_each_if_they_fill_batches(num, batch_size):
    found = batches(num, batch_size)
    for turn in range(3):
        first = turn * found.per_pass
        seen = np.concatenate([found.index(first + n) for n in range(found.per_pass)])
        assert len(seen) == num - num % batch_size
        assert len(np.unique(seen)) == len(seen)


def test_samples_left_out_of_one_pass_come_in_another():
    found = batches(20, 6)
    assert set(np.concatenate([found.index(n) for n in range(30)])) == set(range(20))


def test_passes_and_seeds_differ_in_their_order():
    a, b = batches(seed=0), batches(seed=1)
    assert not np.array_equal(a.index(0), a.index(a.per_pass))
    assert not np.array_equal(a.index(0), b.index(0))


def test_the_nth_batch_depends_on_n_alone():
    numbers = np.random.default_rng(0).permutation(40)
    wandering, fresh = batches(), [batches().index(n) for n in range(40)]
    for number in numbers:
        assert np.array_equal(wandering.index(number), fresh[number])


def test_a_stream_may_start_anywhere():
    found = batches()
    stream = found.start(4, CPU)
    for number in (4, 5, 6):
        assert torch.equal(next(stream)["cells"], found.read(number)["cells"])
    stream.close()


def test_positions_ascend():
    # So that a memory map is read in one sweep.
    found = batches()
    assert all((np.diff(found.index(n)) > 0).all() for n in range(10))


@pytest.mark.parametrize("world", [1, 2, 3])
def test_shares_of_processes_make_up_the_batch(world):
    whole = batches()
    shares = [batches(rank=rank, world=world) for rank in range(world)]
    for number in (0, 2, 7):
        parts = [share.index(number) for share in shares]
        assert np.array_equal(np.sort(np.concatenate(parts)), whole.index(number))
        assert len({len(part) for part in parts}) == 1


def test_a_memory_map_is_read_and_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(64, 2, 16)))
    records = read(tmp_path / "x.npy")
    assert isinstance(records["X"], np.memmap)
    spec, _ = Grid.infer(records, np.random.default_rng(0), axes=1)
    part = records.subset(np.arange(50))
    assert part["X"].column is records["X"]
    found = Batches(spec, part, batch_size=8, seed=0)
    assert found.records["X"].column is records["X"]
    values = np.asarray(records["X"][found.index(3)])
    scale = (np.reshape(v, (1, 2, 1)) for v in (spec.mean, spec.std))
    mean, std = scale
    cells = torch.from_numpy(((values - mean) / std).astype(np.float32))
    read_back = found.spec.tokenizer(16).original(found.read(3))
    np.testing.assert_allclose(read_back, cells.numpy() * std + mean, rtol=1e-5)


def test_an_array_larger_than_what_is_read_stays_on_disk(tmp_path):
    # 256 MB that the file system does not even hold; three batches of them are 48 MB.
    shape = (32, 1, 1_000_000)
    array = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype="<f8", shape=shape)
    array[:, :, ::100_000] = np.random.default_rng(0).normal(size=(32, 1, 10))
    array.flush()
    del array
    spec = Grid(
        column="X",
        layout="first",
        channels=1,
        size=(1_000_000,),
        cell=(1000,),
        mean=(0.0,),
        std=(1.0,),
    )
    tracemalloc.start()
    try:
        found = Batches(spec, read(tmp_path / "x.npy"), batch_size=2, seed=0)
        for number in range(3):
            assert found.read(number)["cells"].shape == (2, 1000, 1000)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert 16_000_000 < most < 64_000_000


def test_an_error_in_the_reading_thread_comes_out_with_the_next_batch():
    x = np.random.default_rng(0).normal(size=(20, 2, 16))
    spec, _ = Grid.infer(Records({"X": x.copy()}, "x"), np.random.default_rng(0), axes=1)
    found = Batches(spec, Records({"X": x}, "x"), batch_size=4, seed=0)
    x[found.index(2)[1]] = np.inf
    stream = found.start(0, CPU)
    next(stream), next(stream)
    with pytest.raises(DataError, match=rf"x, sample {found.index(2)[1]}: .*infinity"):
        next(stream)
    assert not [t for t in threading.enumerate() if t.name.startswith("metamae-batches")]


def test_a_closed_stream_leaves_no_thread():
    stream = batches().start(0, CPU)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("metamae-batches")]
    batches().start(0, CPU).close()  # one that never began


def test_the_next_batch_is_read_while_one_is_learnt_from():
    found, read_by = batches(), []
    whole = found.spec.batch

    def noted(records, index):
        read_by.append(len(read_by))
        return whole(records, index)

    object.__setattr__(found.spec, "batch", noted)  # a frozen dataclass
    stream = found.start(0, CPU)
    next(stream)
    until = time.monotonic() + 10
    while len(read_by) <= AHEAD and time.monotonic() < until:
        time.sleep(0.001)
    assert read_by[: AHEAD + 1] == [0, 1, 2]
    stream.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_give_the_batches_of_a_thread(workers):
    stream = batches(workers=workers).start(3, CPU)
    for number in range(3, 9):
        assert torch.equal(next(stream)["cells"], batches().read(number)["cells"])
    stream.close()
    assert not multiprocessing.active_children()


def spoilt(most, workers=0, num_bad=1):
    """Return batches of 20 samples, of which some hold an infinity, and the bad ones' numbers."""
    x = np.random.default_rng(0).normal(size=(20, 2, 16))
    spec, _ = Grid.infer(Records({"X": x.copy()}, "x"), np.random.default_rng(0), axes=1)
    records = Records({"X": x}, "x").subset(np.arange(20)[::-1].copy())
    found = Batches(spec, records, batch_size=4, seed=0, workers=workers, aside=Aside(most))
    bad = (19 - found.index(1)[:num_bad]).tolist()
    x[bad, 0, 0] = np.inf
    return found, bad


@pytest.mark.parametrize("workers", [0, 1])
def test_bad_samples_are_set_aside_if_the_user_allows_it(workers):
    found, bad = spoilt(2, workers, num_bad=2)
    stream = found.start(0, CPU)
    sizes = [len(next(stream)["cells"]) for _ in range(5)]
    assert sizes == [4, 2, 4, 4, 4]
    stream.close()
    assert [one.where for one in found.aside.found] == [f"x, sample {n}" for n in sorted(bad)][::-1]
    assert "finite numbers" in found.aside.found[0].reason
    # A later pass meets them again, which counts no more.
    assert sum(len(found.read(n)["cells"]) for n in range(5, 10)) == 18
    assert len(found.aside.found) == 2


def test_a_bad_sample_among_those_held_out_is_set_aside_too():
    found, bad = spoilt(2)
    read = _read_all(found.spec, found.records, 4, found.aside)
    assert sum(len(batch["cells"]) for batch in read) == 19
    assert [one.sample for one in found.aside.found] == bad
    found, _ = spoilt(0)
    with pytest.raises(DataError, match="finite numbers"):
        _read_all(found.spec, found.records, 4, found.aside)


@pytest.mark.parametrize(("most", "num_bad"), [(0, 1), (1, 2)])
def test_one_bad_sample_too_many_stops_the_run(most, num_bad):
    found, _ = spoilt(most, 0, num_bad)
    with pytest.raises(DataError, match=r"x, sample \d+: .*infinity"):
        found.read(1)


def test_a_worker_that_dies_is_no_mystery(monkeypatch):
    found, parent = batches(workers=1), os.getpid()
    whole = found.spec.batch
    batch = lambda *given: whole(*given) if os.getpid() == parent else os._exit(1)  # noqa: E731
    object.__setattr__(found.spec, "batch", batch)
    stream = found.start(0, CPU)
    next(stream)  # read in this process
    with pytest.raises(TrainingError, match=r"Train\.workers = 1 processes .* workers=0 would do"):
        next(stream)


READS = """
import sys, time
import numpy as np, torch
from metamae.modalities.grid import Grid
from metamae.data.records import Records
from metamae.training.batches import Batches
if __name__ == "__main__":
    records = Records({"X": np.random.default_rng(0).normal(size=(40, 2, 16))}, "x")
    spec, _ = Grid.infer(records, np.random.default_rng(0), axes=1, cell=2)
    stream = Batches(spec, records, batch_size=8, seed=0, workers=2).start(0, torch.device("cpu"))
    next(stream), next(stream)
    print("reading", flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="what runs is read from /proc")
def test_workers_end_with_a_run_that_is_killed():
    process = start(READS)
    try:
        assert process.stdout.readline() == "reading\n"
        workers = children(process.pid)
    finally:
        process.kill()
        process.wait()
    assert len(workers) == 2
    deadline = time.monotonic() + 30
    while any(running(pid) for pid in workers):
        assert time.monotonic() < deadline, workers
        time.sleep(0.05)
    process.communicate()


def test_batches_larger_than_the_first_come_all_the_same():
    rng, rows = np.random.default_rng(0), np.empty(60, dtype=object)
    for n in range(60):
        rows[n] = rng.normal(size=(200, 4 + n))
    records = Records({"X": rows}, "x")
    spec, _ = Grid.infer(records, np.random.default_rng(0), axes=1, cell=2)
    found = Batches(spec, records, batch_size=2, seed=0, workers=1)
    sizes = [sum(v.nbytes for v in found.read(n).values()) for n in range(30)]
    assert max(sizes) > 1.5 * sizes[0], "the case must hold a batch that does not fit"
    stream = found.start(0, CPU)
    for number in range(30):
        batch, expected = next(stream), found.read(number)
        assert batch.keys() == expected.keys()
        assert all(torch.equal(batch[k], expected[k]) for k in expected)
    stream.close()


def test_a_batch_stays_as_it_is_when_others_follow():
    stream = batches(num=60, workers=1).start(0, CPU)
    kept = [next(stream) for _ in range(10)]
    stream.close()
    for number, batch in enumerate(kept):
        assert torch.equal(batch["cells"], batches(num=60).read(number)["cells"])


def test_processes_are_started_only_where_decoding_pays(tmp_path):
    x = np.zeros((3, 4))
    assert auto_workers(Records({"X": x}, "x")) == 0
    files = Decoded([tmp_path / "a"], lambda path: x, x.dtype, x.shape)
    wanted = 1 if sys.platform == "linux" else 0
    assert (auto_workers(Records({"X": files}, "x")) > 0) == wanted


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere none are started")
def test_a_process_of_a_pool_starts_none(tmp_path):
    x = np.zeros((3, 4))
    records = Records({"X": Decoded([tmp_path / "a"], lambda path: x, x.dtype, x.shape)}, "x")
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=lambda: sys.exit(auto_workers(records)), daemon=True)
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_moving_to_the_cpu_is_no_copy():
    batch = batches().read(0)
    assert to_device(batch, CPU) is batch
