"""WM-811K: an array of structures in a file of MATLAB 7.3."""

import h5py
import numpy as np
import pandas as pd
import pytest

from metamae.benchmark.published import LAYOUTS
from metamae.errors import DataError

FOUND = ["none", "Edge-Ring", "Loc", "", "Near-full", "", "Scratch", "", "Center", ""]


def chars(text):
    """Letters as MATLAB stores them, in a column."""
    return np.array([ord(letter) for letter in text], dtype=np.uint16)[:, None]


def write(path, num=60, cells=False):
    """As MATLAB writes `data`: fields are references into #refs#, letters are numbers."""
    rng = np.random.default_rng(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        store = file.create_group("#refs#")

        def put(name, value, kind):
            # An empty value keeps its size as numbers, with an attribute that says so.
            empty = value.size == 0
            data = np.zeros(2, dtype=np.uint64) if empty else value
            dataset = store.create_dataset(name, data=data)
            dataset.attrs["MATLAB_class"] = np.bytes_(kind)
            if empty:
                dataset.attrs["MATLAB_empty"] = np.int32(1)
            if not cells:
                return dataset.ref
            box = store.create_dataset(f"{name}_cell", (1, 1), h5py.ref_dtype)
            box[0, 0] = dataset.ref
            box.attrs["MATLAB_class"] = np.bytes_("cell")
            return box.ref

        data = file.create_group("data")
        data.attrs["MATLAB_class"] = np.bytes_("struct")
        names = "waferMap dieSize lotName waferIndex trainTestLabel failureType".split()
        fields = {name: [] for name in names}
        for number in range(num):
            rows, columns = 26 + number % 3, 30
            dies = rng.integers(1, 3, (rows, columns)).astype(np.uint8)
            # The first rows hold no die, and more so for each wafer.
            dies[: 1 + number % 20] = 0
            text = FOUND[number % 10]
            part = "Test" if text else ""
            fields["waferMap"].append(put(f"m{number}", dies.T, "uint8"))
            fields["dieSize"].append(put(f"d{number}", np.array([[600.0]]), "double"))
            fields["lotName"].append(put(f"l{number}", chars("lot1"), "char"))
            fields["waferIndex"].append(put(f"i{number}", np.array([[1.0 + number]]), "double"))
            fields["trainTestLabel"].append(put(f"t{number}", chars(part), "char"))
            fields["failureType"].append(put(f"f{number}", chars(text), "char"))
        for name, references in fields.items():
            # An array (N, 1) of MATLAB is (1, N) in the file.
            dataset = data.create_dataset(name, (1, num), h5py.ref_dtype)
            for column, reference in enumerate(references):
                dataset[0, column] = reference
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: PCWIN64, Created on: ...")


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "cells"])
def folder(request, tmp_path_factory):
    root = tmp_path_factory.mktemp("wafer")
    write(root / "MIR-WM811K" / "MATLAB" / "WM811K.mat", cells=request.param)
    return root


def height(image):
    """Rows of an image at its top that show no die."""
    return int((image[0].max(axis=1) < 64).sum())


def test_maps_and_patterns(folder):
    published = LAYOUTS.build("wafer").read(folder)
    (challenge,) = published.challenges
    sizes = len(published.pretrain), len(challenge.records), len(challenge.test)
    # 24 of 60 have no pattern; of these 90 %, rounded up.
    assert sizes == (22, 33, 3)
    assert list(published.pretrain) == ["image"]
    assert published.pretrain["image"].shape == (22, 1, 32, 32)
    for records in (challenge.records, challenge.test):
        numbers = records.index[:].tolist()
        assert records["pattern"][:].tolist() == [FOUND[n % 10].lower() for n in numbers]
        for number, image in zip(numbers, records["image"][:], strict=True):
            expected = (1 + number % 20) / (26 + number % 3) * 32
            assert abs(height(image) - expected) <= 1
            assert image.max() > 200


def test_the_split_is_that_of_the_papers(folder):
    (challenge,) = LAYOUTS.build("wafer").read(folder).challenges
    frame = pd.DataFrame({"n": [n for n in range(60) if FOUND[n % 10]]})
    frame = frame.sample(frac=1, random_state=42).reset_index(drop=True)
    assert sorted(challenge.test.index[:].tolist()) == sorted(frame.tail(3)["n"])


def test_an_encoder_learns(folder, learns):
    learns(LAYOUTS.build("wafer").read(folder))


def test_pickles_are_refused(tmp_path):
    (tmp_path / "LSWMD.pkl").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match=r"must hold .*WM811K.mat; got LSWMD.pkl, a Python pickle"):
        LAYOUTS.build("wafer").read(tmp_path)


def test_missing_and_damaged_files(tmp_path):
    layout = LAYOUTS.build("wafer")
    with pytest.raises(DataError, match=r"must hold MIR-WM811K/MATLAB/WM811K.mat"):
        layout.read(tmp_path)
    path = tmp_path / "WM811K.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(1000))
    with pytest.raises(DataError, match=r"WM811K.mat must be the MATLAB file of WM-811K"):
        layout.read(tmp_path)
    write(path, num=30)
    with h5py.File(path, "r+") as file:
        file["#refs#/f4"][0, 0] = ord("M")
    with pytest.raises(DataError, match=r"wafer 4 must have a pattern out of .*'mear-full'"):
        layout.read(tmp_path)
    write(path, num=30)
    with h5py.File(path, "r+") as file:
        file["#refs#/m4"][0, 0] = 7
    (challenge,) = layout.read(tmp_path).challenges
    position = challenge.records.index[:].tolist().index(4)
    with pytest.raises(DataError, match=r"wafer 4 must be a map of 0, 1 and 2"):
        challenge.records["image"][np.array([position])]
    write(path, num=30)
    with h5py.File(path, "r+") as file:
        del file["data/failureType"]
    with pytest.raises(DataError, match=r"WM811K.mat must be the MATLAB file of WM-811K"):
        layout.read(tmp_path)
