import logging
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metamae.data.readers import read
from metamae.errors import ConfigError, DataError

from .damage import refuse_or_read
from .test_npy import ARRAYS


def save(folder, write=np.savez, **arrays):
    write(folder / "a.npz", **arrays)
    return folder / "a.npz"


@given(array=ARRAYS, write=st.sampled_from([np.savez, np.savez_compressed]))
@settings(max_examples=50, deadline=None)
def test_round_trip(array, write):
    with TemporaryDirectory() as folder:
        path = save(Path(folder), write, X=array, y=np.arange(len(array)))
        records = read(path)
        assert records["X"].dtype == array.dtype
        np.testing.assert_array_equal(records["X"], array)
        np.testing.assert_array_equal(records["y"], np.arange(len(array)))


def test_strings(tmp_path):
    records = read(save(tmp_path, X=np.zeros((2, 3)), name=np.array(["a", "b"])))
    assert records["name"].tolist() == ["a", "b"]


def test_other_lengths_are_named_and_field_helps(tmp_path):
    path = save(tmp_path, X=np.zeros((3, 2)), y=np.zeros(3), classes=np.array(["a", "b"]))
    with pytest.raises(DataError, match=r"'classes': 2}\. If 'classes' .* field='X' would do"):
        read(path)
    assert list(read(path, field="X")) == ["X"]


def test_single_values_are_left_out_and_logged(tmp_path, caplog):
    caplog.set_level(logging.INFO, "metamae")
    assert list(read(save(tmp_path, X=np.zeros((3, 2)), rate=np.float64(2)))) == ["X"]
    assert "left out single values, not samples: rate" in caplog.text
    with pytest.raises(DataError, match="only single values: rate"):
        read(save(tmp_path, rate=np.float64(2)))


def test_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    path = save(tmp_path, np.savez_compressed, X=np.zeros((100, 1000)))
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(DataError, match="must not expand beyond 1000 bytes; got 800128"):
        read(path, max_bytes=1000)
    with pytest.raises(ConfigError, match=r"NpzReader\.max_bytes"):
        read(path, max_bytes=0)


def test_a_header_that_promises_too_much_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    with zipfile.ZipFile(path, "w") as file, file.open("X.npy", "w") as entry:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
        np.lib.format.write_array_header_1_0(entry, header)
    with pytest.raises(DataError, match=r"'X' must be a complete array .*; got 128 bytes"):
        read(path)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.array([None, 1])}, "'X' must .* got Python objects"),
        ({"X": np.zeros((2, 2), complex)}, "'X' must .* got complex128"),
        ({"X": np.zeros((0, 2))}, "'X' must hold at least one value"),
        ({}, "at least one array; got none"),
    ],
)
def test_refuses(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        read(save(tmp_path, **arrays))


def test_unknown_field_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"got field='Y'\..*Known: X"):
        read(save(tmp_path, X=np.zeros((2, 2))), field="Y")


def test_flipped_bit_in_the_values_is_found(tmp_path):
    path = save(tmp_path, X=np.zeros((30, 20)))
    raw = bytearray(path.read_bytes())
    raw[1000] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match=r"'X' must be a complete array; got .*CRC"):
        read(path)


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_damage_is_refused_or_harmless(tmp_path, write):
    path = save(tmp_path, write, X=np.arange(12.0).reshape(4, 3), y=np.arange(4))
    assert refuse_or_read(path) > 45
