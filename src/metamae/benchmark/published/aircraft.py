"""FGVC-Aircraft: photographs of aircraft.

Source: Maji et al., *Fine-Grained Visual Classification of Aircraft*, 2013, arXiv:1306.5151.
data/images/1025794.jpg and so on; images_variant_trainval.txt and images_variant_test.txt have a
line for each image, its name and its variant; images_box.txt its name and the corners of the plane.
"""

from functools import partial
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
    pairs,
    resized,
)
from metamae.core.checks import check_at_least
from metamae.data.columns.base import Array
from metamae.data.columns.decoded import Decoded
from metamae.data.media.pictures import decode
from metamae.data.records import Records
from metamae.errors import DataError

Box = tuple[int, int, int, int]


class Aircraft(Layout):
    """Reads what lies in the box around a plane of 100 variants, by the published split.

    As in DABS and MetaMAE, training and validation images train a probe.

    Args:
        size: Pixels along both axes that boxes are brought to.
    """

    description: ClassVar[str] = "data/images, images_variant_trainval.txt, images_box.txt"

    def __init__(self, *, size: int = 32):
        self.size = check_at_least("Aircraft.size", size, 1)

    def read(self, folder: Path) -> Published:
        names = ("fgvc-aircraft-2013b/data/images_box.txt", "data/images_box.txt", "images_box.txt")
        path = find(folder, *names)
        boxes = {name: _box(path, name, text) for name, text in pairs(path).items()}
        challenge = Challenge(
            name="aircraft",
            records=self._planes(path, boxes, "trainval"),
            test=self._planes(path, boxes, "test"),
            label="variant",
            task="classification",
            settings=image_settings(self.size),
        )
        return asking(challenge, "image")

    def _planes(self, path: Path, boxes: dict[str, Box], part: str) -> Records:
        variants = pairs(find(path.parent, f"images_variant_{part}.txt"))
        if missing := [name for name in variants if name not in boxes]:
            raise DataError(
                f"{path} must hold a box for every image; {missing[0]} has none. Unpack it again."
            )
        folder = find(path.parent, "images")
        paths = [find(folder, f"{name}.jpg") for name in variants]
        read = partial(_plane, boxes, self.size)
        pixels = Decoded(paths, read, np.dtype(np.uint8), (3, self.size, self.size))
        files = [file.name for file in paths]
        records = Records({"image": pixels}, str(folder), row_word="image", names=files)
        return labelled(records, {"variant": list(variants.values())})


def _box(path: Path, name: str, text: str) -> Box:
    corners = text.split()
    if len(corners) != 4 or not all(corner.isdecimal() for corner in corners):
        raise DataError(
            f"{path} must hold four numbers for each image; got {text[:80]!r} for {name}. Unpack "
            "it again."
        )
    left, top, right, bottom = map(int, corners)
    return left, top, right, bottom


def _plane(boxes: dict[str, Box], size: int, path: Path) -> Array:
    left, top, right, bottom = boxes[path.stem]
    plane = decode(path, "RGB", None)[:, top:bottom, left:right]
    if not plane.size:
        raise DataError(f"{path} must reach into its box; got {boxes[path.stem]}. Unpack it again.")
    return resized(plane, size)
