import gzip
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.readers import jsonl, read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read, same


def save(folder, text, name="a.jsonl"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def lines_of(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


ROWS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.none() | st.integers(-(2**53), 2**53),
            "f": st.none() | st.floats(allow_nan=False, allow_infinity=False),
            "t": st.none() | st.text(max_size=4).map(lambda text: "t" + text),
            "l": st.lists(st.integers(0, 9), max_size=3),
        },
    ),
    min_size=1,
    max_size=8,
)


@given(rows=ROWS, form=st.sampled_from(["a.jsonl", "a.ndjson.gz", "a.json", "array.json"]))
@settings(max_examples=60, deadline=None)
def test_round_trip(rows, form):
    text = json.dumps(rows, indent=1) if form == "array.json" else lines_of(rows)
    raw = gzip.compress(text.encode()) if form.endswith("gz") else text.encode()
    names = {name for row in rows for name in row}
    with TemporaryDirectory() as folder:
        path = save(Path(folder), raw, form)
        if not names:
            with pytest.raises(DataError, match="at least one good JSON object with a value"):
                read(path)
            return
        records = read(path)
    assert set(records) == names
    for name in names:
        expected = [row.get(name) for row in rows]
        column = records[name]
        if name == "l":
            found = [None if v is None else list(v) for v in column]
        elif column.dtype.kind == "f":
            found = [None if v != v else v for v in column.tolist()]
        else:
            found = column.tolist()
        assert found == expected


def test_kinds_of_values(tmp_path):
    rows = [
        {"i": 1, "f": 1, "b": True, "gap": 1, "maybe": True, "d": "2020-01-31", "none": None},
        {"i": 2, "f": 1.5, "b": False, "gap": None, "d": None, "big": 10**30},
        {"i": 3, "f": 2, "b": True, "maybe": False, "d": "2020-02-01T10:00", "t": "x"},
    ]
    expected = {
        "i": np.array([1, 2, 3]),
        "f": np.array([1, 1.5, 2]),
        "b": np.array([True, False, True]),
        "gap": np.array([1, np.nan, np.nan]),
        "maybe": np.array([1, np.nan, 0]),
        "d": np.array(["2020-01-31", "NaT", "2020-02-01T10:00"], "M8[us]"),
        "none": np.full(3, np.nan),
        "big": np.array([np.nan, 1e30, np.nan]),
        "t": np.array([None, None, "x"], object),
    }
    records = read(save(tmp_path, lines_of(rows)))
    assert set(records) == set(expected)
    for name, column in expected.items():
        assert same(column, records[name]), name
    assert list(read(save(tmp_path, lines_of(rows)), field="t")) == ["t"]
    with pytest.raises(DataError, match="field='x'"):
        read(save(tmp_path, lines_of(rows)), field="x")


def test_strings_are_dates_only_if_all_are(tmp_path):
    rows = [{"d": "2020-01-31"}] * 200 + [{"d": "soon"}]
    assert read(save(tmp_path, lines_of(rows)))["d"].tolist()[-2:] == ["2020-01-31", "soon"]


def test_objects_within_objects_are_flattened(tmp_path):
    records = read(save(tmp_path, '{"a": {"b": {"c": 1}, "d": "x"}}\n{"a": null, "a.d": "y"}\n'))
    assert same(records["a.b.c"], np.array([1, np.nan]))
    assert records["a.d"].tolist() == ["x", "y"]


def test_lists_become_arrays(tmp_path):
    rows = [
        {"same": [[1, 2], [3, 4]], "ragged": [1, 2.5], "holes": [1, None]},
        {"same": [[5, 6], [7, 8]], "ragged": [], "holes": [2, 3]},
        {"same": [[9, 0], [1, 2]], "ragged": None, "holes": [4, 5]},
    ]
    records = read(save(tmp_path, lines_of(rows)))
    assert same(records["same"], np.array([row["same"] for row in rows]))
    assert same(records["holes"], np.array([[1, np.nan], [2, 3], [4, 5]]))
    ragged = np.empty(3, dtype=object)
    ragged[0], ragged[1] = np.array([1, 2.5]), np.array([])
    assert same(records["ragged"], ragged)
    assert records["ragged"][1].dtype == np.float64


