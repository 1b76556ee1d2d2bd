"""Several files as one data set."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from metamae.data.columns.base import Chain, blocks_of
from metamae.data.columns.blocks import Blocked
from metamae.data.readers import pick, read
from metamae.data.shards import find_shards
from metamae.errors import DataError

from .damage import same
from .test_parquet import save


def shards(folder, num=3, **options):
    """Write shards of 10 rows; number n holds n in column "a" of row n."""
    for shard in range(num):
        n = np.arange(10 * shard, 10 * shard + 10)
        words = pa.array([f"w{k % 3}" for k in n]).dictionary_encode()
        lists = [[float(k)] * (1 + k % 2) for k in n]
        save(folder, {"a": n, "w": words, "l": lists}, f"part-{shard}.parquet", rows=4, **options)
    return folder


@pytest.mark.parametrize("in_memory", [2**20, 0])
@pytest.mark.parametrize("kind", ["folder", "pattern", "text pattern", "list", "tuple"])
def test_every_way_to_name_them_gives_one_data_set(tmp_path, kind, in_memory):
    shards(tmp_path)
    paths = sorted(tmp_path.iterdir())
    data = {
        "folder": tmp_path,
        "pattern": tmp_path / "part-*.parquet",
        "text pattern": str(tmp_path / "**" / "part-[0-2].parquet"),
        "list": paths,
        "tuple": tuple(paths),
    }[kind]
    records = read(data, in_memory=in_memory)
    assert len(records) == 30
    order = np.random.default_rng(0).permutation(30)
    assert same(records["a"][order], order)
    assert records["w"][order].tolist() == [f"w{k % 3}" for k in order]
    assert [len(value) for value in records["l"][order]] == [1 + k % 2 for k in order]
    assert records.where(25) == f"{records.source}, part-2.parquet, row 5"
    assert records.names[-1] == "part-2.parquet, row 9"
    assert records.subset(np.array([25, 3])).where(1) == f"{records.source}, part-0.parquet, row 3"
    assert records.source == (f"{paths[0]} and 2 more" if kind in ("list", "tuple") else str(data))
    blocks = blocks_of(records["a"])
    assert blocks is None if in_memory else blocks.tolist() == [0, 4, 8, 10, 14, 18, 20, 24, 28, 30]


def test_the_limit_holds_for_all_shards_together(tmp_path):
    shards(tmp_path, num=4)
    alone = read(tmp_path / "part-0.parquet", in_memory=3000)
    assert isinstance(alone["a"], np.ndarray)
    together = read(tmp_path, in_memory=3000)
    assert all(isinstance(part, Blocked) for part in together["a"].columns)


def test_a_field_and_an_explicit_reader(tmp_path):
    for path in shards(tmp_path).iterdir():
        path.rename(path.with_suffix(".pqt"))
    records = read(tmp_path / "*.pqt", reader="parquet", field="w")
    assert list(records) == ["w"] and len(records) == 30
    with pytest.raises(DataError, match=r"must have an extension"):
        read(tmp_path / "*.pqt")


def test_what_lies_beside_shards(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    shards(tmp_path)
    for name in ("README.md", "_SUCCESS", ".part-0.parquet.crc", "dataset_infos.json", "LICENSE"):
        (tmp_path / name).write_text("x")
    assert len(read(tmp_path)) == 30
    assert "3 files taken for shards of one data set" in caplog.text
    (tmp_path / "notes.doc").write_text("x")
    with pytest.raises(DataError, match=r"must hold files of a known format; got .*1 \.doc"):
        read(tmp_path)
    assert len(read(tmp_path, reader="parquet")) == 30


def test_names_with_wildcards_that_exist_are_no_patterns(tmp_path):
    path = save(tmp_path, {"a": [1, 2]}, "a[1].parquet")
    assert find_shards(path) is None
    assert read(str(path))["a"].tolist() == [1, 2]


def test_hidden_files_do_not_match(tmp_path):
    shards(tmp_path, num=1)
    (tmp_path / ".hidden.parquet").write_bytes(b"x")
    assert [path.name for path in find_shards(str(tmp_path / "*"))] == ["part-0.parquet"]


@pytest.mark.parametrize("data", [["*.parquet"], [], [Path("a"), "b"], np.zeros(3), "a", {}])
def test_what_is_not_a_list_of_paths(data):
    assert find_shards(data) is None


def test_a_pattern_without_a_match(tmp_path):
    with pytest.raises(DataError, match=r"must match at least one file; got none.*'.*nothing'"):
        read(tmp_path / "nothing" / "*.parquet")


def test_files_of_several_kinds_are_refused(tmp_path):
    shards(tmp_path, num=1)
    np.save(tmp_path / "b.npy", np.zeros((2, 2)))
    message = r"must be files of one kind .* got .*b\.npy \(npy\), .*part-0\.parquet \(parquet\)"
    with pytest.raises(DataError, match=message):
        read(tmp_path / "*")
    with pytest.raises(DataError, match=r"known format; got 1 \.parquet, 1 \.npy|1 \.npy, 1 \.pa"):
        read(tmp_path)


ODD = {
    "damaged": (None, "must be a complete Parquet or Arrow file"),
    "fields": (
        {"a": [1], "w": ["x"], "z": [1]},
        r"must have the fields of the other shards \(a, l, w\); got none named 'l' and 'z' besides",
    ),
    "type": (
        {"a": ["x"], "w": ["x"], "l": [[1]]},
        "must hold single numbers in field 'a' like the other shards; got strings",
    ),
    "axes": (
        {"a": [[1, 2]], "w": ["x"], "l": [[1]]},
        "must hold single numbers in field 'a' like the other shards; got arrays with 1 axes",
    ),
    "date": (
        {"a": pa.array([1], pa.timestamp("s")), "w": ["x"], "l": [[1]]},
        "must hold single numbers in field 'a' like the other shards; got dates",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_an_odd_shard_is_named_or_set_aside(tmp_path, case):
    values, message = ODD[case]
    shards(tmp_path)
    odd = tmp_path / "odd.parquet"
    odd.write_bytes(b"PAR1") if values is None else save(tmp_path, values, "odd.parquet")
    with pytest.raises(DataError, match=rf"odd\.parquet: {message}.*--skip-bad 1"):
        read(tmp_path)
    records = read(tmp_path, skip_bad=1)
    assert records["a"][:].tolist() == list(range(30))
    assert [bad.where for bad in records.aside] == [str(odd)]


def test_shards_that_are_all_damaged(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"got 3(.|\n)*a\.parquet: must be a(.|\n)*c\.par"):
        read(tmp_path)
    with pytest.raises(DataError, match="at least one shard that can be read; got none among 3"):
        read(tmp_path, skip_bad=3)


def test_a_column_that_is_missing_throughout_a_shard(tmp_path):
    save(tmp_path, {"a": [1, 2], "w": ["x", None]}, "0.parquet")
    save(tmp_path, {"a": pa.nulls(2), "w": pa.nulls(2)}, "1.parquet")
    records = read(tmp_path)
    assert records["w"][:].tolist() == ["x", None, None, None]
    assert same(records["a"][:], np.array([1, 2, np.nan, np.nan]))


@pytest.mark.parametrize("in_memory", [2**20, 0])
def test_categories_of_numbers_are_of_one_type_in_all_shards(tmp_path, in_memory):
    for shard in range(2):
        frame = pd.DataFrame({"c": pd.Categorical([shard, 7, None][: 2 + shard])})
        frame.to_parquet(tmp_path / f"{shard}.parquet")
        frame.to_feather(tmp_path / f"{shard}.feather")
    numbers = read(tmp_path / "*.parquet", in_memory=in_memory)["c"]
    assert same(numbers[:], np.array([0, 7, 1, 7, np.nan]))
    texts = read(tmp_path / "*.feather", in_memory=in_memory)["c"]
    assert texts[:].tolist() == ["0", "7", "1", "7", None]


def test_numbers_of_several_types_are_joined(tmp_path):
    save(tmp_path, {"a": pa.array([1], pa.int8())}, "0.parquet")
    save(tmp_path, {"a": pa.array([2.5], pa.float32())}, "1.parquet")
    assert same(read(tmp_path)["a"][:], np.array([1, 2.5], np.float32))


def test_lists_of_one_length_in_each_shard_but_of_several_in_all(tmp_path):
    save(tmp_path, {"l": [[1, 2], [3, 4]]}, "0.parquet")
    save(tmp_path, {"l": [[1], [2]]}, "1.parquet")
    column = read(tmp_path)["l"]
    assert column.dtype == object
    assert [value.tolist() for value in column[:]] == [[1, 2], [3, 4], [1], [2]]


def test_npy_files_are_shards_if_their_shapes_agree(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    np.save(tmp_path / "b.npy", np.ones((4, 3)))
    records = read(tmp_path)
    assert pick(tmp_path) == "npy"
    assert same(records["X"][:], np.repeat([[0.0] * 3, [1.0] * 3], [2, 4], axis=0))
    assert "each_file='sample'" in caplog.text
    np.save(tmp_path / "c.npy", np.ones((4, 5)))
    with pytest.raises(
        DataError, match=r"c\.npy: must hold values of shape \(3,\) .* got .*\(5,\)"
    ):
        read(tmp_path)


@pytest.mark.parametrize(
    "odd", [np.zeros(2, "M8[s]"), np.array(["a"], object), np.zeros((2, 3)), np.zeros((2, 3, 1))]
)
def test_chain_refuses_what_is_of_several_kinds(odd):
    usual = np.zeros((2, 4)) if odd.ndim == 3 else np.zeros(2)
    with pytest.raises(DataError, match="one kind in all its parts; got"):
        Chain([usual, odd], "it")


def test_chain_of_arrays_of_one_shape_and_of_several():
    ragged = np.empty(1, dtype=object)
    ragged[0] = np.zeros(5)
    column = Chain([np.ones((2, 3)), ragged, np.ones((1, 4))], "it")
    assert [value.shape for value in column[:]] == [(3,), (3,), (5,), (4,)]
