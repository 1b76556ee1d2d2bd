import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.media.labels import check_labels, label_columns
from metamae.errors import ConfigError, DataError

NAMES = ["train/01.png", "train/02.png", "train/10.png"]


def labels(folder, text, *, names=NAMES, taken=(), file="labels.csv", asked=None):
    path = folder / file
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return label_columns(asked or str(path), folder, "set", names, set(taken))


@pytest.mark.parametrize(
    "named",
    [
        NAMES,
        [f"./{name}" for name in NAMES],
        [name.replace("/", "\\") for name in NAMES],
        ["train/01", "train/02", "train/10"],
        ["01.png", "02.png", "10.png"],
        ["elsewhere/01.png", "elsewhere/02.png", "elsewhere/10.png"],
        ["01", "02", "10"],
    ],
)
def test_files_are_named_by_path_or_name_with_or_without_extension(tmp_path, named):
    rows = [f"{value},x,{name}" for value, name in zip((30, 10, 20), named[::-1], strict=True)]
    found = labels(tmp_path, "\n".join(["size,kind,id", *rows]))
    assert list(found) == ["size", "kind"]
    assert found["size"].tolist() == [20, 10, 30]
    assert found["size"].dtype == np.int64


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("a.tsv", "id\tkind\n01\ta\n02\tb\n10\tc\n"),
        ("a.csv", "id;kind\n01;a\n02;b\n10;c\n"),
        ("a.csv", "\ufeffid,kind\r\n01,a\r\n02,b\r\n10,c\r\n"),
        ("a.CSV", 'id,kind\n"01","a"\n02,b\n10,c\n'),
    ],
)
def test_dialects(tmp_path, file, text):
    assert labels(tmp_path, text, file=file)["kind"].tolist() == ["a", "b", "c"]


def test_parquet_with_numbers_for_names(tmp_path):
    table = pa.table({"kind": ["b", "a"], "id": pa.array([2, 1], pa.int32())})
    pq.write_table(table, tmp_path / "a.parquet")
    found = label_columns(str(tmp_path / "a.parquet"), tmp_path, "set", ["1.wav", "2.wav"], set())
    assert found["kind"].tolist() == ["a", "b"]


def test_files_without_a_row_have_missing_values_and_rows_without_a_file_are_counted(
    tmp_path, caplog
):
    caplog.set_level(logging.INFO, "metamae")
    text = "id,kind,size,mass\n99,z,9,9.5\n10,c,3,1.5\n01,a,1,NA\n"
    found = labels(tmp_path, text)
    assert found["kind"].tolist() == ["a", None, "c"]
    np.testing.assert_array_equal(found["size"], [1, np.nan, 3])
    np.testing.assert_array_equal(found["mass"], [np.nan, np.nan, 1.5])
    assert "1 rows name none of the files that were read" in caplog.text
    assert "no row for 1 files, whose fields are missing: train/02.png" in caplog.text


def test_fields_that_exist_are_left_out(tmp_path):
    assert list(labels(tmp_path, "image,rate\n01,5\n02,6\n10,7\n", taken=["rate"])) == []


def test_equal_names_in_several_folders_need_their_paths(tmp_path):
    names = ["a/1.png", "b/1.png"]
    text = "file,kind\n./b/1.png,x\na\\1.png,y\n"
    assert labels(tmp_path, text, names=names)["kind"].tolist() == ["y", "x"]
    with pytest.raises(DataError, match=r"such as 'a/1\.png'; got 0 of 2"):
        labels(tmp_path, "file,kind\n1.png,x\n", names=names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,kind\n7,a\n8,b\n", r"names the files.* got 0 of 3 named by any of 'id', 'kind'"),
        ("id,kind\n01,a\n01,b\n", r"one row per file; got '01' in several rows of column 'id'"),
        ("id,id\n01,a\n", "name every column differently"),
        ("id,kind\n", "at least one row"),
        ("", "complete table of labels"),
        ("id,kind\n01,a\n02\n", "complete table of labels"),
        (b"id,kind\n01,\xff\xfe\n", "complete table of labels"),
    ],
)
def test_bad_tables(tmp_path, text, message):
    with pytest.raises(DataError, match=rf"labels\.csv.*{message}"):
        labels(tmp_path, text)


def test_a_table_is_found_if_it_is_alone_and_names_half_of_the_files(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    assert label_columns("auto", tmp_path, "set", NAMES, set()) == {}
    found = labels(tmp_path, "id,kind\n01,a\n02,b\n", asked="auto")
    assert found["kind"].tolist() == ["a", "b", None]
    assert labels(tmp_path, "id,kind\n01,a\n", asked="auto") == {}
    assert "no labels from labels.csv" in caplog.text
    assert labels(tmp_path, b"\xff\xfe", asked="auto") == {}
    assert labels(tmp_path, "id,kind\n01,a\n02,b\n", file=".hidden.csv", asked="auto") == {}
    (tmp_path / "labels.csv").write_text("id,kind\n01,a\n02,b\n")
    assert labels(tmp_path, "x,y\n1,2\n", file="other.tsv", asked="auto") == {}
    assert "several tables (labels.csv, other.tsv)" in caplog.text


def test_a_table_is_looked_for_in_the_folder_too(tmp_path):
    text = "id,kind\n01,a\n02,b\n10,c\n"
    assert len(labels(tmp_path, text, asked="labels.csv")["kind"]) == 3
    with pytest.raises(DataError, match=r"something that exists; got 'lables\.csv'"):
        labels(tmp_path, text, asked="lables.csv")
    assert labels(tmp_path, text, asked="none") == {}


def test_the_setting_is_checked(tmp_path):
    for value in ("auto", "none", "a.csv", "A.TSV", "x.parquet", "sub/a.csv"):
        assert check_labels("Owner.labels", value) == value
    for value in ("", None, 3, "label", "labels.xlsx", tmp_path / "a.csv"):
        with pytest.raises(ConfigError, match=r"Owner\.labels must"):
            check_labels("Owner.labels", value)


@given(order=st.permutations(range(6)), absent=st.sets(st.integers(0, 5), max_size=4))
@settings(max_examples=30, deadline=None)
def test_rows_find_their_files_in_any_order(tmp_path_factory, order, absent):
    names = [f"{number:03d}.wav" for number in range(6)]
    rows = [f"{number:03d},{number * 7}" for number in order if number not in absent]
    folder = tmp_path_factory.mktemp("labels")
    found = labels(folder, "\n".join(["id,value", *rows]), names=names)["value"]
    expected = [np.nan if number in absent else number * 7 for number in range(6)]
    np.testing.assert_array_equal(found.astype(float), expected)
