import datetime
import decimal
import logging
import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.readers import read
from metamae.errors import DataError

from .damage import refuse_or_read, same


def ragged(*arrays):
    column = np.empty(len(arrays), dtype=object)
    column[:] = arrays
    return column


def save(folder, table, name="a.parquet", rows=None, **options):
    path = folder / name
    table = table if isinstance(table, pa.Table) else pa.table(table)
    if name.endswith(".parquet"):
        pq.write_table(table, path, row_group_size=rows, **options)
    else:
        new = pa.ipc.new_stream if "stream" in name else pa.ipc.new_file
        packed = pa.ipc.IpcWriteOptions(compression="lz4" if "packed" in name else None)
        with new(path, table.schema, options=packed) as writer:
            writer.write_table(table, max_chunksize=rows)
    return path


NAMES = ["a.parquet", "a.arrow", "a.feather", "stream.arrow"]


@given(
    rows=st.lists(
        st.tuples(
            st.integers(-(2**63), 2**63 - 1),
            st.none() | st.floats(width=32, allow_nan=False),
            st.none() | st.text(max_size=5),
            st.lists(st.integers(0, 9), min_size=1, max_size=3),
        ),
        min_size=1,
        max_size=6,
    ),
    name=st.sampled_from(NAMES),
)
@settings(max_examples=30, deadline=None)
def test_round_trip(rows, name):
    i, f, s, n = map(list, zip(*rows, strict=True))
    table = pa.table(
        {"i": i, "f": pa.array(f, pa.float32()), "s": pa.array(s, pa.string()), "n": n}
    )
    with TemporaryDirectory() as folder:
        records = read(save(Path(folder), table, name))
    assert same(records["i"], np.array(i))
    assert same(records["f"], np.array(f, np.float32))
    assert same(records["s"], np.array(s, object))
    assert [list(value) for value in records["n"]] == n


CASES = {
    "small": (pa.array([1, 2], pa.uint8()), np.array([1, 2], np.uint8)),
    "gap": (pa.array([1, None]), np.array([1, np.nan])),
    "half": (pa.array([1.5, None], pa.float16()), np.array([1.5, np.nan], np.float16)),
    "flag": (pa.array([True, None]), np.array([1, np.nan])),
    "none": (pa.nulls(2), np.array([np.nan, np.nan])),
    "decimal": (pa.array([decimal.Decimal("1.5"), None]), np.array([1.5, np.nan])),
    "date": (pa.array([datetime.date(2020, 1, 1), None]), np.array(["2020-01-01", "NaT"], "M8[D]")),
    "zone": (pa.array([1, None], pa.timestamp("ms", "CET")), np.array([1, "NaT"], "M8[ms]")),
    "clock": (pa.array([datetime.time(1, 0, 1), None]), np.array([3601.0, np.nan])),
    "span": (pa.array([2, None], pa.duration("s")), np.array([2.0, np.nan])),
    "text": (pa.array(["a", None], pa.large_string()), np.array(["a", None], object)),
    "words": (pa.array(["a", None]).dictionary_encode(), np.array(["a", None], object)),
    "equal": (pa.array([[1, 2], [3, 4]]), np.array([[1, 2], [3, 4]])),
    "fixed": (pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)), np.array([[1, 2], [3, 4]], "i1")),
    "nested": (pa.array([[[1], [2]], [[3], [4]]]), np.array([[[1], [2]], [[3], [4]]])),
    "ragged": (pa.array([[1.0, None], [3.0]]), ragged(np.array([1, np.nan]), np.array([3.0]))),
    "points": (
        pa.array([[[1, 2], [3, 4], [5, 6]], [[7, 8]]]),
        ragged(np.array([[1, 2], [3, 4], [5, 6]]), np.array([[7, 8]])),
    ),
    "series": (
        pa.array([[[1, 2, 3], [4, 5, 6]], [[7], [8]]]),
        ragged(np.array([[1, 2, 3], [4, 5, 6]]), np.array([[7], [8]])),
    ),
    "tensor": (
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12.0).reshape(2, 3, 2)),
        np.arange(12.0).reshape(2, 3, 2),
    ),
}


# Loaded as a whole, and left in the file.
LIMITS = pytest.mark.parametrize("in_memory", [2**20, 0])


