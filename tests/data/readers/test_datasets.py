import json

import numpy as np
import pyarrow as pa
import pytest

from metamae.data.columns.base import Chain
from metamae.data.readers import pick, read
from metamae.errors import ConfigError, DataError

from .damage import damaged, same


def save(folder, tables, **state):
    """Write what `save_to_disk` writes: streams of record batches, and two descriptions."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{n:05}-of-{len(tables):05}.arrow" for n in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with pa.ipc.new_stream(folder / name, table.schema) as writer:
            writer.write_table(table, max_chunksize=4)
    state = {"_data_files": [{"filename": name} for name in names], "_split": "train"} | state
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return folder


def table(start=0, num=10):
    n = np.arange(start, start + num)
    return pa.table({"x": [[float(k), 1.0] for k in n], "label": n, "text": [f"é{k}" for k in n]})


@pytest.mark.parametrize("in_memory", [2**20, 0])
def test_round_trip(tmp_path, in_memory):
    folder = save(tmp_path / "a", [table(), table(10, 5)])
    assert pick(folder) == "datasets"
    records = read(folder, in_memory=in_memory)
    assert list(records) == ["x", "label", "text"]
    order = np.random.default_rng(0).permutation(15)
    assert same(records["label"][order], order)
    assert same(records["x"][order], np.stack([order.astype(float), np.ones(15)], axis=1))
    assert records["text"][order].tolist() == [f"é{k}" for k in order]
    assert records.where(12) == f"{folder}, data-00001-of-00002.arrow, row 2"
    assert list(read(folder, field="text")) == ["text"]


def test_one_file_has_plain_row_numbers(tmp_path):
    folder = save(tmp_path / "a", [table()])
    assert read(folder).where(3) == f"{folder}, row 3"
    column = read(folder, in_memory=0)["x"]
    assert isinstance(column, Chain) and not any(part.flags.owndata for part in column.columns)


def splits(folder, names=("train", "test")):
    for number, name in enumerate(names):
        save(folder / name, [table(100 * number)])
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(names)}))
    return folder


def test_a_split_is_chosen(tmp_path):
    folder = splits(tmp_path / "a")
    assert pick(folder) == "datasets"
    records = read(folder, split="test")
    assert records["label"][0] == 100
    assert records.where(1) == f"{folder}, split 'test', row 1"
    with pytest.raises(
        DataError, match=r"one split at a time; .* among train, test\. split='train'"
    ):
        read(folder)
    with pytest.raises(DataError, match=r"got split='tset'\. Did you mean 'test'"):
        read(folder, split="tset")
    with pytest.raises(ConfigError, match=r"DatasetsReader\.split must be the name .* got 3"):
        read(folder, split=3)
    with pytest.raises(DataError, match="Leave the setting out"):
        read(folder / "test", split="test")
    assert len(read(splits(tmp_path / "b", ["only"]))) == 10


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, "flatten_indices"),
        ({"_data_files": []}, "no list of files"),
        ({"_data_files": "x"}, "no list of files"),
        ({"_data_files": [{"filename": "../state.json"}]}, r"a file named '\.\./state\.json'"),
        ({"_data_files": [{"filename": "/etc/passwd"}]}, "a file named '/etc/passwd'"),
        ({"_data_files": [{"filename": 3}]}, "a file named 3"),
        (
            {"_data_files": [{"filename": "none.arrow"}]},
            "something that exists; got '.*none.arrow'",
        ),
    ],
)
def test_refuses(tmp_path, state, message):
    with pytest.raises(DataError, match=message):
        read(save(tmp_path / "a", [table()], **state))


@pytest.mark.parametrize("text", ["", "[]", "{", "\x80", '{"_data_files": [3]}'])
def test_damaged_descriptions(tmp_path, text):
    folder = save(tmp_path / "a", [table()])
    (folder / "state.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="must be a folder written by save_to_disk"):
        read(folder)
    splits(tmp_path / "b")
    (tmp_path / "b" / "dataset_dict.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match="must be a folder written by save_to_disk"):
        read(tmp_path / "b")


def test_a_bad_shard_is_set_aside(tmp_path):
    folder = save(tmp_path / "a", [table(), table(10)])
    bad = folder / "data-00001-of-00002.arrow"
    bad.write_bytes(bad.read_bytes()[:100])
    with pytest.raises(DataError, match=r"data-00001-of-00002\.arrow: must be a complete"):
        read(folder)
    records = read(folder, skip_bad=1)
    assert len(records) == 10 and records.aside[0].where == str(bad)


@pytest.mark.parametrize("in_memory", [2**20, 0])
def test_damage_is_refused_or_harmless(tmp_path, in_memory):
    folder = save(tmp_path / "a", [table()])
    path = folder / "data-00000-of-00001.arrow"
    refused = 0
    for raw in damaged(path.read_bytes()):
        path.write_bytes(raw)
        try:
            for column in read(folder, in_memory=in_memory).columns.values():
                column[:]
        except DataError as error:
            refused += 1
            assert str(folder) in str(error)
    assert refused > 10
