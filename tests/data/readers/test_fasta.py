import gzip
import os
import re
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.columns.base import Stretches, sizes_of, stretch_of
from metamae.data.readers import fasta, read
from metamae.data.text import spans
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read

PAIR = ">a first\nACGT\nacgn\n\n>b\r\nMK*-.\r\n"
READS = "@r1 x\nACGT\n+\nIIII\n@r2\nAC\n+r2\n!I\n"


def save(folder, text, name="a.fa"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def sequences(source, **settings):
    column = read(source, **settings)["sequence"]
    return column[np.arange(len(column))].tolist()


RESIDUES = st.text("ACGTNacgtn*-.", min_size=1, max_size=20)
RECORDS = st.lists(st.tuples(st.text("ab1>@+ ", max_size=5), RESIDUES), min_size=1, max_size=6)


def wrapped(text, width, end):
    return "".join(text[i : i + width] + end for i in range(0, len(text), width))


@given(
    records=RECORDS,
    width=st.integers(1, 9),
    end=st.sampled_from(["\n", "\r\n"]),
    block=st.integers(3, 12),
    cut=st.booleans(),
    packed=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_fasta_round_trip(records, width, end, block, cut, packed):
    text = "".join(f">{name}{end}{wrapped(found, width, end)}" for name, found in records)
    text = text[: -len(end)] if cut else text
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        raw = text.encode()
        path = save(Path(folder), gzip.compress(raw) if packed else raw)
        patch.setattr(spans, "BLOCK", block)
        patch.setattr(fasta, "_STEP", 5)
        patch.setattr(fasta, "_NAME", 4)
        column = read(path, case="keep")["sequence"]
        assert column[np.arange(len(records))].tolist() == [found for _, found in records]
        assert sizes_of(column).tolist() == [[len(found)] for _, found in records]
        for position, (_, found) in enumerate(records):
            for start, stop in [(0, 5), (3, 8), (7, 7), (2, 100), (9, 4)]:
                assert column.stretch(position, start, stop) == found[start:stop]
        # Equally long lines are read alone.
        assert all(one[1] == min(width, len(records[n][1])) for n, one in column.layouts.items())


@given(records=RECORDS, block=st.integers(3, 12), cut=st.integers(0, 2))
@settings(max_examples=40, deadline=None)
def test_fastq_round_trip(records, block, cut):
    text = "".join(f"@{name}\n{found}\n+\n{'@' * len(found)}\n" for name, found in records)
    text = text[:-1] + "\n" * cut
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "BLOCK", block)
        records_read = read(save(Path(folder), text, "a.fq"), case="keep", quality=True)
        column = records_read["sequence"]
        assert column[np.arange(len(records))].tolist() == [found for _, found in records]
        assert sizes_of(column)[:, 0].tolist() == [len(found) for _, found in records]
        assert records_read["quality"].tolist() == [31.0] * len(records)
        assert stretch_of(column, 0, 1, 3) == records[0][1][1:3]


def test_fields_and_names(tmp_path):
    path = save(tmp_path, PAIR)
    records = read(path)
    assert list(records) == ["sequence"]
    assert sequences(path) == ["ACGTACGN", "MK*-."]
    assert sequences(path, case="keep") == ["ACGTacgn", "MK*-."]
    assert list(records.names) == ["a", "b"]
    assert records.where(1) == f"{path}, b"
    assert (
        list(read(save(tmp_path, ">\nAC\n> \nA"), field="sequence").names)
        == ["a sequence without a name"] * 2
    )
    with pytest.raises(DataError, match=r"field='seq'.*Known: sequence"):
        read(path, field="seq")


def test_reads_and_their_qualities(tmp_path):
    path = save(tmp_path, READS, "a.fastq")
    records = read(path, quality=True)
    assert sequences(path) == ["ACGT", "AC"]
    assert records["quality"].tolist() == [40.0, 20.0]
    assert list(records.names) == ["r1", "r2"]
    windows = save(tmp_path, READS.replace("\n", "\r\n"), "b.fq")
    assert sequences(windows) == ["ACGT", "AC"]
    assert read(windows, quality=True)["quality"].tolist() == [40.0, 20.0]
    assert list(read(path)) == ["sequence"]
    with pytest.raises(DataError, match=r"must be a FASTQ file to have qualities"):
        read(save(tmp_path, PAIR), quality=True)


def test_a_folder_is_one_data_set(tmp_path):
    save(tmp_path, ">a\nAC\n", "x/1.fa")
    save(tmp_path, gzip.compress(b">b\nGG\n>c\nT\n"), "y/2.fna.gz")
    save(tmp_path, READS, "3.fastq")
    records = read(tmp_path)
    assert sequences(tmp_path) == ["ACGT", "AC", "AC", "GG", "T"]
    assert records["file"].tolist() == ["3.fastq", "3.fastq", "x/1.fa", "y/2.fna.gz", "y/2.fna.gz"]
    assert list(records.names) == ["r1", "r2", "a", "b", "c"]
    assert sizes_of(records["sequence"]).tolist() == [[4], [2], [2], [2], [1]]


def test_files_of_a_pattern_say_where_a_sequence_comes_from(tmp_path):
    save(tmp_path, ">a\nAC\n", "1.fsa")
    save(tmp_path, ">b\nGG\n>c\nT\n", "2.fsa")
    records = read(str(tmp_path / "*.fsa"))
    assert records["file"][np.arange(3)].tolist() == ["1.fsa", "2.fsa", "2.fsa"]
    assert "file" not in read(tmp_path / "1.fsa")


def test_a_long_sequence_is_not_loaded(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    genome = "".join(rng.choice(list("ACGT"), 300_000))
    path = save(
        tmp_path, ">small\nA\n>big\n" + wrapped(genome, 60, "\n") + ">one\n" + genome + "\n"
    )
    column = read(path)["sequence"]
    assert sizes_of(column).tolist() == [[1], [300_000], [300_000]]
    kept = [value for value in vars(column).values() if isinstance(value, np.ndarray)]
    assert sum(array.nbytes for array in kept) < 200
    stretch_of(column, 1, 0, 1), stretch_of(column, 2, 0, 1)

    def refuse(*arguments):
        raise AssertionError("the whole record is read")

    monkeypatch.setattr(column, "one", refuse)
    for position in (1, 2):
        for start, stop in [(0, 60), (59, 61), (123_456, 125_000), (299_990, 300_000)]:
            assert column.stretch(position, start, stop) == genome[start:stop]
    starts = np.array([10, 600])
    windows = Stretches(column, np.array([1, 1]), starts, starts + 50, sizes_of(column))
    assert windows[np.arange(2)].tolist() == [genome[10:60], genome[600:650]]


@pytest.mark.parametrize(
    "body",
    [
        "ACGTA\nAC\nGTACG\n",
        "ACGTA\nACGTAC\n",
        "ACGTA\nACG A\nACGTA\n",
        "ACGTA\n\nACG\n",
        "A\nCG\nT\n",
    ],
)
def test_lines_of_different_lengths_are_read_as_a_whole(tmp_path, body):
    column = read(save(tmp_path, f">a\n{body}>b\nA\n"))["sequence"]
    plain = re.sub(r"\s", "", body)
    for start in range(len(plain)):
        for stop in range(start, len(plain) + 2):
            assert column.stretch(0, start, stop) == plain[start:stop]
    assert column.layouts[0][1] == 0


def test_illegal_characters_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(spans, "BLOCK", 5)
    path = save(tmp_path, ">a\nACGT\nAC5T\n>bad two\nA?C!\n>good\nAC\n>empty\n>c\nA\n")
    with pytest.raises(DataError) as caught:
        read(path)
    for line in (
        f"{path}, a: must hold letters, '*', '-' and '.' only; got '5' in line 3.",
        f"{path}, bad: must hold letters, '*', '-' and '.' only; got '?' in line 5.",
        f"{path}, empty: must have letters below its header; got none.",
    ):
        assert line in str(caught.value)
    records = read(path, skip_bad=3)
    assert list(records.names) == ["good", "c"] and len(records.aside) == 3
    column = records["sequence"]
    assert column[np.arange(2)].tolist() == ["AC", "A"]
    assert column.stretch(1, 0, 1) == "A"


def test_bad_reads_are_set_aside(tmp_path):
    text = READS + "@bad\nACX1\n+\nIIII\n@long\nAC\n+\nIII\n@none\n\n+\n\n" + READS
    path = save(tmp_path, text, "a.fq")
    with pytest.raises(DataError) as caught:
        read(path)
    for part in (
        "bad: must hold letters, '*', '-' and '.' only; got '1' in line 10.",
        "long: must have a base at least and a quality for each; got 2 bases and 3 qualities.",
        "none: must have a base at least and a quality for each; got 0 bases and 0 qualities.",
    ):
        assert f"{path}, {part}" in str(caught.value)
    records = read(path, skip_bad=3, quality=True)
    assert list(records.names) == ["r1", "r2"] * 2
    assert records["quality"].tolist() == [40.0, 20.0] * 2


@pytest.mark.parametrize("left", [1, 2, 3])
def test_truncated_fastq(tmp_path, left):
    text = READS + "".join(("@cut\n", "ACG\n", "+\n")[:left])
    path = save(tmp_path, text, "a.fq")
    with pytest.raises(DataError, match=rf"cut: must have four lines; got {left} at the end"):
        read(path)
    assert sequences(path, skip_bad=1) == ["ACGT", "AC"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must begin with '>' .FASTA. or '@' .FASTQ.; got an empty file"),
        ("\n \n", "got an empty file"),
        ("ACGT\n", "got 'A'.*belong in a .txt file"),
        (" >a\nAC\n", "must begin with a header"),
        (">a\n", "must have letters below its header"),
        ("@a\nAC\n+\nII\n\n\n\n\n@b\nAC\n+\nII\n", "line 5, must begin with '@'.*got '.n'"),
        ("@a\nAC\n+\nII\nAC\n+\nII\n@b\n", "line 5, must begin with '@'.*got 'A'"),
        ("@a\nAC\nGT\n+\nIIII\n@b\nAC\n+\n", "line 3, must begin with '.'.*got 'G'"),
        ("@a\nAC\n+\nII\n" + "\n" * 50 + "@b\nAC\n+\nII\n", "must"),
    ],
)
def test_refuses(tmp_path, text, message):
    path = save(tmp_path, text)
    with pytest.raises(DataError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("num", [8, 9])
def test_blank_lines_between_reads_are_refused_wherever_pieces_end(tmp_path, monkeypatch, num):
    path = save(tmp_path, READS + "\n" * num + READS, "a.fq")
    for block in range(1, 40):
        monkeypatch.setattr(spans, "BLOCK", block)
        with pytest.raises(DataError, match=r"blank lines before line|must begin with '@'"):
            read(path)


def test_bombs_cut_archives_and_other_content(tmp_path):
    bomb = save(tmp_path, gzip.compress(b">a\n" + b"A" * 10**6), "a.fa.gz")
    with pytest.raises(DataError, match="must not expand beyond 1000 bytes"):
        read(bomb, max_bytes=1000)
    raw = gzip.compress(b">a\n" + os.urandom(5000).hex().translate({48: 65}).encode())
    with pytest.raises(DataError, match="Compressed file ended"):
        read(save(tmp_path, raw[:-900], "b.fa.gz"))
    with pytest.raises(DataError, match="must begin with '>'"):
        read(save(tmp_path, b"\x89PNG\r\n\x1a\n" + os.urandom(100), "c.fa"))
    with pytest.raises(DataError, match="must begin with '>'"):
        read(save(tmp_path, ">a\nAC\n".encode("utf-16"), "d.fa"))
    with pytest.raises(DataError, match=r"got 'é' in line 2|got 'Ã' in line 2"):
        read(save(tmp_path, ">é\nAé\n", "e.fa"))


def test_changed_file_is_refused(tmp_path):
    path = save(tmp_path, PAIR)
    column = read(path)["sequence"]
    save(tmp_path, PAIR + ">c\nA\n")
    with pytest.raises(DataError, match="must stay as it was"):
        column.stretch(0, 0, 2)


@pytest.mark.parametrize(
    ("setting", "name"), [({"case": "lower"}, "case"), ({"quality": 1}, "quality")]
)
def test_settings_are_checked(tmp_path, setting, name):
    with pytest.raises(ConfigError, match=rf"FastaReader\.{name} must"):
        read(save(tmp_path, PAIR), **setting)


@pytest.mark.parametrize(
    ("name", "text"), [("a.fa", PAIR), ("a.fq", READS), ("a.fa.gz", PAIR), ("a.fq.gz", READS)]
)
def test_damage_is_refused_or_harmless(tmp_path, name, text):
    raw = text.encode()
    path = save(tmp_path, gzip.compress(raw) if name.endswith("gz") else raw, name)
    assert refuse_or_read(path, quality="q" in name) > 15


@given(data=st.data(), text=st.sampled_from([PAIR, READS]), block=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_changed_bytes_are_read_or_refused(data, text, block):
    raw = bytearray(text.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(
            st.sampled_from(b"\n\r >@+A1\0\xff")
        )
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(spans, "BLOCK", block)
        path = save(Path(folder), bytes(raw))
        with suppress(DataError):
            column = read(path, skip_bad=9)["sequence"]
            found = column[np.arange(len(column))]
            assert [len(one) for one in found] == sizes_of(column)[:, 0].tolist()
            assert all(re.fullmatch(r"[A-Z*.-]+", one) for one in found)
            assert [column.stretch(n, 1, 3) for n in range(len(found))] == [o[1:3] for o in found]
