"""IDX files: every type, labels beside them, and headers that lie."""

import gzip
import struct

import numpy as np
import pytest

from metamae.data.readers import read
from metamae.errors import DataError

from .damage import refuse_or_read

CODES = {"u1": 8, "i1": 9, ">i2": 11, ">i4": 12, ">f4": 13, ">f8": 14}


def packed(array, code=None, shape=None):
    shape = array.shape if shape is None else shape
    code = CODES[array.dtype.str.removeprefix("|")] if code is None else code
    header = struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape)
    return header + array.tobytes()


def images(dtype="u1"):
    return np.arange(5 * 4 * 3).reshape(5, 4, 3).astype(dtype)


@pytest.mark.parametrize("dtype", CODES)
@pytest.mark.parametrize("zipped", [False, True])
def test_every_type_is_read(tmp_path, dtype, zipped):
    path = tmp_path / ("a.idx.gz" if zipped else "a.idx")
    raw = packed(images(dtype))
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    records = read(path)
    assert list(records) == ["image"]
    assert np.array_equal(records["image"][:], images(dtype))
    assert records["image"].dtype.isnative


def test_labels_are_found_by_their_name(tmp_path):
    (tmp_path / "t-images-idx3-ubyte").write_bytes(packed(images()))
    labels = np.array([3, 1, 4, 1, 5], dtype="u1")
    beside = tmp_path / "t-labels-idx1-ubyte"
    beside.write_bytes(packed(labels))
    records = read(tmp_path / "t-images-idx3-ubyte")
    assert list(records) == ["image", "label"]
    assert records["label"].tolist() == labels.tolist()
    assert list(read(tmp_path / "t-images-idx3-ubyte", field="label")) == ["label"]
    beside.write_bytes(packed(labels[:4]))
    with pytest.raises(DataError, match=r"one label per sample .* got shape \(4,\) for 5 samples"):
        read(tmp_path / "t-images-idx3-ubyte")


@pytest.mark.parametrize(
    ("raw", "rule"),
    [
        (b"", "complete file in IDX format"),
        (b"\0\0\x08", "complete file in IDX format"),
        (b"PK\3\4 a zip file", "must begin with an IDX header"),
        (b"\0\0\x08\x09" + bytes(60), "must begin with an IDX header; got type 0x8 and 9 axes"),
        (packed(images())[:-1], "must hold 60 bytes .* got 59"),
        (packed(images()) + b"\0", "must hold 60 bytes .* got more"),
        (packed(images(), shape=(2**31, 2**31, 2**30)), "must not expand beyond"),
        (gzip.compress(packed(images()), mtime=0)[:-9], "complete file in IDX format"),
        (packed(images(), shape=(0, 4, 3))[:16], "at least one value"),
    ],
    ids=range(9),
)
def test_damage_is_named(tmp_path, raw, rule):
    path = tmp_path / "bad.idx"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=rule) as caught:
        read(path)
    assert "bad.idx" in str(caught.value)


def test_bombs_are_refused(tmp_path):
    path = tmp_path / "bomb.idx.gz"
    path.write_bytes(gzip.compress(packed(np.zeros((1000, 1000), "u1"))))
    with pytest.raises(DataError, match=r"must not expand beyond 1000 bytes.*max_bytes"):
        read(path, max_bytes=1000)


@pytest.mark.parametrize("name", ["a.idx", "a.idx.gz"])
def test_damaged_files_end_in_data_errors_only(tmp_path, name):
    path = tmp_path / name
    raw = packed(images())
    path.write_bytes(gzip.compress(raw) if name.endswith("gz") else raw)
    assert refuse_or_read(path) > 5
