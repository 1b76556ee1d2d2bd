import gzip
import io
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.readers import read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read, same


def save(folder, text, name="a.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


TABLES = st.lists(
    st.tuples(
        st.integers(-(2**53), 2**53),
        st.none() | st.floats(allow_nan=False),
        st.text(st.characters(exclude_categories=["C", "Z"]), max_size=5).map(lambda s: "t" + s),
    ),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("name", ["tab", "\\t", "\t"])
def test_tabs_by_names_that_can_be_typed(tmp_path, name):
    (tmp_path / "a.csv").write_text("a,b\tc\n1\t2\n")
    assert list(read(tmp_path / "a.csv", delimiter=name)) == ["a,b", "c"]


@given(rows=TABLES, delimiter=st.sampled_from(",;\t|"))
@settings(max_examples=50, deadline=None)
def test_round_trip(rows, delimiter):
    frame = pd.DataFrame(rows, columns=["i", "f", "s"]).astype({"f": float})
    text = io.StringIO()
    frame.to_csv(text, index=False, sep=delimiter)
    with TemporaryDirectory() as folder:
        records = read(save(Path(folder), text.getvalue()))
    assert records["i"].tolist() == frame["i"].tolist()
    np.testing.assert_array_equal(np.asarray(records["f"], float), frame["f"].to_numpy())
    assert records["s"].tolist() == frame["s"].tolist()


def test_types_and_missing_values(tmp_path):
    text = (
        "i,f,gap,flag,maybe,day,time,text\n"
        "1,1.5,1,true,true,2020-01-01,2020-01-01 10:00:00,x\n"
        "2,inf,?,false,,,NA,null\n"
        '3,-2e3,3,true,false,2020-01-03,2020-01-01 12:00:00,"a, b\nc"\n'
    )
    records = read(save(tmp_path, text))
    expected = {
        "i": np.array([1, 2, 3]),
        "f": np.array([1.5, np.inf, -2000]),
        "gap": np.array([1, np.nan, 3]),
        "flag": np.array([True, False, True]),
        "maybe": np.array([1, np.nan, 0]),
        "day": np.array(["2020-01-01", "NaT", "2020-01-03"], "M8[D]"),
        "time": np.array(["2020-01-01T10", "NaT", "2020-01-01T12"], "M8[s]"),
        "text": np.array(["x", None, "a, b\nc"], object),
    }
    assert list(records) == list(expected)
    for name, column in expected.items():
        assert same(column, records[name]), name
    assert records.where(1) == f"{tmp_path / 'a.csv'}, row 3"


def test_column_without_values_is_missing_numbers(tmp_path):
    assert np.isnan(read(save(tmp_path, "a,b\n1,\n2,NA\n"))["b"]).all()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a,b\n1,2\n", "a.csv"),
        ("\ufeffa,b\r\n1,2\r\n", "a.csv"),
        ("\n\na,b\n1,2", "a.csv"),
        ("a\tb\n1\t2\n", "a.tsv"),
        ('"a";"b"\n1;2\n', "a.csv"),
        (gzip.compress(b"a|b\n1|2\n", mtime=0), "a.csv.gz"),
        (gzip.compress(b"a,b\n1,2\n", mtime=0), "misnamed.csv"),
    ],
)
def test_spellings_of_one_table(tmp_path, text, name):
    records = read(save(tmp_path, text, name))
    assert {k: v.tolist() for k, v in records.columns.items()} == {"a": [1], "b": [2]}


def test_tabs_win_in_a_tsv_file(tmp_path):
    assert list(read(save(tmp_path, "a,x,y\tb\n1\t2\n", "a.tsv"))) == ["a,x,y", "b"]


def test_single_column_keeps_empty_lines_as_missing(tmp_path):
    assert read(save(tmp_path, "name\nfoo\n\nbar\n"))["name"].tolist() == ["foo", None, "bar"]


def test_without_header(tmp_path):
    path = save(tmp_path, "1,2\n3,4\n")
    with pytest.raises(DataError, match=r"must have a header line .*: 1,2.* header=False"):
        read(path)
    records = read(path, header=False)
    assert {k: v.tolist() for k, v in records.columns.items()} == {"0": [1, 3], "1": [2, 4]}
    assert records.where(0).endswith("row 1")


def test_decimal_comma(tmp_path):
    path = save(tmp_path, "a;b\n1,5;2\n2,5;3\n")
    with pytest.raises(DataError, match=r"'a' must .* got '1,5'\. decimal=',' would do"):
        read(path)
    assert read(path, decimal=",")["a"].tolist() == [1.5, 2.5]


def numbers_with_a_slip(num=20):
    return "v,w\n" + "".join(f"{i},1\n" for i in range(num)) + "oops,1\n7,1\n"


def test_a_string_among_numbers_is_named_with_its_line(tmp_path):
    path = save(tmp_path, numbers_with_a_slip())
    with pytest.raises(
        DataError, match=r"a\.csv, line 22, column 'v': must .* got 'oops'.*types=\{'v': 'text'\}"
    ):
        read(path)
    assert read(path, types={"v": "text"})["v"][20] == "oops"
    assert read(path, field="w")["w"].dtype == np.int64


