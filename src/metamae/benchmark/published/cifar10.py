"""CIFAR-10: small photographs of ten kinds of things.

Source: Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. The binary
version: data_batch_1.bin to data_batch_5.bin and test_batch.bin hold 3,073 bytes an image, its
label from 0 to 9 and its pixels channel by channel; batches.meta.txt names the labels.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    asking,
    find,
    image_settings,
    labelled,
    lines,
)
from metamae.data.columns.base import Array, Chain
from metamae.data.records import Records
from metamae.errors import DataError

SIZE = 32
_ROOT = "cifar-10-batches-bin"
_BYTES = 1 + 3 * SIZE * SIZE


class Cifar10(Layout):
    """Reads images (3, 32, 32) with the names of their classes; the test images are judged."""

    description: ClassVar[str] = "cifar-10-batches-bin/data_batch_1.bin to 5, test_batch.bin"

    def read(self, folder: Path) -> Published:
        if (folder / "cifar-10-batches-py").exists() and not (folder / _ROOT).exists():
            raise DataError(
                f"{folder} must hold the binary version of CIFAR-10, {_ROOT}; got the one for "
                "Python, which is pickled. A pickle can run any code when it is read, so that none "
                "is. The archive cifar-10-binary.tar.gz would do."
            )
        root = find(folder, f"{_ROOT}/data_batch_1.bin", "data_batch_1.bin").parent
        names = lines(find(root, "batches.meta.txt"))
        train = _images(root, [f"data_batch_{number}.bin" for number in range(1, 6)], names)
        test = _images(root, ["test_batch.bin"], names)
        settings = image_settings(SIZE)
        challenge = Challenge(
            name="cifar10",
            records=train,
            test=test,
            label="label",
            task="classification",
            settings=settings,
        )
        return asking(challenge, "image")


def _images(root: Path, files: list[str], names: list[str]) -> Records:
    rows: list[Array] = []
    for file in files:
        path = find(root, file)
        size = path.stat().st_size
        if not size or size % _BYTES:
            raise DataError(
                f"{path} must hold {_BYTES} bytes for each image; got {size} bytes, which is no "
                "multiple of it. Unpack the file again."
            )
        rows.append(np.memmap(path, np.uint8, "r").reshape(-1, _BYTES))
    labels = np.concatenate([one[:, 0] for one in rows])
    if labels.max() >= len(names):
        raise DataError(
            f"{root} must hold labels below {len(names)}, as batches.meta.txt names them; got "
            f"{labels.max()}. Unpack the files again."
        )
    pixels = Chain([one[:, 1:].reshape(-1, 3, SIZE, SIZE) for one in rows], f"{root}, 'image'")
    records = Records({"image": pixels}, str(root), row_word="image")
    return labelled(records, {"label": [names[label] for label in labels]})