def test_bad_lines_are_named_and_set_aside(tmp_path):
    good = lines_of([{"a": i, "l": [i, i]} for i in range(5)])
    bad = {
        '{"a": 1': "must hold one JSON object; got Expecting ',' delimiter",
        "[1, 2]": r"must hold one JSON object; got \[1, 2\]\.",
        '{"a": 1, "a": 2}': "got the name 'a' twice",
        '{"a": Infinity}': "got Infinity, which is no JSON number",
        '{"a": {"b": {}}, "a.c": 1, "a": 2}': "twice",
        '{"x": {"y": 1}, "x.y": 2}': "must name its fields differently; got the name 'x.y' twice",
        '{"a": "five"}': "field 'a' must be a number as in most; got \"five\"",
        '{"a": true}': "field 'a' must be a number as in most; got true",
        '{"l": 5}': "field 'l' must be a list as in most; got 5",
        '{"l": [1, "x"]}': r"field 'l' must be a rectangular list of numbers with 1 axes; got \[1,",
        '{"l": [["1"]]}': "must be a rectangular list",
        '{"l": [null, "1"]}': "must be a rectangular list",
        '{"l": [[1], [2, 3]]}': "must be a rectangular list",
        '{"l": [[1]]}': "must be a rectangular list of numbers with 1 axes",
        "[" * 100_000: "must hold one JSON object; got maximum recursion depth",
        '{"a":' * 100_000: "must hold one JSON object; got maximum recursion depth",
        "9" * 10_000: "must hold one JSON object; got Exceeds the limit",
        '{"a": "\xe9"}': r"must be UTF-8 text; got the byte b'\\xe9'",
        '{"a": "\0"}': "must be text; got a zero byte",
    }
    for line, message in bad.items():
        path = save(tmp_path, (good + line + "\n\n" + '{"a": 7}\n').encode("latin-1"))
        with pytest.raises(DataError, match=rf"a\.jsonl, line 6: .*{message}"):
            read(path)
        records = read(path, skip_bad=1)
        assert records["a"].tolist() == [0, 1, 2, 3, 4, 7]
        assert [records.where(i) for i in (4, 5)] == [f"{path}, line 5", f"{path}, line 8"]
        assert len(records.aside) == 1


def test_a_line_with_two_mistakes_is_one_bad_line(tmp_path):
    rows = [{"a": 1, "b": "x"}] * 3 + [{"a": "x", "b": 1}]
    assert len(read(save(tmp_path, lines_of(rows)), skip_bad=1).aside) == 1


def test_elements_of_an_array_are_numbered(tmp_path):
    path = save(tmp_path, '[{"a": 1},\n 5, {"a": "x"}, {"a": 2}]', "a.json")
    with pytest.raises(DataError, match=r"element 2: must hold one JSON object; got 5\.") as caught:
        read(path)
    assert "element 3: field 'a' must be a number" in str(caught.value)
    assert read(path, skip_bad=2).where(1) == f"{path}, element 4"


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "a.jsonl", "at least one good JSON object"),
        ("\n \n", "a.jsonl", "at least one good JSON object"),
        ("{}\n{}\n", "a.jsonl", "at least one good JSON object"),
        ("[]", "a.json", "at least one good JSON object"),
        ('[{"a": 1}', "a.json", "must be legal JSON; got Expecting"),
        ("[" * 100_000, "a.json", "must be legal JSON; got maximum recursion"),
        (b'[{"a": "\xe9"}]', "a.json", "line 1, must be UTF-8"),
        ('{\n "a": 1\n}\n', "a.json", "got one object over several lines"),
        ('{"tags": ["a", "b"]}\n', "a.jsonl", "'tags', must hold numbers in its lists"),
        ('{"a": [{"b": 1}]}\n', "a.jsonl", "'a', must hold numbers in its lists"),
    ],
)
def test_refuses(tmp_path, text, name, message):
    path = save(tmp_path, text, name)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_other_fields_may_hold_anything(tmp_path):
    path = save(tmp_path, '{"t": "x", "tags": ["a"]}\n{"t": "y"}\n')
    assert read(path, field="t")["t"].tolist() == ["x", "y"]


def test_a_field_per_line_cannot_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(jsonl, "_CELLS", 1000)
    path = save(tmp_path, lines_of({f"k{i}": 1} for i in range(1000)))
    with pytest.raises(DataError, match="objects with the same fields; got 65 different names"):
        read(path)


def test_mark_and_line_ends_of_windows(tmp_path):
    records = read(save(tmp_path, '\ufeff{"a": 1}\r\n{"a": 2}\r\n'))
    assert records["a"].tolist() == [1, 2]


def test_bombs_and_cut_archives(tmp_path):
    bomb = save(tmp_path, gzip.compress(b'{"a": 1}\n' * 100_000), "a.jsonl.gz")
    with pytest.raises(DataError, match="must not expand beyond 1000 bytes"):
        read(bomb, max_bytes=1000)
    raw = gzip.compress(lines_of([{"a": os.urandom(5000).hex()}]).encode())
    with pytest.raises(DataError, match="Compressed file ended"):
        read(save(tmp_path, raw[:-900], "b.jsonl.gz"))
    with pytest.raises(ConfigError, match=r"JsonlReader\.max_bytes must"):
        read(bomb, max_bytes=-1)


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_damage_is_refused_or_harmless(tmp_path, name):
    rows = [{"a": 1, "t": "é", "l": [1, 2]}, {"a": 2, "n": {"x": "2020-01-01"}}]
    raw = (json.dumps(rows) if name == "a.json" else lines_of(rows)).encode()
    path = save(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
    assert refuse_or_read(path) > 15


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_changed_bytes_are_read_or_refused(data):
    raw = bytearray(lines_of([{"a": 1, "l": [1, 2], "n": {"x": None}}] * 3).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(b'{}[]",:19.n\n'))
    with TemporaryDirectory() as folder, suppress(DataError):
        records = read(save(Path(folder), bytes(raw)), skip_bad=3)
        num = sum(bool(line.strip()) for line in raw.split(b"\n"))
        assert len(records) + len(records.aside) == num
