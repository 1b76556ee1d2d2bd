import logging
import os
import struct
import threading

import h5py
import numpy as np
import pytest

from metamae.data.columns.base import blocks_of
from metamae.data.columns.blocks import BLOCK_BYTES
from metamae.data.readers import read
from metamae.errors import DataError

from .damage import refuse_or_read, same

X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)


def file(folder, *, libver="earliest", name="a.h5"):
    return h5py.File(folder / name, "w", libver=libver)


def full(folder, **options):
    with file(folder, **options) as f:
        f.create_dataset("X", data=X, chunks=(10, 3), compression="gzip", shuffle=True)
        f.create_dataset("alone", data=X, chunks=(1, 3))
        f["g/mapped"] = X
        f["g/big"] = X.astype(">f8")
        f["flag"] = X[:, 0] > 0
        f["words"] = [f"é{n}" for n in range(40)]
        f["codes"] = np.array([b"abc", b"de"] * 20)
        f.create_dataset("unwritten", (40, 2), np.int16)
        lists = f.create_dataset("lists", (40,), h5py.vlen_dtype(np.int32))
        for n in range(40):
            lists[n] = np.arange(n % 4)
    return folder / "a.h5"


def expected():
    lists = np.empty(40, dtype=object)
    lists[:] = [np.arange(n % 4, dtype=np.int32) for n in range(40)]
    return {
        "X": X,
        "alone": X,
        "g/mapped": X,
        "g/big": X.astype(np.float64),
        "flag": X[:, 0] > 0,
        "words": np.array([f"é{n}" for n in range(40)], object),
        "codes": np.array(["abc", "de"] * 20, object),
        "unwritten": np.zeros((40, 2), np.int16),
        "lists": lists,
    }


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_round_trip(tmp_path, libver):
    records = read(full(tmp_path, libver=libver))
    assert records.where(3) == f"{tmp_path / 'a.h5'}, row 3"
    assert sorted(records) == sorted(expected())
    rng = np.random.default_rng(1)
    for name, values in expected().items():
        column = records[name]
        assert (column.dtype, column.shape) == (values.dtype, values.shape), name
        for index in (np.arange(40), rng.permutation(40)[:9], np.array([39])):
            assert same(column[index], values[index]), name
    assert isinstance(records["g/mapped"], np.memmap)


def test_forked_processes_and_threads_read_one_column(tmp_path):
    records = read(full(tmp_path))
    failed = []

    def check(seed):
        for index in np.random.default_rng(seed).integers(0, 40, (5, 7)):
            failed.extend(
                n for n in ("X", "alone") if not np.array_equal(records[n][index], X[index])
            )

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if child == 0:
        check(9)
        os._exit(len(failed))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not failed


def test_blocks_are_whole_chunks_of_some_size(tmp_path):
    row = BLOCK_BYTES // 8 // 5
    with file(tmp_path) as f:
        f.create_dataset("X", (25, row), "f8", chunks=(2, row), compression="gzip")
        f.create_dataset("alone", (25, row), "f8", chunks=(1, row))
        f["mapped"] = np.zeros((25, row))
    records = read(tmp_path / "a.h5")
    assert blocks_of(records["X"]).tolist() == [0, 6, 12, 18, 24, 25]
    assert blocks_of(records["alone"]) is blocks_of(records["mapped"]) is None


def test_user_block_in_front_of_the_data(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=1024) as f:
        f["X"] = X
    assert same(np.asarray(read(tmp_path / "a.h5")["X"]), X)


