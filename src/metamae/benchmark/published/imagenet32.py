"""ImageNet32: ImageNet brought to 32 x 32 pixels.

Source: Chrabaszcz, Loshchilov and Hutter, *A Downsampled Variant of ImageNet as an Alternative to
the CIFAR datasets*, 2017, arXiv:1707.08819. train_data_batch_1.npz to train_data_batch_10.npz and
val_data.npz hold "data" (S, 3072) of bytes, channel by channel, and "labels" (S,) from 1 to 1000;
the former also the "mean" of all images.
"""

import zipfile
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import Layout, Published, asking, find, image_settings
from metamae.data.columns.base import Array, Chain, Column
from metamae.data.columns.blocks import Blocked, Recent
from metamae.data.files import legible
from metamae.data.readers import read
from metamae.data.records import Records
from metamae.errors import DataError

SIZE = 32
SHAPE = (3, SIZE, SIZE)
NUM_BATCHES = 10
_HEADER = 30  # bytes of a zip entry's header, in front of its name and extra field


class ImageNet32(Layout):
    """Reads images (3, 32, 32) of 1,000 classes; the validation images are judged.

    Files are mapped where their arrays are stored as they are, else ten of them are unpacked in
    memory at most, 0.4 GB each. MetaMAE resized the original ImageNet itself.
    """

    description: ClassVar[str] = "train_data_batch_1.npz to train_data_batch_10.npz, val_data.npz"

    def read(self, folder: Path) -> Published:
        _refuse_pickles(folder)
        root = find(folder, *_places("train_data_batch_1.npz", "train")).parent
        batches = [find(root, f"train_data_batch_{n}.npz") for n in range(1, NUM_BATCHES + 1)]
        train = _images(batches, root)
        test = _images([find(folder, *_places("val_data.npz", "val"))], root)
        settings = image_settings(SIZE)
        challenge = Challenge(
            name="imagenet32",
            records=train,
            test=test,
            label="label",
            task="classification",
            settings=settings,
        )
        return asking(challenge, "image")


def _places(name: str, part: str) -> tuple[str, ...]:
    return name, f"Imagenet32_{part}_npz/{name}", f"Imagenet32_{part}/{name}", f"{part}/{name}"


def _refuse_pickles(folder: Path) -> None:
    pickled = [
        place for place in _places("train_data_batch_1", "train") if (folder / place).exists()
    ]
    if pickled and not any(folder.glob("**/train_data_batch_1.npz")):
        raise DataError(
            f"{folder} must hold .npz files, as in the archive Imagenet32_train_npz.zip; got "
            f"{pickled[0]}, which is a Python pickle. A pickle can run any code when it is read, "
            "so that none is. The archives whose names end in _npz.zip would do."
        )


def _images(paths: list[Path], root: Path) -> Records:
    """Return the images of some files with their labels."""
    labels, columns, recent = [], [], Recent()
    for path in paths:
        own = np.asarray(read(path, reader="npz", field="labels")["labels"][:])
        if own.ndim != 1 or own.dtype.kind not in "iu":
            raise DataError(
                f"{path} must hold a whole number per image in 'labels'; got {own.dtype} of shape "
                f"{own.shape}. Unpack the file again."
            )
        labels.append(own.astype(np.int64))
        columns.append(_pixels(path, len(own), recent))
    fields: dict[str, Column] = {
        "image": Chain(columns, f"{root}, field 'image'"),
        "label": np.concatenate(labels),
    }
    return Records(fields, str(root), row_word="image")


def _pixels(path: Path, num: int, recent: Recent) -> Column:
    mapped = _mapped(path)
    if mapped is not None:
        return _shaped(path, mapped, num)
    starts = np.array([0, num], dtype=np.int64)
    return Blocked(starts, partial(_unpacked, path, num), np.dtype(np.uint8), SHAPE, recent)


def _unpacked(path: Path, num: int, block: int) -> Array:
    return _shaped(path, np.asarray(read(path, reader="npz", field="data")["data"][:]), num)


def _shaped(path: Path, array: Array, num: int) -> Array:
    if array.dtype != np.uint8 or array.shape != (num, int(np.prod(SHAPE))):
        raise DataError(
            f"{path} must hold bytes of shape ({num}, {np.prod(SHAPE)}) in 'data'; got "
            f"{array.dtype} of shape {array.shape}. Unpack the file again."
        )
    return array.reshape(num, *SHAPE)


def _mapped(path: Path) -> Array | None:
    """Return the array "data" mapped from within the archive; None if it is compressed."""
    rule = "must be a complete .npz file with an array 'data'"
    with legible(str(path), rule, "Unpack it again."), path.open("rb") as raw:
        with zipfile.ZipFile(raw) as archive:
            entry = archive.getinfo("data.npy")
        if entry.compress_type != zipfile.ZIP_STORED:
            return None
        raw.seek(entry.header_offset)
        header = raw.read(_HEADER)
        lengths = (int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
        raw.seek(entry.header_offset + _HEADER + sum(lengths))
        start = raw.tell()
        if np.lib.format.read_magic(raw) == (1, 0):
            shape, _, dtype = np.lib.format.read_array_header_1_0(raw)
        else:
            raw.seek(start + 8)
            shape, _, dtype = np.lib.format.read_array_header_2_0(raw)
        return np.memmap(path, dtype, "r", raw.tell(), shape)
