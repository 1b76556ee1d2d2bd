"""GTSRB: German traffic signs.

Source: Stallkamp et al., *The German Traffic Sign Recognition Benchmark*, 2011. The archive of
training images: GTSRB/Final_Training/Images/00000/00003_00029.ppm, which is class, track and frame:
a track holds 30 pictures of one sign that a car comes nearer to. GT-00000.csv beside them, with
semicolons, is not needed.
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
    resized,
)
from metamae.core.checks import check_at_least, check_one_of
from metamae.data.columns.base import Array, Index
from metamae.data.columns.decoded import Decoded
from metamae.data.files import legible
from metamae.data.records import Records
from metamae.errors import DataError

NUM_CLASSES = 43
SHARE = 0.8


class TrafficSign(Layout):
    """Reads the training images of 43 signs; 80 % of each sign train a probe.

    Args:
        split: "dabs" draws single images, as DABS and MetaMAE do from an order of files that is
            not told: pictures of one sign are on both sides; "tracks" draws whole tracks.
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "GTSRB/Final_Training/Images/00000/*.ppm and 42 more folders"

    def __init__(self, *, split: str = "dabs", size: int = 32):
        self.split = check_one_of("TrafficSign.split", split, ["dabs", "tracks"])
        self.size = check_at_least("TrafficSign.size", size, 1)

    def read(self, folder: Path) -> Published:
        root = find(folder, "GTSRB/Final_Training/Images", "Final_Training/Images")
        paths: list[Path] = []
        for number in range(NUM_CLASSES):
            found = sorted(find(root, f"{number:05d}").glob("*.ppm"))
            if not found:
                raise DataError(
                    f"{root}/{number:05d} must hold pictures (.ppm); got none. Unpack it again."
                )
            paths += found
        names = [path.relative_to(root).as_posix() for path in paths]
        signs = np.array([int(name[:5]) for name in names])
        tracks = np.array([name.partition("_")[0] for name in names])
        train, test = self._drawn(signs, tracks)
        decode = partial(_decode, self.size)
        pixels = Decoded(paths, decode, np.dtype(np.uint8), (3, self.size, self.size))
        records = Records({"image": pixels}, str(root), row_word="image", names=names)
        # A group must not be on both sides of a split.
        group = "track" if self.split == "tracks" else None
        more = {"sign": signs} if group is None else {"sign": signs, "track": tracks}
        records = labelled(records, more)
        challenge = Challenge(
            name="trafficsign",
            records=records.subset(train),
            test=records.subset(test),
            label="sign",
            group=group,
            task="classification",
            settings=image_settings(self.size),
        )
        return asking(challenge, "image")

    def _drawn(self, signs: Array, tracks: Array) -> tuple[Index, Index]:
        """Divide the images of each sign, or its tracks, with one generator for all in turn."""
        rng = np.random.RandomState(42)
        keys = tracks if self.split == "tracks" else np.arange(len(signs))
        train = np.zeros(len(signs), dtype=bool)
        for sign in range(NUM_CLASSES):
            own = np.unique(keys[signs == sign])
            rng.shuffle(own)
            train |= np.isin(keys, own[: int(SHARE * len(own))])
        return np.flatnonzero(train), np.flatnonzero(~train)


def _decode(size: int, path: Path) -> Array:
    from PIL import Image

    rule = "must be a complete picture (.ppm)"
    with legible(str(path), rule, "Unpack it again."), Image.open(path, formats=["PPM"]) as image:
        pixels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    return resized(pixels, size)
