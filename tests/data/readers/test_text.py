import gzip
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.columns.base import blocks_of, decodes, sizes_of, stretch_of
from metamae.data.readers import read
from metamae.data.text import file as textfile
from metamae.data.text import spans
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read


def save(folder, text, name="a.txt"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def texts(source, **settings):
    column = read(source, **settings)["text"]
    return column[np.arange(len(column))].tolist()


LINE = st.text(st.characters(exclude_characters="\n\r\0", exclude_categories=["Cs"]), max_size=9)


@given(rows=st.lists(LINE, max_size=12), end=st.sampled_from(["\n", "\r\n"]), last=st.booleans())
@settings(max_examples=40, deadline=None)
@pytest.mark.parametrize("packed", [False, True])
def test_lines_are_those_that_are_not_blank(rows, end, last, packed):
    text = (end.join(rows) + end * last).encode()
    expected = [row for row in rows if row and not row.isspace()]
    with TemporaryDirectory() as folder:
        path = save(Path(folder), gzip.compress(text) if packed else text)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spans, "BLOCK", 7)
            if not expected:
                with pytest.raises(DataError, match="at least one good line"):
                    read(path, reader="text")
                return
            records = read(path, reader="text")
            column = records["text"]
            assert column[np.arange(len(column))].tolist() == expected
            assert sizes_of(column).tolist() == [[len(row)] for row in expected]
            numbers = [n for n, row in enumerate(rows, 1) if row in expected]
            assert [records.where(i).split()[-1] for i in range(len(records))] == [
                str(n) for n in numbers
            ]


def test_column_answers_like_an_array(tmp_path):
    expected = np.array(["one", "zwei", "drei vier", "é"], dtype=object)
    column = read(save(tmp_path, "\n".join(expected)))["text"]
    assert (column.shape, column.dtype, len(column)) == ((4,), np.dtype(object), 4)
    for index in (np.array([3, 0, 3]), slice(1, 3), np.array([True, False, True, False]), 2, -1):
        np.testing.assert_array_equal(column[index], expected[index])
    assert column[np.array([], dtype=int)].tolist() == []
    with pytest.raises(IndexError):
        column[np.array([4])]
    assert stretch_of(column, 2, 2, 6) == "ei v"
    assert blocks_of(column) is None and not decodes(column)


def test_blank_lines_are_counted_and_lines_keep_their_numbers(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    path = save(tmp_path, "a\n\n \t\nb\n")
    records = read(path)
    assert "left out 2 blank lines" in caplog.text
    assert [records.where(i) for i in (0, 1)] == [f"{path}, line 1", f"{path}, line 4"]
    assert list(records.names) == records.names[:] == ["line 1", "line 4"]
    caplog.clear()
    assert read(save(tmp_path, "a\nb")).where(1) == f"{path}, line 2"
    assert "blank" not in caplog.text


def test_what_is_kept_of_a_plain_file_is_small(tmp_path):
    path = save(tmp_path, "word " * 4000 + "\n")
    with path.open("ab") as file:
        for _ in range(200):
            file.write(b"x" * 20_000 + b"\n")
    column = read(path)["text"]
    kept = [value for value in vars(column).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in kept) < 201 * 32
    assert column.content.unpacked is None


def test_a_folder_has_a_sample_per_file(tmp_path):
    for name, text in {"b/1.txt": "one\r\ntwo\n", "a/2.txt": "\ufeffdrei", "b/3.txt": "x"}.items():
        save(tmp_path, text, name)
    save(tmp_path, gzip.compress(b"four"), "a/4.txt.gz")
    records = read(tmp_path)
    assert texts(tmp_path) == ["drei", "four", "one\ntwo\n", "x"]
    assert records["label"].tolist() == ["a", "a", "b", "b"]
    assert records.names == ["a/2.txt", "a/4.txt.gz", "b/1.txt", "b/3.txt"]
    assert list(read(tmp_path, field="text")) == ["text"]
    with pytest.raises(DataError, match=r"field='y'.*Known: label, text"):
        read(tmp_path, field="y")


def test_a_folder_by_lines_and_a_file_as_a_whole(tmp_path):
    save(tmp_path, "1\n\n2", "a/x.txt")
    save(tmp_path, "3\n", "b/y.txt")
    assert texts(tmp_path, each="line") == ["1", "2", "3"]
    records = read(tmp_path, each="line")
    assert records["label"].tolist() == ["a", "a", "b"]
    assert records.where(1) == f"{tmp_path}, a/x.txt, line 3"
    assert sizes_of(records["text"]).tolist() == [[1], [1], [1]]
    assert texts(tmp_path / "a/x.txt", each="file") == ["1\n\n2"]


def test_encodings(tmp_path):
    assert texts(save(tmp_path, "\ufeffé\n\ufeffb")) == ["é", "\ufeffb"]
    path = save(tmp_path, "née\nb\n".encode("latin-1"))
    with pytest.raises(
        DataError, match=r"a\.txt, line 1: must be UTF-8 text; got the byte b'\\xe9' at position 1"
    ):
        read(path)
    assert texts(path, encoding="latin-1") == ["née", "b"]
    assert texts(path, encoding="latin-1", each="file") == ["née\nb\n"]
    assert texts(path, skip_bad=1) == ["b"]
    assert texts(save(tmp_path, "x\r\ny"), encoding="utf-8-sig") == ["x", "y"]
    with pytest.raises(DataError, match="line 1: must be ASCII text"):
        read(save(tmp_path, "é"), encoding="ascii")
    with pytest.raises(DataError, match=r"at most 0 bad samples .* got 2(.|\n)*zero byte.*UTF-16"):
        read(save(tmp_path, "ab\nc".encode("utf-16-le")))


@pytest.mark.parametrize("text", [b"\xff\xfe", b"x\n\xe9", b"a\0b"])
def test_file_of_a_folder_that_is_no_text_is_named(tmp_path, text):
    save(tmp_path, "good", "a.txt")
    save(tmp_path, text, "b.txt")
    column = read(tmp_path)["text"]
    assert column[0] == "good"
    with pytest.raises(DataError, match=r"b\.txt.* must be (UTF-8 )?text; got ") as caught:
        column[np.array([0, 1])]
    assert caught.value.sample == 1


def test_empty_files_and_folders(tmp_path):
    with pytest.raises(DataError, match="at least one good line of text; got 0 blank"):
        read(save(tmp_path, ""))
    save(tmp_path, "x", "b.txt")
    with pytest.raises(DataError, match=r"a\.txt: must hold text; got an empty file"):
        read(tmp_path)
    records = read(tmp_path, skip_bad=1)
    assert records.names == ["b.txt"] and len(records.aside) == 1
    save(tmp_path, " \n", "a.txt")
    with pytest.raises(DataError, match=r"a\.txt must hold text; got blank lines only"):
        texts(tmp_path)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="text file"):
        read(tmp_path / "none", reader="text")


