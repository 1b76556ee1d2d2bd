"""Embedding into a file: in sections, from where a stop left off, in memory that stays flat."""

import json
import signal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command import TINY, start
from metamae import embed, load, pretrain
from metamae.data.columns.base import Subset
from metamae.data.readers import read
from metamae.data.records import Records, sample_names
from metamae.encoder import embedding
from metamae.encoder.embedding import embed_parts, sections
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.uses.embed.partial_file import Unfinished
from metamae.uses.embed.vector_files import TokenVectors, npy_header

ENDS = [".npy", ".npz", ".parquet", ".csv"]
KILLED = """
import os, signal, sys
from metamae import embed
from metamae.encoder import embedding
embedding.MOST_SAMPLES = 10
left = int(sys.argv[4])
sync = os.fsync
def counted(file):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    sync(file)
os.fsync = counted
embed(*sys.argv[1:4], tokens=sys.argv[5] == "tokens")
"""


@pytest.fixture
def short(monkeypatch):
    """Sections of at most 10 samples."""
    monkeypatch.setattr(embedding, "MOST_SAMPLES", 10)


class Stop(BaseException):
    """What a test stops an embedding with."""


def stopped_after(monkeypatch, num, *arguments, **named):
    """Embed, but stop once `num` samples are done."""
    whole = Unfinished.add

    def add(self, part):
        whole(self, part)
        if part.stop >= num:
            raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(Unfinished, "add", add)
        with pytest.raises(Stop):
            embed(*arguments, **named)


def same(one, other):
    return len(one) == len(other) and all(map(np.array_equal, one, other))


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("name", ["words", "table", "images", "series"])
def test_sections_change_no_vector(runs, data, name, tokens, monkeypatch):
    pretrained = load(runs / name)
    source = data / {"words": "words.csv", "table": "table.csv", "images": "images"}.get(
        name, "series.npz"
    )
    whole = pretrained.embed(source, tokens=tokens)
    for most in (1, 7, 59):
        monkeypatch.setattr(embedding, "MOST_SAMPLES", most)
        assert same(pretrained.embed(source, tokens=tokens), whole), most


def test_parts_begin_anywhere(runs, data, short):
    pretrained = load(runs / "words")
    records = pretrained.records(data / "words.csv")
    backbone, spec = pretrained.module.backbone, pretrained.schema.modality
    whole = pretrained.embed(records)
    parts = list(embed_parts(backbone, spec, records, start=37))
    assert [(part.start, part.stop) for part in parts] == [(37, 47), (47, 57), (57, 60)]
    assert np.array_equal(np.concatenate([part.rows for part in parts]), whole[37:])


def test_a_part_that_is_not_taken_to_the_end_leaves_the_module_as_it_was(runs, data, short):
    pretrained = load(runs / "words")
    pretrained.module.train()
    records = pretrained.records(data / "words.csv")
    parts = embed_parts(pretrained.module.backbone, pretrained.schema.modality, records)
    next(parts)
    parts.close()
    assert pretrained.module.backbone.training


