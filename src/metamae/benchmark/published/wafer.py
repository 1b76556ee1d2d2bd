"""WM-811K: maps of wafers, with the pattern of their defective dies.

Source: Wu, Jang and Chen, *Wafer Map Failure Pattern Recognition and Similarity Ranking for
Large-Scale Data Sets*, 2015, as distributed by MIR lab: WM811K.mat of MATLAB 7.3, which is HDF5. An
array of structures "data" has fields of references (1, N): "waferMap" to 0 no die, 1 good, 2
defective; "failureType" to the letters of a pattern, or to nothing where no expert looked.
"""

from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    cut,
    find,
    image_settings,
    resized,
    shuffled,
)
from metamae.core.checks import check_at_least
from metamae.data.columns.base import Array, Index
from metamae.data.columns.blocks import Rows
from metamae.data.files import legible
from metamae.data.records import Records
from metamae.data.stores.hdf5 import opened
from metamae.errors import DataError

PATTERNS = (
    "none",
    "random",
    "donut",
    "scratch",
    "center",
    "loc",
    "edge-loc",
    "edge-ring",
    "near-full",
)
_MAT = "MIR-WM811K/MATLAB/WM811K.mat"
_PICKLES = ("LSWMD.pkl", "MIR-WM811K/Python/WM811K.pkl", "WM811K.pkl")
_REMEDY = "Unpack MIR-WM811K.zip again."
_GREY = np.array([0, 127, 255], dtype=np.uint8)  # of no die, a good one, a defective one


class Wafer(Layout):
    """Reads wafers as grey images, and asks for the pattern of those that experts looked at.

    90 % of the 638,507 others are learnt from; 90 % of the 172,950 with a pattern train a probe and
    the rest judges it, exactly as in DABS and MetaMAE, which score F1 weighted by class. They
    repeat the one channel three times. Wafers stay on disk; finding their patterns takes a minute.

    Args:
        size: Dies along both axes that maps are brought to.
    """

    description: ClassVar[str] = "MIR-WM811K/MATLAB/WM811K.mat"

    def __init__(self, *, size: int = 32):
        self.size = check_at_least("Wafer.size", size, 1)

    def read(self, folder: Path) -> Published:
        names = (_MAT, "MATLAB/WM811K.mat", "WM811K.mat")
        pickled = [name for name in _PICKLES if (folder / name).exists()]
        if pickled and not any((folder / name).exists() for name in names):
            raise DataError(
                f"{folder} must hold {_MAT}; got {pickled[0]}, a Python pickle. A pickle can run "
                "any code when it is read, so that none is. The archive MIR-WM811K.zip of MIR lab "
                "holds the same wafers in WM811K.mat."
            )
        path = find(folder, *names)
        with legible(str(path), "must be the MATLAB file of WM-811K", _REMEDY):
            patterns = _patterns(path)
        read = partial(_maps, path, self.size)
        maps = Rows(len(patterns), read, np.dtype(np.uint8), (1, self.size, self.size))
        labels = np.array(patterns, dtype=object)
        records = Records({"image": maps, "pattern": labels}, str(path), row_word="wafer")
        seen = np.array([bool(pattern) for pattern in patterns])
        if seen.all() or not seen.any():
            got = "only such" if seen.all() else "none such"
            raise DataError(
                f"{path} must hold wafers with a pattern and others; got {got}. {_REMEDY}"
            )
        learnt, judged = np.flatnonzero(~seen), np.flatnonzero(seen)
        kept, _ = cut(shuffled(len(learnt)))
        train, test = cut(shuffled(len(judged)))
        settings = image_settings(self.size)
        return Published(
            pretrain=records.subset(np.sort(learnt[kept])).only(["image"]),
            challenges=[
                Challenge(
                    name="wafer",
                    records=records.subset(np.sort(judged[train])),
                    test=records.subset(np.sort(judged[test])),
                    label="pattern",
                    task="classification",
                    settings=settings,
                )
            ],
            settings=settings,
        )


def _value(file: Any, reference: Any) -> Array:
    """Return what a reference leads to, by way of cells that hold one thing; empty if nothing."""
    dataset = file[reference]
    while dataset.dtype.kind == "O" and dataset.size:
        dataset = file[dataset[()].flat[0]]
    if dataset.attrs.get("MATLAB_empty", 0) or dataset.dtype.kind == "O":
        return np.empty(0, dtype=np.uint8)
    return np.asarray(dataset[()])


def _patterns(path: Path) -> list[str]:
    """Return the pattern of each wafer in small letters; "" where no expert looked."""
    with opened(path) as file:
        fields = [file["data"][name] for name in ("waferMap", "failureType")]
        if fields[0].shape != fields[1].shape or fields[0].dtype.kind != "O":
            raise DataError(
                f"{path} must hold a reference to a map and to a pattern for each wafer; got "
                f"{fields[0].dtype} {fields[0].shape} and {fields[1].dtype} {fields[1].shape}. "
                f"{_REMEDY}"
            )
        found = []
        for number, reference in enumerate(fields[1][()].flat):
            text = "".join(map(chr, _value(file, reference).astype(int).flat)).lower()
            if text and text not in PATTERNS:
                raise DataError(
                    f"{path}, wafer {number} must have a pattern out of {', '.join(PATTERNS)}; got "
                    f"{text[:40]!r}. {_REMEDY}"
                )
            found.append(text)
    return found


def _maps(path: Path, size: int, index: Index) -> Array:
    """Read some wafers as (n, 1, size, size)."""
    images = np.empty((len(index), 1, size, size), dtype=np.uint8)
    with legible(str(path), "must stay the MATLAB file of WM-811K", _REMEDY), opened(path) as file:
        references = file["data"]["waferMap"]
        places = np.unravel_index(index, references.shape)
        for row, place in enumerate(zip(*places, strict=True)):
            dies = _value(file, references[place])
            if dies.ndim != 2 or not dies.size or dies.max() > 2:
                raise DataError(
                    f"{path}, wafer {index[row]} must be a map of 0, 1 and 2; got "
                    f"{dies.dtype} of shape {dies.shape}. {_REMEDY}",
                    sample=int(index[row]),
                )
            # MATLAB stores columns first.
            images[row] = resized(_GREY[dies.astype(np.int64).T][None], size)
    return images
