import os

import numpy as np
import pytest

from metamae.data.columns.values import as_column
from metamae.data.files import check_unpacked, find_file, legible
from metamae.data.readers import READERS, pick, read
from metamae.data.readers.base import Reader
from metamae.errors import ConfigError, DataError


@pytest.mark.parametrize("name", READERS.entries)
def test_every_reader_builds_and_describes_itself(name):
    reader = READERS.build(name)
    assert isinstance(reader, Reader)
    assert reader.description and "\n" not in reader.description
    # MNIST and its like have names such as "train-images-idx3-ubyte".
    assert all(end[0] in ".-" and end == end.lower() for end in reader.extensions)


def test_no_extension_is_claimed_twice():
    ends = [end for name in READERS.entries for end in READERS.get(name).extensions]
    assert len(ends) == len(set(ends))


def test_missing_path_offers_a_sibling(tmp_path):
    (tmp_path / "train.npy").touch()
    with pytest.raises(DataError, match=r"got '.*trian.npy'\. Did you mean '.*/train.npy'\?"):
        read(str(tmp_path / "trian.npy"))
    with pytest.raises(DataError, match="no readable folder"):
        read(tmp_path / "no" / "train.npy")


@pytest.mark.parametrize("text", ["", "a" * 5000, "a\0b", "~nobody-of-that-name/x", "a text"])
def test_text_that_is_no_path_is_refused_briefly(text):
    with pytest.raises(DataError, match="must be") as caught:
        read(text)
    assert len(str(caught.value)) < 600


def test_unknown_extension_lists_the_known_ones(tmp_path):
    (tmp_path / "a.abc").write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match=r"got '\.abc'\. Known: .*\.arrow, .*reader='csv'"):
        read(tmp_path / "a.abc")
    assert len(read(tmp_path / "a.abc", reader="csv")) == 1


def test_extensions_are_known_in_any_case(tmp_path):
    (tmp_path / "A.CSV").write_text("a,b\n1,2\n")
    assert list(read(tmp_path / "A.CSV")) == ["a", "b"]


def test_unknown_reader_and_setting_are_config_errors(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'csv'"):
        read(np.zeros((2, 2)), reader="csw")
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="Did you mean 'delimiter'"):
        read(tmp_path / "a.csv", delimeter=",")


def test_reader_of_another_kind_of_data_refuses(tmp_path):
    with pytest.raises(DataError, match="must be a path for this reader; got ndarray"):
        read(np.zeros((2, 2)), reader="csv")
    with pytest.raises(DataError, match="must be an object in memory"):
        read(tmp_path, reader="memory")
    with pytest.raises(DataError, match="must be a file; got a folder"):
        read(tmp_path, reader="parquet")


@pytest.mark.parametrize("end", ["npy", "npz", "csv", "parquet", "png"])
def test_a_pipe_is_refused_instead_of_waited_for(tmp_path, end):
    os.mkfifo(tmp_path / f"a.{end}")
    with pytest.raises(DataError, match=r"got a (pipe|device)"):
        read(tmp_path / f"a.{end}")


@pytest.mark.parametrize("end", ["npy", "npz", "csv", "parquet", "png"])
def test_a_file_without_permission_is_a_data_error(tmp_path, monkeypatch, end):
    (tmp_path / f"a.{end}").write_bytes(b"abc")

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr("io.open", refuse)
    with pytest.raises(DataError, match=rf"a\.{end}.*Permission denied"):
        read(tmp_path / f"a.{end}")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array(1.0), "one value per sample; got a single value"),
        (np.zeros((0, 3)), r"at least one value; got shape \(0, 3\)"),
        (np.zeros((3, 0)), r"at least one value; got shape \(3, 0\)"),
        (np.zeros((2, 2), complex), r"got complex128\. Split it"),
        (np.zeros(2, "m8[s]"), r"got timedelta64\[s\]\. Divide"),
        (np.array([b"a"]), r"got \|S1\. Decode"),
        (np.zeros(2, [("a", "f4")]), "Store each of its fields"),
        (np.array([["a"]]), "one string per sample"),
        (np.array([["2020"]], "M8[D]"), "one date per sample"),
    ],
)
def test_as_column_refuses(array, message):
    with pytest.raises(DataError, match=f"it must .*{message}"):
        as_column("it", array)


def test_as_column_gives_types_that_torch_can_hold():
    assert as_column("it", np.array([1.5], ">f4")).dtype == np.dtype("=f4")
    assert as_column("it", np.array([1.5], np.longdouble)).dtype == np.float64
    kept = np.zeros((2, 3), np.float16)
    assert as_column("it", kept) is kept


def test_bomb_check_needs_both_limits():
    check_unpacked("it", packed=10, unpacked=640, most=100)
    check_unpacked("it", packed=10, unpacked=10_000, most=20_000)
    with pytest.raises(DataError, match="max_bytes=641 would do"):
        check_unpacked("it", packed=10, unpacked=641, most=100)


def test_legible_names_the_owner_and_keeps_the_cause():
    with pytest.raises(DataError, match=r"^it must do; got .*: KeyError. Try.$") as caught:
        with legible("it", "must do", "Try."):
            raise KeyError
    assert isinstance(caught.value.__cause__, KeyError)


def test_find_file_expands_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "a").touch()
    assert find_file("~/a") == tmp_path / "a"


def test_a_folder_is_what_most_of_its_files_are(tmp_path):
    for name in ("a.wav", "b.wav", "cover.png"):
        (tmp_path / name).touch()
    assert pick(tmp_path) == "audio"
    (tmp_path / "c.png").touch()
    (tmp_path / "d.png").touch()
    assert pick(tmp_path) == "images"
