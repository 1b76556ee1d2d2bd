"""Tables that stay in their file."""

import os
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from metamae.data.arrow.files import RowGroups
from metamae.data.columns.base import blocks_of
from metamae.data.columns.blocks import Blocked
from metamae.data.readers import read
from metamae.errors import ConfigError, DataError

from .damage import same
from .test_parquet import save

KINDS = ["a.parquet", "a.arrow", "stream.arrow", "packed.arrow"]


def table(num=1000, seed=0):
    rng = np.random.default_rng(seed)
    some = rng.random(num) < 0.1
    return pa.table(
        {
            "i": np.arange(num),
            "gap": pa.array(np.arange(num), mask=np.arange(num) == num - 1),
            "f": pa.array(rng.normal(size=num), mask=some),
            "b": rng.random(num) < 0.5,
            "s": pa.array([f"é{n}" for n in range(num)], mask=some),
            "c": pa.array([n % 7 for n in range(num)]).dictionary_encode(),
            "x": pa.FixedSizeListArray.from_arrays(rng.normal(size=num * 3), 3),
            "even": [[float(n), 1.0] for n in range(num)],
            "l": [list(range(n % 5)) for n in range(num)],
            "odd": [[[n, 1]] * (1 + (n > num // 2)) for n in range(num)],
            "t": pa.array(np.arange(num), pa.timestamp("s")),
        }
    )


@pytest.mark.parametrize("name", KINDS)
def test_a_file_left_where_it_is_reads_like_one_loaded(tmp_path, name):
    path = save(tmp_path, table(), name, rows=64)
    small, large = read(path), read(path, in_memory=0)
    rng = np.random.default_rng(1)
    for field in small:
        whole, column = small[field], large[field]
        assert isinstance(whole, np.ndarray)
        assert (column.dtype, column.shape) == (whole.dtype, whole.shape), field
        for index in (rng.permutation(1000), rng.integers(0, 1000, 40), np.arange(100, 200)):
            assert same(column[index], whole[index]), field
        assert same(column[:], whole)
        assert same(column[-1:], whole[-1:])
        part = large.subset(np.arange(0, 1000, 7))[field]
        assert same(part[np.array([9, 2])], whole[np.array([63, 14])])


@pytest.mark.parametrize("name", ["a.parquet", "packed.arrow"])
def test_blocks_are_the_parts_of_the_file(tmp_path, name):
    records = read(save(tmp_path, table(), name, rows=300), in_memory=0)
    for column in records.columns.values():
        assert blocks_of(column).tolist() == [0, 300, 600, 900, 1000]
    part = records.subset(np.arange(0, 1000, 3))["x"]
    assert blocks_of(part).tolist() == [0, 100, 200, 300, 334]


def test_shapes_of_lists_are_known(tmp_path):
    records = read(save(tmp_path, table(), rows=300), in_memory=0)
    assert records["l"].sizes.tolist() == [[n % 5] for n in range(1000)]
    assert records["odd"].sizes[[0, 999]].tolist() == [[1, 2], [2, 2]]


def test_limit_counts_what_is_asked_for(tmp_path):
    path = save(tmp_path, {"i": np.arange(1000), "s": ["a"] * 1000})
    assert isinstance(read(path, field="i", in_memory=20_000)["i"], np.ndarray)
    assert isinstance(read(path, field="i", in_memory=7_000)["i"], Blocked)
    with pytest.raises(ConfigError, match=r"ParquetReader\.in_memory must be .* got -1"):
        read(path, in_memory=-1)


def test_each_row_group_is_read_once_a_call(tmp_path, monkeypatch):
    records = read(save(tmp_path, table(), rows=10), in_memory=0)
    seen = []
    monkeypatch.setattr(
        RowGroups,
        "read",
        lambda self, name, number, read=RowGroups.read: (
            seen.append(number) or read(self, name, number)
        ),
    )
    records["i"][np.arange(0, 1000, 3)]
    assert sorted(seen) == list(range(100))


@pytest.mark.parametrize("statistics", [True, False])
def test_whole_numbers_have_one_type_in_all_row_groups(tmp_path, statistics):
    values = {"gap": pa.array([1, 2, None, 4]), "full": [1, 2, 3, 4], "flag": [True] * 4}
    path = save(tmp_path, values, rows=2, write_statistics=statistics)
    records = read(path, in_memory=0)
    assert {n: str(c.dtype) for n, c in records.columns.items()} == {
        "gap": "float64",
        "full": "int64",
        "flag": "bool",
    }
    assert records["gap"][np.array([0])].dtype == np.float64


def test_a_column_that_is_regular_in_the_first_row_group_only(tmp_path):
    path = save(tmp_path, {"l": [[1, 2], [3, 4], [5], [6, 7, 8]]}, rows=2)
    assert read(path)["l"].dtype == object
    # The counts of the row groups agree, so that only reading shows it.
    column = read(path, in_memory=0)["l"]
    assert column[:2].tolist() == [[1, 2], [3, 4]]
    with pytest.raises(DataError, match=r"a\.parquet, column 'l', row group 1 must .*in_memory"):
        column[np.array([3])]
    path = save(tmp_path, {"l": [[[1, 2], [3, 4]], [[1], [2], [3], [4]]]}, rows=1)
    with pytest.raises(DataError, match=r"of shape \(2, 2\), as the file says; got shape \(4, 1\)"):
        read(path, in_memory=0)["l"][:]
    path = save(tmp_path, {"l": [[1, 2], [3, 4], [5], [6, 7]]}, rows=2)
    ragged = read(path, in_memory=0)["l"][:]
    assert [value.tolist() for value in ragged] == [[1, 2], [3, 4], [5], [6, 7]]


def test_what_cannot_be_a_column_names_its_row_group(tmp_path):
    path = save(tmp_path, {"l": [[[1]], [[2]], [[1], [2, 3]], [[1]]]}, rows=2)
    with pytest.raises(DataError, match=r"column 'l', row group 1 must hold a rectangular"):
        read(path, in_memory=0)


def test_a_name_with_a_dot(tmp_path):
    path = save(tmp_path, {"a.b": [1, None], "a": [3, 4]})
    records = read(path, in_memory=0)
    assert same(records["a.b"][:], np.array([1, np.nan]))
    assert same(records["a"][:], np.array([3, 4]))


@pytest.mark.parametrize("in_memory", [2**20, 0])
@pytest.mark.parametrize("name", ["a.arrow", "packed.arrow", "stream.arrow"])
def test_damaged_offsets_are_not_followed(tmp_path, name, in_memory):
    offsets = pa.py_buffer(np.array([0, 1, 2**30, 6], np.int32))
    texts = pa.Array.from_buffers(pa.string(), 3, [None, offsets, pa.py_buffer(b"abbccc")])
    path = save(tmp_path, {"i": [1, 2, 3], "s": texts}, name)
    with pytest.raises(DataError, match="got an error on reading it"):
        read(path, in_memory=in_memory)["s"][:]


def test_a_row_group_that_packs_too_well_is_refused(tmp_path):
    path = save(tmp_path, {"a": np.zeros(100_000), "b": np.arange(100_000)}, rows=50_000)
    assert len(read(path, in_memory=0, max_bytes=400_000)) == 100_000
    with pytest.raises(DataError, match="must not expand beyond 300000 bytes"):
        read(path, in_memory=0, max_bytes=300_000, field="a")


def test_large_row_groups_are_worth_a_word(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("metamae.data.arrow.files._MUCH", 50_000)
    read(save(tmp_path, {"a": np.arange(1000)}, rows=100), in_memory=0)
    assert not caplog.text
    read(save(tmp_path, {"a": np.arange(1000)}), in_memory=0)
    assert "row_group_size" in caplog.text


def test_an_uncompressed_file_is_mapped(tmp_path):
    path = save(tmp_path, table(), "a.arrow", rows=100)
    records = read(path, in_memory=0)
    before = pa.total_allocated_bytes()
    records = read(path, in_memory=0)
    assert pa.total_allocated_bytes() - before < 10_000
    for field in ("i", "x", "even", "t"):
        assert not any(part.flags.owndata for part in records[field].columns)
    # Nothing is worth reading in blocks there.
    assert all(blocks_of(column) is None for column in records.columns.values())


def test_forked_processes_and_threads_read_one_column(tmp_path):
    column = read(save(tmp_path, table(), rows=50), in_memory=0)["x"]
    whole = column[:]
    failed = []

    def check(seed):
        for index in np.random.default_rng(seed).integers(0, 1000, (20, 30)):
            if not np.array_equal(column[index], whole[index]):
                failed.append(index)

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if child == 0:
        check(9)
        os._exit(len(failed))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not failed


def test_a_file_that_changes_is_noticed(tmp_path):
    records = read(save(tmp_path, {"a": np.arange(1000)}, rows=10), in_memory=0)
    save(tmp_path, {"a": np.arange(30)}, rows=10)
    with pytest.raises(DataError, match=r"a\.parquet, column 'a', row group 99 must"):
        records["a"][np.array([995])]


def resident():
    """Memory in KiB that is the process's own, not a mapped file's."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_memory_stays_flat_over_a_gigabyte(tmp_path, name):
    rng = np.random.default_rng(0)
    schema = pa.schema({"x": pa.list_(pa.float32(), 64), "y": pa.int64()})
    rows, groups = 16_384, 256  # 4 MiB each
    new = pq.ParquetWriter if name == "a.parquet" else pa.ipc.new_file
    with new(tmp_path / name, schema) as writer:
        for group in range(groups):
            x = rng.standard_normal(rows * 64, dtype=np.float32)
            columns = [pa.FixedSizeListArray.from_arrays(x, 64), np.arange(rows) + group * rows]
            writer.write_table(pa.table(columns, schema=schema))
    assert (tmp_path / name).stat().st_size > 2**30
    del x, columns
    records = read(tmp_path / name)
    before, most = None, 0
    order = rng.permutation(groups)
    for start in range(0, groups, 8):
        mixed = [np.arange(rows) + group * rows for group in order[start : start + 8]]
        for batch in rng.permutation(np.concatenate(mixed))[: 64 * 256].reshape(64, 256):
            batch.sort()
            assert (records["y"][batch] == batch).all()
            assert np.isfinite(records["x"][batch]).all()
        before = before or resident()
        most = max(most, resident())
    assert most - before < 64 * 1024
