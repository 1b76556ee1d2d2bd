import gzip
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metamae.data.readers import read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read, same

HEADER = """# from an archive, caf\xe9
@problemName Motions
@timeStamps false
@missing true
@univariate false
@dimensions 2
@equalLength true
@seriesLength 3
@classLabel true walk run
@data
"""
SAMPLES = "1,2,3:4,5,?:walk\n% a note\n-1e3,.5,NaN:0,0,0: run\n"


def save(folder, text, name="a.ts"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode("latin-1"))
    return path


def write(samples, labels, *tags):
    rows = [
        ":".join(",".join("?" if v != v else repr(float(v)) for v in c) for c in sample) + f":{y}"
        for sample, y in zip(samples, labels, strict=True)
    ]
    return "\n".join(["@problemName x", *tags, "@data", *rows])


@pytest.mark.parametrize("name", ["a.ts", "a.ts.gz"])
def test_series_and_classes(tmp_path, name):
    raw = (HEADER + SAMPLES).encode("latin-1")
    path = save(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
    records = read(path)
    nan = np.nan
    expected = np.array([[[1, 2, 3], [4, 5, nan]], [[-1000, 0.5, nan], [0, 0, 0]]])
    assert same(records["X"], expected)
    assert records["y"].tolist() == ["walk", "run"]
    assert [records.where(i) for i in (0, 1)] == [f"{path}, line 11", f"{path}, line 13"]
    assert list(read(path, field="X")) == ["X"]
    with pytest.raises(DataError, match=r"field='z'.*Known: X, y"):
        read(path, field="z")


@given(
    values=hnp.array_shapes(min_dims=3, max_dims=3, max_side=4).flatmap(
        lambda shape: hnp.arrays(np.float64, shape, elements=st.floats(allow_infinity=False))
    )
)
@settings(max_examples=50, deadline=None)
def test_round_trip(values):
    targets = np.arange(len(values)) / 7
    with TemporaryDirectory() as folder:
        text = write(values, targets.tolist(), "@equalLength true", "@targetlabel true")
        records = read(save(Path(folder), text))
    assert same(records["X"], values)
    assert same(records["y"], targets)


def test_series_of_different_lengths(tmp_path):
    samples = [np.ones((2, 3)), np.zeros((2, 5)), np.ones((2, 3))]
    text = write(samples, "aba", "@equalLength false", "@dimensions 2", "@classLabel true a b")
    column = read(save(tmp_path, text))["X"]
    assert column.shape == (3,) and column.dtype == object
    assert all(same(a, b) for a, b in zip(column, samples, strict=True))
    text = write(samples, "aba", "@dimensions 2", "@classLabel true a b")
    assert read(save(tmp_path, text))["X"].dtype == object


def test_files_without_labels(tmp_path):
    text = "@problemName x\n@univariate true\n@classLabel false\n@data\n1,2\n3,4\n"
    records = read(save(tmp_path, text))
    assert list(records) == ["X"]
    assert same(records["X"], np.array([[[1.0, 2.0]], [[3.0, 4.0]]]))


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("1,2,3:walk", "must have 2 channels as the header says; got 1"),
        (
            "1,2,3:4,5,6",
            "got 1|must end with ':' and one of the classes in the header; got '4,5,6'",
        ),
        ("1,2,3:4,5,6:fly", "one of the classes in the header; got 'fly'"),
        ("1,2,3:4,5:walk", r"channels of one length; got \[2, 3\]"),
        ("1,2:4,5:walk", "2 channels of 3 values .*; got 2 of 2"),
        ("1,x,3:4,5,6:walk", "must hold numbers separated by ','; got 'x'"),
        ("1,,3:4,5,6:walk", "must hold numbers .* got ''"),
        (":4,5,6:walk", "must hold numbers .* got ''"),
        ("(0,1),(1,2),(2,3):(0,1),(1,2),(2,3):walk", "must hold values alone; got time stamps"),
        ("\xff\xfe", "must"),
    ],
)
def test_bad_lines_are_named_and_set_aside(tmp_path, line, message):
    path = save(tmp_path, HEADER + SAMPLES + line + "\n" + SAMPLES)
    with pytest.raises(DataError, match=rf"a\.ts, line 14: .*({message})"):
        read(path)
    records = read(path, skip_bad=1)
    assert records["y"].tolist() == ["walk", "run"] * 2
    assert records.where(2) == f"{path}, line 15"