def test_rows_with_slips_are_set_aside(tmp_path):
    path = save(tmp_path, numbers_with_a_slip())
    records = read(path, skip_bad=1)
    assert same(records["v"], np.array([*range(20), 7]))
    assert len(records["w"]) == 21
    assert [records.where(i) for i in (19, 20)] == [f"{path}, row 21", f"{path}, row 23"]
    assert [bad.where for bad in records.aside] == [f"{path}, line 22, column 'v'"]
    several = numbers_with_a_slip().replace("\n3,1", "\nx,y").replace("\n4,1", "\n4,z")
    with pytest.raises(DataError, match=r"got 3.*(\n.*line 5, column 'v'.*\n.*line 6, column 'w')"):
        read(save(tmp_path, several, "b.csv"), types={"w": "number"})


def test_line_of_a_slip_counts_blank_lines_and_line_breaks_in_cells(tmp_path):
    text = numbers_with_a_slip().replace("3,1\n", '3,"1\n"\n\n\n', 1)
    with pytest.raises(DataError, match="line 25, column 'v'"):
        read(save(tmp_path, text))


def test_slip_in_a_file_with_cells_too_long_for_the_slow_parser(tmp_path):
    text = numbers_with_a_slip().replace("3,1\n", f"3,{'1' * 200_000}\n", 1)
    path = save(tmp_path, text)
    assert len(read(path, skip_bad=1, types={"w": "text"})["v"]) == 21
    with pytest.raises(DataError, match="line 22, column 'v'"):
        read(path, types={"w": "text"})


def test_a_column_that_is_often_text_is_text(tmp_path):
    assert read(save(tmp_path, numbers_with_a_slip(5)))["v"].dtype == object


def test_rows_of_another_width_are_set_aside(tmp_path):
    path = save(tmp_path, 'a,b\n1,2\n\n3\n"4\nx",5\n6,7,8\n9,10\n')
    with pytest.raises(
        DataError,
        match=r"got 2\.(.|\n)*line 4: must have 2 columns .* got 1.*\n.*line 7: .* got 3\. Mend",
    ):
        read(path)
    records = read(path, skip_bad=2)
    assert records["b"].tolist() == [2, 5, 10]
    assert records["a"].tolist() == ["1", "4\nx", "9"]
    assert records.index.tolist() == [0, 2, 4]
    assert [bad.where for bad in records.aside] == [f"{path}, line 4", f"{path}, line 7"]
    assert read(path, field="b", skip_bad=2)["b"].tolist() == [2, 5, 10]


def test_odd_rows_and_slips_in_one_file(tmp_path):
    text = numbers_with_a_slip().replace("5,1\n", "5\n", 1)
    records = read(save(tmp_path, text), skip_bad=2)
    assert records["v"].tolist() == [*range(5), *range(6, 20), 7]
    assert records.index.tolist() == [*range(5), *range(6, 20), 21]
    assert [bad.where.split(", ", 1)[1] for bad in records.aside] == [
        "line 7",
        "line 22, column 'v'",
    ]


def test_file_of_bad_rows_only(tmp_path):
    with pytest.raises(DataError, match=r"got 2\. .*\n.*line 2: must have 2 columns"):
        read(save(tmp_path, "a,b\n1\n2\n"))


def test_types_can_be_chosen(tmp_path):
    text = "zip,sex,when,age\n007,1,2020-01-31, 5\n010,2,,+6\n,1,2021-02-28T10:30, 7.5 \n"
    types = {"zip": "text", "sex": "category", "when": "date", "age": "number"}
    records = read(save(tmp_path, text), types=types)
    assert records["zip"].tolist() == ["007", "010", None]
    assert records["sex"].tolist() == ["1", "2", "1"]
    assert records["sex"][0] is records["sex"][2]
    dates = np.array(["2020-01-31", "NaT", "2021-02-28T10:30"], "M8[us]")
    assert same(records["when"], dates)
    assert records["age"].tolist() == [5, 6, 7.5]
    assert records.index is None
    path = save(tmp_path, "a;b\n1,5;2\n?;3\n")
    assert same(read(path, types={"a": "number"}, decimal=",")["a"], np.array([1.5, np.nan]))
    whole = read(path, types={"b": "number"}, decimal=",")["b"]
    assert whole.dtype == np.int64


def test_cells_that_do_not_fit_a_chosen_type(tmp_path):
    rows = ["1,2020-02-28", "x,2020-03-30", "3,2020-13-01", "4,", "5,2020-02-30", "6,2020-03-01"]
    path = save(tmp_path, "\n".join(["a,b", *rows]))
    records = read(path, types={"a": "number", "b": "date"}, skip_bad=3)
    assert records["a"].tolist() == [1, 4, 6]
    assert same(records["b"], np.array(["2020-02-28", "NaT", "2020-03-01"], "M8[us]"))
    assert [bad.where.removeprefix(f"{path}, ") for bad in records.aside] == [
        "line 3, column 'a'",
        "line 4, column 'b'",
        "line 6, column 'b'",
    ]
    path = save(tmp_path, "a,b\n1,31.01.2020\n2,01.02.2020\n")
    with pytest.raises(DataError, match=r"'b' must hold a date like .* got '31\.01\.2020' and the"):
        read(path, types={"b": "date"})
    with pytest.raises(DataError, match=r"every column of `types`; got 'c'"):
        read(path, types={"c": "date"})