class Stored:
    """A column in blocks that counts how often each is read."""

    def __init__(self, values, size, kept):
        self.values, self.size, self.kept = values, size, kept
        self.blocks = np.unique(np.r_[0 : len(values) : size, len(values)])
        self.read, self.recent = [], []

    dtype = property(lambda self: self.values.dtype)
    shape = property(lambda self: self.values.shape)

    def __len__(self):
        return len(self.values)

    def __getitem__(self, index):
        for block in dict.fromkeys((np.atleast_1d(index) // self.size).tolist()):
            if block not in self.recent:
                self.read.append(block)
            self.recent = [block, *(b for b in self.recent if b != block)][: self.kept]
        return self.values[index]


def test_sorting_by_length_reads_each_block_once(runs):
    pretrained = load(runs / "words")
    rng = np.random.default_rng(0)
    texts = np.array(["ACGT" * int(n) for n in rng.integers(1, 40, 300)], dtype=object)
    column = Stored(texts, size=10, kept=10)
    found = pretrained.embed(Records({"text": column}, "stored"))
    assert sorted(column.read) == list(range(30))
    assert np.array_equal(found, pretrained.embed(Records({"text": texts}, "texts")))
    # A view of some of them knows its blocks too.
    view = Records({"text": Subset(column, np.arange(5, 300))}, "view")
    ends = list(sections(pretrained.schema.modality, view, 0, 64))
    assert ends == [75, 155, 235, 295]


def test_sections_hold_few_vectors(runs, data):
    pretrained = load(runs / "series")
    records = Records({"X": np.zeros((50_000, 2, 16), np.float32)}, "zeros")
    spec = pretrained.schema.modality
    for row_bytes in (64, 2**14, 2**20, 2**40):
        ends = np.array([0, *sections(spec, records, 0, row_bytes)])
        sizes = np.diff(ends)
        assert ends[-1] == 50_000 and sizes.min() > 0
        assert sizes.max() * row_bytes <= embedding.HELD or sizes.max() == 1


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("end", ENDS)
def test_a_stopped_embedding_goes_on(runs, data, tmp_path, monkeypatch, short, end, tokens):
    run, source = (runs / "words", data / "words.csv")
    if tokens and end == ".npy":
        run, source = runs / "series", data / "series.npz"
    found = embed(run, source, tmp_path / f"unbroken{end}", tokens=tokens)
    out = tmp_path / f"v{end}"
    for num in (20, 40, 60):  # the last time, all samples are done but the file is not
        stopped_after(monkeypatch, num, run, source, out, tokens=tokens)
        assert not out.exists()
        state = json.loads((tmp_path / f"v{end}.partial" / "state.json").read_text())
        assert state["samples"] == num
    again = embed(run, source, out, tokens=tokens)
    assert same(again, found) and same(again, embed(run, source, tokens=tokens))
    assert out.read_bytes() == (tmp_path / f"unbroken{end}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"unbroken{end}", f"v{end}"]


def test_no_sample_is_computed_twice(runs, data, tmp_path, monkeypatch, short):
    out, steps = tmp_path / "v.npy", []
    stopped_after(monkeypatch, 30, runs / "words", data / "words.csv", out)
    embed(runs / "words", data / "words.csv", out, progress=lambda done, of: steps.append(done))
    assert min(steps) > 30 and steps[-1] == 60


@pytest.mark.parametrize(
    ("end", "syncs", "what"), [(".npy", 5, "rows"), (".parquet", 20, "tokens")]
)
def test_a_killed_embedding_goes_on(runs, data, tmp_path, short, end, syncs, what):
    run, source, out = runs / "words", data / "words.csv", tmp_path / f"v{end}"
    with start(KILLED, run, source, out, syncs, what) as process:
        said = process.communicate()
        assert process.returncode == -signal.SIGKILL, said
    assert not out.exists() and (tmp_path / f"v{end}.partial").is_dir()
    embed(run, source, out, tokens=what == "tokens")
    embed(run, source, tmp_path / f"unbroken{end}", tokens=what == "tokens")
    assert out.read_bytes() == (tmp_path / f"unbroken{end}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"unbroken{end}", f"v{end}"]


def test_what_was_not_noted_is_cut_off(runs, data, tmp_path, monkeypatch, short):
    out, folder = tmp_path / "v.npz", tmp_path / "v.npz.partial"
    arguments = (runs / "words", data / "words.csv", out)
    stopped_after(monkeypatch, 20, *arguments, tokens=True)
    for name in ("vectors.npy", "counts"):
        with (folder / name).open("ab") as file:
            file.write(b"half a section")
    (folder / ".state.json.abc").write_text("half")
    assert same(embed(*arguments, tokens=True), embed(*arguments[:2], tokens=True))
    assert [path.name for path in tmp_path.iterdir()] == ["v.npz"]


def test_what_lost_its_rows_begins_anew(runs, data, tmp_path, monkeypatch, short):
    out, folder = tmp_path / "v.npy", tmp_path / "v.npy.partial"
    arguments = (runs / "words", data / "words.csv", out)
    for damage in (
        lambda: (folder / "vectors.npy").write_bytes(b"short"),
        lambda: (folder / "state.json").write_text("{"),
        lambda: (folder / "state.json").unlink(),
    ):
        out.unlink(missing_ok=True)
        stopped_after(monkeypatch, 20, *arguments)
        damage()
        steps = []
        found = embed(*arguments, progress=lambda done, _, steps=steps: steps.append(done))
        assert steps[0] <= 10 and same(found, embed(*arguments[:2]))


def others(tmp_path, run, file):
    """Calls that differ in one thing from that which was stopped, and what differs."""
    lines = file.read_text().splitlines()
    fixed = tmp_path / "fixed.csv"
    fixed.write_text("\n".join([*lines[:5], lines[5] + "A", *lines[6:]]) + "\n")
    yield "--tokens", (run, file), {"tokens": True}
    yield "precision", (run, file), {"precision": "bfloat16"}
    yield "data", (run, fixed), {}
    yield "data", (run, read(file).subset(np.arange(59))), {}
    yield "settings", (run, file), {"settings": {"decimal": "."}}
    yield "run", (load(run).untrained(), file), {}


def test_another_embedding_is_not_gone_on_with(runs, data, tmp_path, monkeypatch, short):
    out = tmp_path / "v.parquet"
    run, file = runs / "words", data / "words.csv"
    for what, (other_run, other), named in others(tmp_path, run, file):
        stopped_after(monkeypatch, 20, run, file, out)
        with pytest.raises(ArtifactError, match=rf"got 20 samples of one that differs in .*{what}"):
            embed(other_run, other, out, **named)
        assert json.loads((tmp_path / "v.parquet.partial/state.json").read_text())["samples"] == 20
        found = embed(other_run, other, out, overwrite=True, **named)
        assert same(found, embed(other_run, other, **named))
        out.unlink()


@pytest.mark.parametrize("tokens", [False, True])
@pytest.mark.parametrize("name", ["table", "words"])
def test_in_half_precision_vectors_are_nearly_the_same(runs, data, name, tokens):
    pretrained, source = load(runs / name), data / f"{name}.csv"
    exact, auto, rounded = (
        pretrained.embed(source, tokens=tokens, precision=precision)
        for precision in ("float32", "auto", "bfloat16")
    )
    assert same(exact, auto)  # a narrow network on a CPU
    assert not same(exact, rounded)
    for one, other in zip(exact, rounded, strict=True):
        assert other.dtype == np.float32
        assert np.abs(other - one).max() < 0.05 * np.abs(one).max()
    with pytest.raises(ConfigError, match=r"Embed\.precision must be one of .*; got 'half'"):
        pretrained.embed(source, precision="half")


def test_a_precision_that_is_none_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match=r"Embed\.precision .* got 'bf16'\..*bfloat16"):
        embed(tmp_path / "no run", tmp_path / "no data", tmp_path / "v.npy", precision="bf16")


def test_arrays_in_memory_are_known_by_all_their_values(runs, tmp_path, monkeypatch, short):
    x = np.random.default_rng(0).normal(size=(500, 2, 16)).astype(np.float32)
    texts = np.array(["ACGT" * (1 + n % 5) for n in range(500)], dtype=object)
    for name, values in (("series", x), ("words", texts)):
        out = tmp_path / f"{name}.npy"
        stopped_after(monkeypatch, 200, load(runs / name), values, out)
        changed = values.copy()
        changed[101] = values[102]
        with pytest.raises(ArtifactError, match="differs in data"):
            embed(load(runs / name), changed, out)
        assert same(embed(load(runs / name), values, out), load(runs / name).embed(values))


def test_a_folder_of_the_user_is_left_alone(runs, data, tmp_path):
    folder = tmp_path / "v.npy.partial"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(ArtifactError, match=r"got thesis\.txt, which is never removed"):
            embed(runs / "words", data / "words.csv", tmp_path / "v.npy", overwrite=overwrite)
    assert (folder / "thesis.txt").read_text() == "mine"


def test_two_processes_do_not_write_one_file(runs, data, tmp_path):
    arguments = (runs / "words", data / "words.csv", tmp_path / "v.npy")
    with Unfinished(tmp_path / "v.npy", {"--tokens": "False"}, width=16):
        with pytest.raises(ArtifactError, match="one process at a time"):
            embed(*arguments)
    embed(*arguments, overwrite=True)


def test_a_bad_sample_keeps_those_before_it(runs, tmp_path, short):
    x = np.random.default_rng(0).normal(size=(500, 2, 16)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    spoiled = x.copy()
    spoiled[45, 0, 0] = np.inf  # not among those that are looked at first
    np.save(tmp_path / "spoiled.npy", spoiled)
    out = tmp_path / "v.npy"
    with pytest.raises(DataError, match="sample 45: "):
        embed(runs / "series", tmp_path / "spoiled.npy", out)
    state = json.loads((tmp_path / "v.npy.partial" / "state.json").read_text())
    assert state["samples"] == 40 and not out.exists()
    found = embed(runs / "series", tmp_path / "spoiled.npy", out, skip_bad=1, overwrite=True)
    assert same(found, np.delete(embed(runs / "series", tmp_path / "x.npy"), 45, axis=0))


def test_samples_of_different_numbers_of_tokens_leave_nothing(runs, data, tmp_path, short):
    with pytest.raises(ConfigError, match="different numbers of tokens"):
        embed(runs / "words", data / "words.csv", tmp_path / "v.npy", tokens=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("end", ENDS)
def test_what_is_returned_is_mapped_from_disk(runs, data, tmp_path, end):
    found = embed(runs / "series", data / "series.npz", tmp_path / f"v{end}")
    assert isinstance(found, np.memmap) and not found.flags.writeable
    assert found.shape == (80, 16) and np.isfinite(found).all()


def test_token_vectors_are_a_sequence():
    rows = np.arange(12, dtype=np.float32).reshape(6, 2)
    vectors = TokenVectors(rows, np.array([0, 1, 4, 6]))
    assert [len(own) for own in vectors] == [1, 3, 2] and len(vectors) == 3
    assert np.array_equal(vectors[-1], rows[4:]) and np.array_equal(vectors[1:][0], rows[1:4])
    with pytest.raises(IndexError):
        vectors[3]


@pytest.mark.parametrize("shape", [(1, 1), (10**9, 4096), (10**10, 10**5, 10**5)])
def test_headers_have_one_size_and_are_those_of_numpy(tmp_path, shape):
    assert len(npy_header(shape)) == 128
    if shape == (1, 1):
        np.save(tmp_path / "x.npy", np.zeros(shape, np.float32))
        assert (tmp_path / "x.npy").read_bytes()[:128] == npy_header(shape)


def test_samples_are_named_by_any_view():
    records = Records({"X": np.arange(9)}, "table", first_row=2)
    assert sample_names(records) == list(range(2, 11))
    assert sample_names(records.subset(np.array([5, 1, 8])), 1, 3) == [3, 10]
    named = Records({"X": np.arange(3)}, "files", names=["a", "b", "c"])
    assert sample_names(named, 1) == ["b", "c"]


MEASURED = """
import sys
from pathlib import Path
import torch
from metamae import embed
torch.set_num_threads(1)
def private():
    (line,) = (l for l in Path("/proc/self/status").read_text().splitlines() if "RssAnon" in l)
    return int(line.split()[1]) / 1024
seen = []
for rows in ("few", "many"):
    most = 0
    def look(done, total):
        global most
        if done % 10 == 0:
            most = max(most, private())
    folder = Path(sys.argv[1])
    found = embed(folder / "run", folder / f"{rows}.parquet", folder / f"{rows}.parquet.parquet",
                  settings={"in_memory": 0}, overwrite=True, progress=look)
    seen.append((len(found), max(most, private())))
print(*(number for pair in seen for number in pair))
"""


@pytest.mark.skipif("not __import__('pathlib').Path('/proc/self/status').exists()")
def test_memory_does_not_grow_with_the_samples(tmp_path):
    rng = np.random.default_rng(0)
    for name, num in (("few", 100_000), ("many", 300_000)):
        columns = {f"c{n}": rng.normal(size=num).astype(np.float32) for n in range(2)}
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet", row_group_size=10_000)
    some = {f"c{n}": rng.normal(size=100) for n in range(2)}
    pretrain(some, tmp_path / "run", settings={**TINY, "steps": 1})
    with start(MEASURED, tmp_path) as process:
        out, err = process.communicate()
        assert process.returncode == 0, err
    num_few, few, num_many, many = map(float, out.split())
    # The vectors of the others alone are 12 MiB.
    assert (num_few, num_many) == (100_000, 300_000) and many - few < 9, out