def test_what_is_no_field_is_left_out_and_said(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    with file(tmp_path) as f:
        f["X"] = X
        f["version"] = 3
        f["freq"] = np.arange(3.0)
        f["pairs"] = np.zeros(40, [("a", "f4")])
        f["wave"] = np.zeros((40, 2), complex)
        f["none"] = np.zeros((40, 0))
        f["names"] = np.array([[b"a"]] * 40)
        f["soft"] = h5py.SoftLink("/X")
        f["g/again"] = f["X"]
        f["g/up"] = f["g"]
    assert sorted(read(tmp_path / "a.h5")) == ["X", "g/again"]
    assert "samples are the 40 rows of 'X' (override: --field); left out: " in caplog.text
    for part in ("version (scalar)", "freq (3,)", "pairs (type", "wave (type complex128)"):
        assert part in caplog.text
    assert read(tmp_path / "a.h5", field="freq")["freq"].shape == (3,)
    with pytest.raises(DataError, match=r"got field='x'\. Did you mean 'X'"):
        read(tmp_path / "a.h5", field="x")


def test_a_file_without_fields(tmp_path):
    with file(tmp_path) as f:
        f["version"] = 3
    with pytest.raises(DataError, match=r"at least one array .*; got version \(scalar\)"):
        read(tmp_path / "a.h5")


def test_data_elsewhere_are_refused(tmp_path):
    with file(tmp_path, name="b.h5") as f:
        f["X"] = X
    with file(tmp_path) as f:
        f["X"] = h5py.ExternalLink("b.h5", "/X")
    with pytest.raises(DataError, match="must hold its data itself; got a link from 'X'"):
        read(tmp_path / "a.h5")
    with file(tmp_path) as f:
        layout = h5py.VirtualLayout(X.shape, X.dtype)
        layout[:] = h5py.VirtualSource(str(tmp_path / "b.h5"), "X", X.shape)
        f.create_virtual_dataset("X", layout)
    with pytest.raises(DataError, match="'X' must hold its data itself; got data in another file"):
        read(tmp_path / "a.h5")
    (tmp_path / "raw").write_bytes(X.tobytes())
    with file(tmp_path) as f:
        f.create_dataset("X", X.shape, X.dtype, external=[(str(tmp_path / "raw"), 0, X.nbytes)])
    with pytest.raises(DataError, match="data in another file"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize("chunks", [None, (2**16,)])
def test_a_dataset_that_lies_about_its_size(tmp_path, chunks):
    with file(tmp_path) as f:
        f.create_dataset("X", (2**60,), "u1", chunks=chunks)
    with pytest.raises(DataError, match="must not expand beyond"):
        read(tmp_path / "a.h5")


def test_a_bomb_is_refused(tmp_path):
    with file(tmp_path) as f:
        f.create_dataset("X", data=np.zeros((1000, 1000)), chunks=(500, 1000), compression="gzip")
    assert len(read(tmp_path / "a.h5")) == 1000
    with pytest.raises(DataError, match="must not expand beyond 1000000 bytes"):
        read(tmp_path / "a.h5", max_bytes=1_000_000)


def test_a_mapped_dataset_that_was_cut_off(tmp_path):
    with file(tmp_path) as f:
        f["X"] = np.zeros((1000, 10))
    raw = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(raw[:-100])
    with pytest.raises(DataError, match=r"a\.h5"):
        read(tmp_path / "a.h5")


def test_a_heap_that_would_be_walked_in_a_circle_is_refused(tmp_path):
    with file(tmp_path) as f:
        f["words"] = ["ab", "cd"]
    raw = bytearray((tmp_path / "a.h5").read_bytes())
    start = raw.index(b"GCOL")
    # Object 0 is free space; without a size, the next object is itself.
    free = raw.index(struct.pack("<HHI", 0, 0, 0), start + 16)
    raw[free + 8 : free + 16] = bytes(8)
    (tmp_path / "a.h5").write_bytes(raw)
    with pytest.raises(DataError, match="got a damaged heap of strings or lists at byte"):
        read(tmp_path / "a.h5")


def test_a_list_longer_than_its_file_is_refused(tmp_path):
    with file(tmp_path) as f:
        lists = f.create_dataset("lists", (2,), h5py.vlen_dtype(np.float64))
        lists[0] = lists[1] = np.zeros(77)
    raw = (tmp_path / "a.h5").read_bytes()
    assert raw.count(struct.pack("<I", 77)) == 2
    (tmp_path / "a.h5").write_bytes(raw.replace(struct.pack("<I", 77), struct.pack("<I", 2**31)))
    with pytest.raises(DataError, match=f"no longer than its file; got one of {2**34} bytes"):
        read(tmp_path / "a.h5")


def test_a_filter_that_is_not_installed(tmp_path):
    with file(tmp_path) as f:
        f.create_dataset("X", data=X, chunks=(10, 3), compression="gzip")
    raw = (tmp_path / "a.h5").read_bytes()
    deflate = struct.pack("<HHHH", 1, 8, 1, 1) + b"deflate\0"
    assert raw.count(deflate) == 1
    (tmp_path / "a.h5").write_bytes(raw.replace(deflate, struct.pack("<H", 32026) + deflate[2:]))
    with pytest.raises(DataError, match=r"got filter 32026 \(deflate\).*hdf5plugin"):
        read(tmp_path / "a.h5")


@pytest.mark.parametrize("content", [b"", b"abc", b"\x89HDF\r\n\x1a\n"])
def test_other_content(tmp_path, content):
    (tmp_path / "a.h5").write_bytes(content)
    with pytest.raises(DataError, match=r"a\.h5 must be a complete HDF5 file"):
        read(tmp_path / "a.h5")


def test_without_permission(tmp_path, monkeypatch):
    path = full(tmp_path)

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("io.open", refuse)
    with pytest.raises(DataError, match=r"a\.h5.*Permission denied"):
        read(path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_damage_is_refused_or_harmless(tmp_path, libver):
    assert refuse_or_read(full(tmp_path, libver=libver)) > 20
