import numpy as np
import pytest

from metamae.data.columns.base import Subset
from metamae.data.records import Records
from metamae.errors import DataError


class Lazy:
    """A column that decodes on access and counts how often."""

    dtype, shape, reads = np.dtype(np.int64), (10,), 0

    def __len__(self):
        return 10

    def __getitem__(self, index):
        self.reads += 1
        return np.arange(10)[index] * 100


def records(**settings):
    columns = {"a": np.arange(10), "b": np.arange(20).reshape(10, 2)}
    return Records(columns, "file.csv", **settings)


def test_columns():
    data = records()
    assert len(data) == 10
    assert list(data) == ["a", "b"]
    assert data["b"].shape == (10, 2)
    assert list(data.without(["a", "nothing"])) == ["b"]
    assert list(data.only(["b", "a"])) == ["b", "a"]


def test_subsets_of_subsets():
    lazy = Lazy()
    data = Records({"a": lazy}, "folder")
    part = data.subset(np.array([8, 2, 5])).subset(np.array([2, 0]))
    assert lazy.reads == 0
    assert len(part) == 2
    assert part["a"].shape == (2,)
    assert part["a"].dtype == np.int64
    assert isinstance(part["a"], Subset)
    assert part["a"].column is lazy  # depth never grows
    assert part["a"][np.array([1, 0])].tolist() == [800, 500]
    assert part["a"][:].tolist() == [500, 800]


def test_samples_keep_their_place_in_the_source():
    data = records(row_word="row", first_row=2)
    part = data.subset(np.array([7, 3])).subset(np.array([1]))
    assert data.where(0) == "file.csv, row 2"
    assert part.where(0) == "file.csv, row 5"
    assert part.without(["a"]).where(0) == "file.csv, row 5"
    assert part.only(["a"]).where(0) == "file.csv, row 5"
    named = records(names=[f"{n}.png" for n in range(10)])
    assert named.subset(np.array([4])).where(0) == "file.csv, 4.png"


def test_sampling():
    data = records()
    some = data.sample(4, np.random.default_rng(0))
    values = some["a"][:]
    assert len(values) == 4
    assert (np.diff(values) > 0).all()
    again = data.sample(4, np.random.default_rng(0))
    assert np.array_equal(again["a"][:], values)
    assert some.where(0) == f"file.csv, sample {values[0]}"
    assert data.sample(10, np.random.default_rng(0)) is data


def test_mistakes_are_named():
    with pytest.raises(DataError, match=r"file must hold at least one field; got none\."):
        Records({}, "file")
    rule = r"file: every field must have the same number of samples; got \{'a': 3, 'b': 2\}\."
    with pytest.raises(DataError, match=rule):
        Records({"a": np.arange(3), "b": np.arange(2)}, "file")
    with pytest.raises(DataError, match=r"file\.csv has no field 'B'\. Did you mean|Known: a, b"):
        records()["B"]
    with pytest.raises(DataError, match=r"has no field 'c'\. Known: a, b\."):
        records().only(["a", "c"])
    with pytest.raises(DataError, match=r"file\.csv must hold at least one field; got none\."):
        records().without(["a", "b"])
