import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.readers import read
from metamae.errors import DataError

from .damage import same
from .test_npy import ARRAYS


@given(array=ARRAYS)
@settings(max_examples=30, deadline=None)
def test_arrays_lists_and_dicts_of_one_content_agree(array):
    for data in (array, list(array), {"X": array}, {"X": list(array)}):
        column = read(data)["X"]
        assert column.dtype == array.dtype
        np.testing.assert_array_equal(column, array)
    assert np.shares_memory(read(array)["X"], array)


@given(st.lists(st.none() | st.text(max_size=5), min_size=1).filter(any))
@settings(max_examples=30, deadline=None)
def test_strings_come_back(texts):
    for data in (
        texts,
        {"X": texts},
        np.array(texts, dtype=object),
        pd.Series(texts, dtype=object),
    ):
        assert read(data)["X"].tolist() == texts


def test_strings_are_never_paths(tmp_path):
    (tmp_path / "a.csv").write_text("a\n1\n")
    path = str(tmp_path / "a.csv")
    assert read([path, "b"])["X"].tolist() == [path, "b"]


def test_lists_of_different_lengths(tmp_path):
    column = read([np.zeros(3, np.float32), np.ones(2)])["X"]
    expected = np.empty(2, object)
    expected[:] = [np.zeros(3), np.ones(2)]
    assert same(column, expected)
    assert {value.dtype for value in column} == {np.dtype(float)}
    assert [value.tolist() for value in read([[1, 2], [3]])["X"]] == [[1, 2], [3]]


def test_dict_of_columns():
    data = {
        "X": np.zeros((3, 2)),
        "y": [1, None, 3],
        "t": ["a", None, "c"],
        "day": np.zeros(3, "M8[D]"),
    }
    records = read(data)
    assert records.source == "dict"
    assert same(records["y"], np.array([1, np.nan, 3]))
    assert records["t"].tolist() == ["a", None, "c"]
    assert list(read(data, field="y")) == ["y"]
    with pytest.raises(DataError, match="got field='z'"):
        read(data, field="z")


def test_data_frames_of_three_libraries_agree():
    frame = pd.DataFrame(
        {"a": [1, 2], "b": ["x", None], "c": pd.Categorical(["u", None]), "f": [1.5, np.nan]},
        index=pd.Index(["r", "s"], name="row"),
    )
    polar = pl.DataFrame({"a": [1, 2], "b": ["x", None], "c": ["u", None], "f": [1.5, None]})
    polar = polar.with_columns(pl.col("c").cast(pl.Categorical))
    arrow = pa.Table.from_pandas(frame, preserve_index=False)
    expected = {
        "a": np.array([1, 2]),
        "b": np.array(["x", None], object),
        "c": np.array(["u", None], object),
        "f": np.array([1.5, np.nan]),
    }
    for data, source in ((frame, "DataFrame"), (polar, "DataFrame"), (arrow, "Table")):
        records = read(data)
        assert records.source == source
        assert list(records) == list(expected)
        for name, column in expected.items():
            assert same(column, records[name]), name


def test_pandas_is_not_imported_for_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "pandas")
    assert len(read(np.zeros((2, 2)))) == 2
    assert "pandas" not in sys.modules


def test_pandas_extension_types():
    records = read({"n": pd.Series([1, None], dtype="Int64"), "c": pd.Series(["a", pd.NA])})
    assert same(records["n"], np.array([1, np.nan]))
    assert records["c"].tolist() == ["a", None]
    assert read(["a", pd.NA])["X"].tolist() == ["a", None]


def test_records_are_returned_as_they_are():
    records = read({"a": [1, 2], "b": [3, 4]})
    assert read(records) is records
    assert list(read(records, field="b")) == ["b"]


def test_tensors():
    records = read(torch.ones(2, 3, requires_grad=True))
    assert records.source == "Tensor"
    np.testing.assert_array_equal(records["X"], np.ones((2, 3), np.float32))
    assert [v.tolist() for v in read([torch.ones(1), torch.ones(2)])["X"]] == [[1], [1, 1]]
    for tensor in (torch.ones(2, 2).to_sparse(), torch.ones(2, 2, dtype=torch.bfloat16)):
        with pytest.raises(DataError, match=r"Tensor must convert .* to_dense"):
            read(tensor)


def test_masked_values_are_missing():
    masked = np.ma.masked_array([[1, 2], [3, 4]], [[False, True], [False, False]])
    assert same(read(masked)["X"], np.array([[1, np.nan], [3, 4]]))
    assert read(np.ma.masked_array([[1, 2]]))["X"].dtype.kind == "i"