def test_what_the_header_does_not_say_is_what_most_lines_are(tmp_path):
    samples = [np.ones((2, 3)), np.ones((2, 3)), np.ones((1, 3)), np.ones((2, 4))]
    path = save(tmp_path, write(samples, [1, 2, 3, 4], "@targetLabel true", "@equallength true"))
    records = read(path, skip_bad=2)
    assert records["y"].tolist() == [1.0, 2.0]
    assert [bad.where[-6:] for bad in records.aside] == ["line 7", "line 8"]
    path = save(tmp_path, write(samples, [1, 2, "x", "1,2"], "@targetLabel true"))
    with pytest.raises(
        DataError, match=r"line 6: .* got 'x'(.|\n)*line 7: must end .* got several"
    ):
        read(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have a line @data"),
        ("@problemName x\n", "must have a line @data"),
        ("@data\n", "at least one good sample; got 0 lines"),
        (HEADER, "at least one good sample"),
        (HEADER + "1:walk", "line 11: must have 2 channels"),
        ("a,b\n1,2\n", "line 1, must begin with '@' above the line @data; got 'a,b'"),
        ("@timestamps True\n@data\n1", "@timestamps must be false; got true.*Resample"),
        ("@dimensions two\n@data\n1", "@dimensions must be a whole number .* got 'two'"),
        ("@dimensions 0\n@data\n1", "must be a whole number of at least 1; got '0'"),
        ("@dimensions\n@data\n1", "must be a whole number of at least 1; got ''"),
        (f"@serieslength {'9' * 5000}\n@data\n1", "must be a whole number"),
        ("@classlabel true\n@data\n1", "must name the classes; got none"),
        (b"\x47" + bytes(187), "must begin with '@'"),
        ("@data\n".encode("utf-16"), "must begin with '@'"),
    ],
)
def test_refuses(tmp_path, text, message):
    path = save(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))


def test_a_header_that_lies_about_sizes_costs_nothing(tmp_path):
    path = save(
        tmp_path, f"@dimensions {10**12}\n@seriesLength {10**12}\n@equallength true\n@data\n1"
    )
    with pytest.raises(DataError, match=f"must have {10**12} channels as the header says; got 1"):
        read(path)


def test_bombs_and_cut_archives(tmp_path):
    bomb = save(tmp_path, gzip.compress(b"@data\n" + b"1,2,3\n" * 10**5), "a.ts.gz")
    with pytest.raises(DataError, match="must not expand beyond 1000 bytes"):
        read(bomb, max_bytes=1000)
    with pytest.raises(DataError, match="Compressed file ended"):
        read(save(tmp_path, bomb.read_bytes()[:-9], "b.ts.gz"))
    with pytest.raises(ConfigError, match=r"TsReader\.max_bytes must"):
        read(bomb, max_bytes=0)


@pytest.mark.parametrize("name", ["a.ts", "a.ts.gz"])
def test_damage_is_refused_or_harmless(tmp_path, name):
    raw = (HEADER + SAMPLES).encode("latin-1")
    path = save(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
    assert refuse_or_read(path) > 15


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_changed_bytes_are_read_or_refused(data):
    raw = bytearray((HEADER + SAMPLES).encode("latin-1"))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(
            st.sampled_from(b"@:,? \n1x\0\xff")
        )
    with TemporaryDirectory() as folder, suppress(DataError):
        records = read(save(Path(folder), bytes(raw)), skip_bad=2)
        assert len(records) + len(records.aside) >= 1