@LIMITS
@pytest.mark.parametrize("name", [*NAMES, "packed.arrow"])
@pytest.mark.parametrize("case", CASES)
def test_types(tmp_path, case, name, in_memory):
    values, expected = CASES[case]
    # In two pieces and sliced, so that no conversion overlooks an offset.
    table = pa.concat_tables([pa.table({"v": values}), pa.table({"v": values}).slice(1)])
    column = read(save(tmp_path, table, name), in_memory=in_memory)["v"]
    twice = np.concatenate([expected, expected[1:]])
    assert column.dtype == twice.dtype and column.shape == twice.shape
    for index in (np.arange(3), np.array([2, 0]), np.array([1])):
        found = column[index]
        if expected.dtype == object:
            assert same(found, twice[index])
        else:
            assert found.dtype == twice.dtype
            np.testing.assert_allclose(found.astype(float), twice[index].astype(float))


def test_categories_that_are_numbers_become_strings(tmp_path):
    table = {"v": pa.array([7, None, 8]).dictionary_encode()}
    assert read(save(tmp_path, table, "a.arrow"))["v"].tolist() == ["7", None, "8"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pa.array([b"a"]), "must hold numbers, dates, strings or lists .* got binary. Drop"),
        (pa.array([{"a": 1}]), "got struct"),
        (pa.array([["a"]]), "numbers in its lists; got string. Join"),
        (pa.array([[1], None]), "a list in every row; got a missing one at position 1"),
        (pa.array([[[1], None]]), "rectangular array in every row|inner list"),
        (pa.array([[[1], [2, 3]], [[1], [2]]]), "rectangular array .* position 0"),
        (pa.array([], pa.int64()), "at least one row"),
        (pa.array([[], []], pa.list_(pa.int64())), "at least one value"),
    ],
)
@LIMITS
@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "packed.arrow"])
def test_refuses(tmp_path, values, message, name, in_memory):
    with pytest.raises(DataError, match=message):
        read(save(tmp_path, {"v": values}, name), in_memory=in_memory)


@pytest.mark.parametrize("name", NAMES)
def test_field_avoids_an_unfit_column(tmp_path, name):
    path = save(tmp_path, {"b": [b"x", b"y"], "a": [1, 2]}, name)
    records = read(path, field="a")
    assert records["a"].tolist() == [1, 2]
    assert records.where(1) == f"{path}, row 1"
    with pytest.raises(DataError, match=r"got field='A'.*Known: a, b"):
        read(path, field="A")


def test_index_of_pandas_is_left_out(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    pd.DataFrame({"a": [1, 2]}, index=["x", "y"]).to_parquet(tmp_path / "a.parquet")
    assert list(read(tmp_path / "a.parquet")) == ["a"]
    assert "index that pandas stored" in caplog.text


def test_folder_names_are_not_columns(tmp_path):
    (tmp_path / "kind=1").mkdir()
    assert list(read(save(tmp_path / "kind=1", {"a": [1]}))) == ["a"]


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow"])
def test_bomb_is_refused(tmp_path, name):
    table = pa.table({"a": np.zeros(100_000)})
    path = tmp_path / name
    if name == "a.parquet":
        pq.write_table(table, path)
    else:
        options = pa.ipc.IpcWriteOptions(compression="zstd")
        with pa.ipc.new_file(path, table.schema, options=options) as writer:
            writer.write_table(table)
    with pytest.raises(DataError, match="must not expand beyond 1000 bytes"):
        read(path, max_bytes=1000)


def test_damaged_offsets_are_not_followed(tmp_path):
    path = save(tmp_path, {"s": ["a", "bb", "ccc"]}, "a.arrow")
    raw, offsets = path.read_bytes(), struct.pack("<4i", 0, 1, 3, 6)
    assert raw.count(offsets) == 1
    path.write_bytes(raw.replace(offsets, struct.pack("<4i", 0, 2**30, 3, 6)))
    with pytest.raises(DataError, match=r"a\.arrow must be a complete Parquet or Arrow file"):
        read(path)


@LIMITS
@pytest.mark.parametrize("name", [*NAMES, "packed.arrow"])
def test_damage_is_refused_or_harmless(tmp_path, name, in_memory):
    values = {"a": [1, None, 3], "s": ["x", None, "z"], "l": [[1.0, 2.0], [3.0], []]}
    path = save(tmp_path, values, name, rows=2)
    assert refuse_or_read(path, in_memory=in_memory) > 30