class Sparse:
    def toarray(self):
        raise AssertionError


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "got None. Accepted are: a path; an array"),
        (3, "got 'int'. Accepted are"),
        (b"bytes", "got 'bytes'"),
        (iter([1]), "got 'list_iterator'"),
        (np.ndarray, "got 'type'"),
        (Sparse(), "got 'Sparse'. It is sparse"),
        (pl.LazyFrame({"a": [1]}), r"got 'LazyFrame'. It is lazy: data\.collect\(\)"),
        ((np.zeros((2, 2)), np.zeros(2)), "got 'tuple'. Use a list .* {'X': X, 'y': y}"),
        ([], "at least one sample; got 0 values"),
        ([None, None], "at least one sample; got 2 values"),
        ({}, "at least one field"),
        ({1: [1]}, "names as keys; got 1"),
        ({"X": 3}, "dict, 'X' must be data"),
        ({"a": [1], "b": [1, 2]}, "same number of samples"),
        (np.zeros((0, 2)), "at least one value"),
        (np.zeros(3), "one number per sample"),
        ([1, 2.5], "one number per sample"),
        (np.zeros((2, 2), complex), "complex128. Split"),
        (np.array([["a", 1]], object), "got object. Convert"),
        (["a", 1], "strings only or arrays only; got 1 strings, and 'int' at position 1"),
        ([b"a"], "position 0, must be an array .* got 'bytes'"),
        ([{"a": 1}], "got 'dict'. A data frame"),
        ([np.zeros(2), None], "position 1, must be an array"),
        ([np.zeros((2, 2)), np.zeros(2)], r"one number of axes; got shape \(2, 2\) .* \(2,\)"),
        ([[1, [2]], [1, 2]], "position 0 must convert to a numpy array"),
        ([np.zeros(0), np.zeros(2)], "at least one value"),
        ({"x": [10**30, 1]}, "got object"),
        (pd.DataFrame(), "at least one row"),
        (pd.DataFrame({"a": [1, "x"]}), "columns of one type each; .*column a"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "got 'a' twice"),
        (pd.DataFrame({"a": [b"x"]}), "column 'a' must .* got binary"),
        (pa.table({"": [1]}), "no name for column 1"),
    ],
)
def test_refuses(data, message):
    with pytest.raises(DataError, match=message):
        read(data)


class Given(torch.utils.data.Dataset):
    """A data set of PyTorch that makes its items from their positions."""

    def __init__(self, num, make):
        self.num, self.make = num, make

    def __len__(self):
        return self.num

    def __getitem__(self, position):
        if not 0 <= position < self.num:
            raise IndexError(position)
        return self.make(position)


def test_torch_data_set_is_read_item_by_item():
    asked = []

    def make(n):
        asked.append(n)
        return torch.full((2, 3), float(n)), n % 4

    records = read(Given(1000, make))
    assert len(asked) < 200
    assert list(records) == ["X", "y"] and len(records) == 1000
    assert records["X"].shape == (1000, 2, 3) and records["X"].dtype == np.float32
    assert records["y"].shape == (1000,) and records["y"].dtype == np.int64
    order = np.random.default_rng(0).permutation(1000)[:20]
    asked.clear()
    assert same(records["X"][order][:, 0, 0], order.astype(np.float32))
    assert asked == order.tolist()
    assert records["y"][7] == 3
    assert records.where(3) == "Given, item 3"


def test_torch_items_of_several_kinds():
    items = Given(
        5, lambda n: {"seq": np.arange(n + 1), "text": f"a{n}", "gap": (None, 1.5)[n % 2]}
    )
    records = read(items)
    assert [len(value) for value in records["seq"][:]] == [1, 2, 3, 4, 5]
    assert records["text"][[1, 3]].tolist() == ["a1", "a3"]
    assert same(records["gap"][:], np.array([np.nan, 1.5, np.nan, 1.5, np.nan]))
    assert list(read(items, field="text")) == ["text"]
    assert list(read(Given(3, lambda n: (n, n, n)))) == ["0", "1", "2"]
    assert list(read(Given(3, lambda n: np.ones(2)))) == ["X"]


def test_torch_tensors_and_parts_of_data_sets():
    whole = torch.utils.data.TensorDataset(torch.arange(12.0).reshape(4, 3), torch.arange(4))
    records = read(whole)
    assert isinstance(records["X"], np.ndarray) and list(records) == ["X", "y"]
    part = read(torch.utils.data.Subset(whole, [2, 1]))
    assert same(part["X"][:], records["X"][[2, 1]]) and part["y"][:].tolist() == [2, 1]


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter([1])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Stream(), r"Stream must have a length .* list\(dataset\) would do"),
        (Given(0, None), "Given must hold at least one item"),
        (Given(3, lambda n: 1 / 0), "Given must give item 0; got an error: division by zero"),
        (Given(3, lambda n: object()), "item 0, field 'X' must be a number, a string or an array"),
        (Given(3, lambda n: (1, "a")[n % 2]), "values of one kind; got strings and numbers"),
        (Given(3, lambda n: np.zeros((1,) * n)), "values of one kind; got .0, 1, 2. axes"),
        (Given(3, lambda n: None), "must hold a value in some item"),
        (Given(3, lambda n: {"a": 1} if n < 1 else {"b": 1}), "field 'a' in every item; got b"),
    ],
)
def test_torch_data_sets_that_cannot_be_read(data, message):
    with pytest.raises(DataError, match=message):
        read(data)


@pytest.mark.parametrize(
    ("odd", "usual"),
    [
        *((odd, torch.zeros(3)) for odd in (torch.zeros(4), "a", None)),
        *(("a", 1.5), (1.5, "a"), (1.5, 1), (None, 1)),
    ],
)
def test_a_torch_item_unlike_the_others_is_named(odd, usual):
    records = read(Given(1000, lambda n: odd if n == 7 else usual))
    assert np.shape(records["X"][6]) == np.shape(usual)
    with pytest.raises(DataError, match=r"item 7: field 'X' must be like") as caught:
        records["X"][np.arange(10)]
    assert caught.value.sample == 7
