import json
import logging
import os
import shutil
import threading
import warnings
import zipfile

import numpy as np
import pytest
import zarr

from metamae.data.columns.base import blocks_of
from metamae.data.readers import pick, read
from metamae.errors import DataError

from .damage import damaged, refuse_or_read, same

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
VERSIONS = pytest.mark.parametrize("version", [2, 3])
NAMES = pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])


def save(folder, arrays, name="a.zarr", version=3, **options):
    """Write a store; a name with "/" lies in a group."""
    path = folder / name
    store = zarr.storage.ZipStore(path, mode="w") if name.endswith(".zip") else path
    with warnings.catch_warnings(action="ignore"):  # types that version 3 does not settle
        root = zarr.open_group(store, mode="w", zarr_format=version)
        for field, values in arrays.items():
            root.create_array(field, data=values, **options.get(field, {}))
    if name.endswith(".zip"):
        store.close()
    return path


def some():
    return {
        "X": X,
        "alone": X,
        "g/big": X.astype(">f8"),
        "g/h/y": np.arange(40),
        "flag": X[:, 0] > 0,
        "words": np.array([f"é{n}" for n in range(40)]),
        "day": np.arange(40).astype("M8[D]"),
    }


OPTIONS = {"X": {"chunks": (10, 3)}, "alone": {"chunks": (1, 3)}, "g/big": {"compressors": None}}


@VERSIONS
@NAMES
def test_round_trip(tmp_path, name, version):
    records = read(save(tmp_path, some(), name, version, **OPTIONS))
    expected = some() | {"g/big": X.astype(float), "words": some()["words"].astype(object)}
    assert sorted(records) == sorted(expected)
    assert records.where(3) == f"{tmp_path / name}, row 3"
    rng = np.random.default_rng(1)
    for field, values in expected.items():
        column = records[field]
        assert (column.dtype, column.shape) == (values.dtype, values.shape), field
        for index in (np.arange(40), rng.permutation(40)[:9], np.array([39])):
            assert same(column[index], values[index]), field
    assert blocks_of(records["alone"]) is None
    assert blocks_of(records["X"]).tolist() == [0, 40]


def test_blocks_are_whole_chunks_of_some_size(tmp_path):
    values = np.zeros((25, 2**15))  # 256 KiB a row
    path = save(
        tmp_path,
        {"X": values, "s": values},
        X={"chunks": (2, 2**15)},
        s={"chunks": (1, 2**15), "shards": (5, 2**15)},
    )
    records = read(path)
    assert blocks_of(records["X"]).tolist() == [0, 4, 8, 12, 16, 20, 24, 25]


@VERSIONS
@NAMES
def test_forked_processes_and_threads_read_one_column(tmp_path, name, version):
    records = read(save(tmp_path, some(), name, version, **OPTIONS))
    failed = []

    def check(seed):
        for index in np.random.default_rng(seed).integers(0, 40, (5, 7)):
            failed.extend(n for n in ("X", "alone") if not same(records[n][index], X[index]))

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with warnings.catch_warnings(action="ignore"):  # that zarr's thread is not in the child
        child = os.fork()
    if child == 0:
        check(9)
        os._exit(len(failed))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not failed


@VERSIONS
def test_a_store_that_is_one_array(tmp_path, version):
    zarr.create_array(tmp_path / "a", data=X, zarr_format=version)
    assert pick(tmp_path / "a") == "zarr"
    assert same(read(tmp_path / "a")["X"][:], X)


def test_several_stores_are_shards(tmp_path):
    save(tmp_path, {"X": X, "y": np.arange(40)}, "0.zarr")
    save(tmp_path, {"X": X + 1, "y": np.arange(40)}, "1.zarr")
    records = read(tmp_path / "*.zarr")
    assert same(records["X"][np.array([3, 43])], np.stack([X[3], X[3] + 1]))
    assert records.where(43).endswith(", 1.zarr, row 3")