def test_dates_with_time_zones_become_universal_time(tmp_path):
    text = "a\n2020-01-01T10:00:00+02:00\n2020-01-01T10:00:00Z\n"
    expected = np.array(["2020-01-01T08", "2020-01-01T10"], "M8[us]")
    for types in ({}, {"a": "date"}):
        found = read(save(tmp_path, text), types=types)["a"]
        assert found.tolist() == expected.astype(found.dtype).tolist()
    records = read(save(tmp_path, text + "2020-01-01T10:00:00\n"), types={"a": "date"}, skip_bad=1)
    assert same(records["a"], expected)


def test_a_slip_among_dates_is_set_aside(tmp_path):
    text = "a,b\n" + "2020-01-31,1\n" * 20 + "soon,2\n"
    with pytest.raises(DataError, match="line 22, column 'a': must be a date like 2020"):
        read(save(tmp_path, text))
    assert read(save(tmp_path, text), skip_bad=1)["a"].dtype == "M8[us]"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "got an empty file"),
        ("\n \n", "got an empty file"),
        ("a,b\n", "got only a header"),
        ("a,b", "got only a header"),
        ("a,b\n1,2\n3\n", "line 3: must have 2 columns .* got 1"),
        ("a,b\n1,2\n\n3,4,5\n", "line 4: must have 2 columns .* got 3"),
        ("a,a\n1,2\n", "got 'a' twice"),
        (",,\n1,2,3\n", "no name for column 1"),
        (",a\n1,2\n", "no name for column 1.*index=False"),
        ("a,b\n1,é\n".encode("latin-1"), r"line 2, must be UTF-8 text; got the byte b'\\xe9'"),
        ("é,b\n1,2\n".encode("latin-1"), "line 1, must be UTF-8"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1, must be UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "zero bytes"),
        ('a,b\n1,"x\n2,3\n4,5\n', "row 2, must close every quote"),
    ],
)
def test_refuses(tmp_path, text, message):
    path = save(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_open_quote_is_found_although_another_field_is_read(tmp_path):
    with pytest.raises(DataError, match="must close every quote"):
        read(save(tmp_path, 'a,b\n1,"x\n2,3\n4,5\n'), field="a")


def test_encoding_of_a_text_column_is_checked(tmp_path):
    path = save(tmp_path, "a,b\n1,é\n".encode("latin-1"))
    with pytest.raises(DataError, match="line 2, must be UTF-8"):
        read(path, types={"b": "text"})


def test_packed_bomb_and_cut_archive(tmp_path):
    path = save(tmp_path, gzip.compress(b"a,b\n" + b"1,2\n" * 100_000), "a.csv.gz")
    with pytest.raises(DataError, match="must not expand beyond 1000 bytes"):
        read(path, max_bytes=1000)
    packed = gzip.compress(b"a,b\n1," + os.urandom(9000).hex().encode() + b"\n")
    with pytest.raises(DataError, match="Compressed file ended"):
        read(save(tmp_path, packed[:-1000], "b.csv.gz"))


@pytest.mark.parametrize(
    "setting",
    [
        {"delimiter": ",,"},
        {"delimiter": '"'},
        {"header": 1},
        {"decimal": ";"},
        {"types": "id"},
        {"types": {"id": "string"}},
        {"max_bytes": -1},
    ],
)
def test_settings_are_checked(tmp_path, setting):
    with pytest.raises(ConfigError, match=rf"CsvReader\.{next(iter(setting))}\S* must "):
        read(save(tmp_path, "a,b\n1,2\n"), **setting)


def test_rows_may_be_long(tmp_path):
    text = "word " * 600_000
    assert read(save(tmp_path, f"a,b\n{text},1\n{text},2\n"))["a"][1] == text


def test_line_breaks_in_cells_survive_where_blocks_meet(tmp_path, monkeypatch):
    monkeypatch.setattr("metamae.data.readers.csv._BLOCK", 1000)
    cells = [f"{i}\n{'x' * (i % 17)}\ny" for i in range(300)]
    text = "a,b\n" + "".join(f'"{cell}",{i}\n' for i, cell in enumerate(cells))
    assert read(save(tmp_path, text))["a"].tolist() == cells


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_damage_is_refused_or_harmless(tmp_path, name):
    text = b'a,b,c\n1,"x",2020-01-01\n2,y,\n3,"q\nr",2020-01-02\n'
    path = save(tmp_path, gzip.compress(text) if name.endswith("gz") else text, name)
    assert refuse_or_read(path) > 15
