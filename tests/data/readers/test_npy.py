from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metamae.data.readers import read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read

NUMBERS = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.unsigned_integer_dtypes(endianness="="),
    hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
)
ARRAYS = hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=2, max_dims=4, max_side=4))


def save(folder, array, **options):
    np.save(folder / "a.npy", array, **options)
    return folder / "a.npy"


@given(array=ARRAYS, fortran=st.booleans())
@settings(max_examples=50, deadline=None)
def test_round_trip(array, fortran):
    with TemporaryDirectory() as folder:
        column = read(save(Path(folder), np.asfortranarray(array) if fortran else array))["X"]
        assert column.dtype == array.dtype
        np.testing.assert_array_equal(column, array)


def test_is_mapped_and_not_copied(tmp_path):
    records = read(save(tmp_path, np.zeros((5, 3))))
    assert isinstance(records["X"], np.memmap)
    assert records.where(2) == f"{tmp_path / 'a.npy'}, sample 2"


def test_strings_become_objects(tmp_path):
    column = read(save(tmp_path, np.array(["a", "bcd"])))["X"]
    assert column.dtype == object
    assert column.tolist() == ["a", "bcd"]


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros(3), r"got shape \(3,\), one number per sample\. Reshape it to \(S, 1\)"),
        (np.float64(1), "got a single value"),
        (np.zeros((0, 2)), "at least one value"),
        (np.array([None, "a"]), "numbers or strings; got pickled objects, which are never"),
        (np.zeros((2, 2), complex), "complex128"),
    ],
)
def test_refuses(tmp_path, array, message):
    path = save(tmp_path, array, allow_pickle=True)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path} must ")


def test_refuses_a_second_array_in_the_file(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.save(file, np.zeros((2, 2)))
        np.save(file, np.ones((2, 2)))
    with pytest.raises(DataError, match="exactly one array"):
        read(tmp_path / "a.npy")


def test_refuses_another_format_by_that_name(tmp_path):
    np.savez(tmp_path / "a.npz", X=np.zeros((2, 2)))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"must be a complete \.npy file"):
        read(tmp_path / "a.npy")


def test_field(tmp_path):
    path = save(tmp_path, np.zeros((2, 2)))
    assert list(read(path, field="X")) == ["X"]
    with pytest.raises(DataError, match="got field='x'"):
        read(path, field="x")


def test_damage_is_refused_or_harmless(tmp_path):
    assert refuse_or_read(save(tmp_path, np.arange(12.0).reshape(4, 3))) > 30


def test_files_that_are_a_sample_each(tmp_path):
    for number in range(4):
        folder = tmp_path / f"c{number % 2}"
        folder.mkdir(exist_ok=True)
        np.save(folder / f"{number}.npy", np.full((3, number + 1), number, np.int16))
    records = read(tmp_path, each_file="sample")
    assert records["label"].tolist() == ["c0", "c0", "c1", "c1"]
    assert records["X"].sizes.tolist() == [[3, 1], [3, 3], [3, 2], [3, 4]]
    assert [value.tolist() for value in records["X"][[2, 0]]] == [[[1, 1]] * 3, [[0]] * 3]
    assert records["X"].stretch(3, 1, 3).tolist() == [[3, 3]] * 3
    assert records.where(2) == f"{tmp_path}, c1/1.npy"
    np.save(tmp_path / "c0" / "odd.npy", np.zeros(3))
    (tmp_path / "c1" / "bad.npy").write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"got 2\.(.|\n)*odd\.npy: must have 2 axes like the others"
    ):
        read(tmp_path, each_file="sample")
    assert len(read(tmp_path, each_file="sample", skip_bad=2)) == 4
    same = read(tmp_path / "c0", each_file="sample", skip_bad=1, field="X")
    assert list(same) == ["X"] and same["X"].dtype == object


def test_files_of_one_shape_that_are_a_sample_each(tmp_path):
    for number in range(3):
        np.save(tmp_path / f"{number}.npy", np.full(2, number, (np.int8, np.float32)[number % 2]))
    records = read(tmp_path, each_file="sample")
    assert records["X"].shape == (3, 2) and records["X"].dtype == np.float32
    assert records["X"][:].tolist() == [[0, 0], [1, 1], [2, 2]]
    with pytest.raises(ConfigError, match=r"NpyReader\.each_file must be one of"):
        read(tmp_path, each_file="samples")