@VERSIONS
def test_what_is_no_field_is_left_out_and_said(tmp_path, caplog, version):
    caplog.set_level(logging.INFO, "metamae")
    arrays = {"X": X, "freq": np.arange(3.0), "wave": X.astype(complex), "scale": np.array(2.0)}
    path = save(tmp_path, arrays, version=version)
    with warnings.catch_warnings(action="ignore"):
        zarr.open_group(path).create_array("text", shape=(40,), dtype=str)
    (path / "notes.txt").write_text("x")
    assert list(read(path)) == ["X"]
    for part in ("freq (3,)", "wave (type complex128)", "scale (scalar)", "text (strings of any"):
        assert part in caplog.text
    with pytest.raises(DataError, match=r"got field='x'\. Did you mean 'X'"):
        read(path, field="x")


def test_a_codec_that_unpickles_is_never_run(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    path = save(tmp_path, {"X": X, "bad": X}, version=2)
    described = json.loads((path / "bad" / ".zarray").read_text())
    described["filters"] = [{"id": "pickle", "protocol": 5}]
    (path / "bad" / ".zarray").write_text(json.dumps(described))
    assert list(read(path)) == ["X"]
    assert "bad (codec pickle, which is not known to be safe)" in caplog.text
    with pytest.raises(DataError, match="got field='bad'"):
        read(path, field="bad")


@VERSIONS
def test_an_array_that_lies_about_its_size(tmp_path, version):
    path = save(tmp_path, {"X": X}, version=version)
    file = path / "X" / ("zarr.json" if version == 3 else ".zarray")
    described = json.loads(file.read_text())
    described["shape"] = [2**50, 3]
    file.write_text(json.dumps(described))
    with pytest.raises(DataError, match="must not expand beyond"):
        read(path)
    described["shape"] = [40, 3]
    if version == 3:
        described["chunk_grid"]["configuration"]["chunk_shape"] = [2**50, 3]
    else:
        described["chunks"] = [2**50, 3]
    file.write_text(json.dumps(described))
    with pytest.raises(DataError, match="must not expand beyond"):
        read(path)


def test_a_zip_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("metamae.data.readers.zarr.CHUNK_BYTES", 100_000)
    path = save(tmp_path, {"X": X}, "a.zarr.zip")
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("X/c/9/9", bytes(1_000_000))
    with pytest.raises(DataError, match="X/c/9/9 must not expand beyond 100000 bytes"):
        read(path)


def test_links_to_folders_and_pipes_are_refused(tmp_path):
    path = save(tmp_path, {"X": X})
    (path / "g").symlink_to(path)
    with pytest.raises(DataError, match=r"a link to a folder, a pipe or a device: .*/g"):
        read(path)
    (path / "g").unlink()
    os.mkfifo(path / "p")
    with pytest.raises(DataError, match=r"a link to a folder, a pipe or a device: .*/p"):
        read(path)
    (path / "p").unlink()
    assert len(read(path)) == 40


@pytest.mark.parametrize("content", ["folder", "file", "pipe"])
def test_other_content(tmp_path, content):
    path = tmp_path / "a.zarr"
    if content == "folder":
        path.mkdir()
    elif content == "file":
        path.write_bytes(b"abc")
    else:
        os.mkfifo(path)
    with pytest.raises(DataError, match=r"a\.zarr must "):
        read(path)


@VERSIONS
def test_a_damaged_zip_is_refused_or_harmless(tmp_path, version):
    arrays = {"X": X, "y": np.arange(40)}
    assert refuse_or_read(save(tmp_path, arrays, "a.zarr.zip", version)) > 30


@VERSIONS
def test_damaged_files_of_a_folder_are_refused_or_harmless(tmp_path, version):
    path = save(tmp_path, {"X": X, "y": np.arange(40)}, version=version, X={"chunks": (40, 3)})
    refused = 0
    for file in sorted(entry for entry in path.rglob("*") if entry.is_file()):
        whole = file.read_bytes()
        for raw in damaged(whole, num=12):
            file.write_bytes(raw)
            try:
                for column in read(path).columns.values():
                    column[:]
            except DataError as error:
                refused += 1
                assert "a.zarr" in str(error)
        file.write_bytes(whole)
    assert refused > 20
    shutil.rmtree(path)