def test_changed_or_lost_file_is_refused(tmp_path):
    path = save(tmp_path, "one\ntwo\n")
    column = read(path)["text"]
    save(tmp_path, "three\nfour\n")
    with pytest.raises(DataError, match="must stay as it was when it was first read"):
        column[0]
    path.unlink()
    with pytest.raises(DataError, match=r"a\.txt must stay readable; got"):
        column[0]


def test_file_without_permission(tmp_path, monkeypatch):
    path = save(tmp_path, "one\n")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match=r"a\.txt must be a text file; got .*Permission denied"):
        read(path)


def test_links_in_a_circle_and_dangling_ones(tmp_path):
    save(tmp_path, "x", "d/a.txt")
    (tmp_path / "d/up").symlink_to(tmp_path)
    assert texts(tmp_path) == ["x"]
    (tmp_path / "b.txt").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"b\.txt must be a file that can be read"):
        read(tmp_path)
    (tmp_path / "c.txt").symlink_to(tmp_path / "c.txt")
    with pytest.raises(DataError, match="must be"):
        read(tmp_path / "c.txt")


def test_bombs_cut_archives_and_endless_lines(tmp_path, monkeypatch):
    bomb = save(tmp_path, gzip.compress(b"word\n" * 100_000), "a.txt.gz")
    for each in ("line", "file"):
        with pytest.raises(DataError, match="must not expand beyond 1000 bytes"):
            texts(bomb, max_bytes=1000, each=each)
    raw = gzip.compress(os.urandom(5000).hex().encode())
    with pytest.raises(DataError, match="Compressed file ended"):
        read(save(tmp_path, raw[:-900], "b.txt.gz"))
    monkeypatch.setattr(spans, "BLOCK", 100)
    monkeypatch.setattr(spans, "LINE", 1000)
    with pytest.raises(
        DataError, match="lines of at most 1000 bytes; got a longer one at position 2"
    ):
        read(save(tmp_path, "a\n" + "x" * 5000))


def test_a_sparse_file_of_a_terabyte_is_refused_quickly(tmp_path):
    path = save(tmp_path, "a\n")
    with path.open("r+b") as file:
        file.truncate(2**40)
    with pytest.raises(DataError, match="lines of at most"):
        read(path)


@pytest.mark.parametrize(
    ("setting", "name"),
    [
        ({"each": "word"}, "each"),
        ({"encoding": "utf-16"}, "encoding"),
        ({"encoding": "nonsense"}, "encoding"),
        ({"encoding": "rot13"}, "encoding"),
        ({"encoding": 5}, "encoding"),
        ({"max_bytes": 0}, "max_bytes"),
    ],
)
def test_settings_are_checked(tmp_path, setting, name):
    with pytest.raises(ConfigError, match=rf"TextReader\.{name} must"):
        read(save(tmp_path, "x"), **setting)


def test_threads_may_share_a_column(tmp_path):
    expected = [f"{i} " * (i % 30 + 1) for i in range(400)]
    column = read(save(tmp_path, "\n".join(expected)))["text"]
    index = [np.array([i, 399 - i]) for i in range(400)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(column.__getitem__, index))
    assert [pair[0] for pair in found] == expected


def test_large_tables_get_advice(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(textfile, "LARGE", 1000)
    raw = b"a,b\n" * 400
    for name, content in {"a.csv": raw, "b.csv.gz": gzip.compress(raw)}.items():
        caplog.clear()
        read(save(tmp_path, content, name))
        assert "Parquet is read a part at a time" in caplog.text
    caplog.clear()
    read(save(tmp_path, "a,b\n1,2\n", "c.csv"))
    assert "Parquet" not in caplog.text


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_damage_is_refused_or_harmless(tmp_path, name):
    raw = "one\nzwei ä\n\ntrois é\n".encode()
    path = save(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
    assert refuse_or_read(path) > 3
    assert refuse_or_read(path, each="file") > 3


@given(raw=st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_any_bytes_are_read_or_refused(raw):
    with TemporaryDirectory() as folder:
        path = save(Path(folder), raw)
        for each in ("line", "file"):
            with suppress(DataError):
                assert all(text.strip() for text in texts(path, each=each))
