"""DTD: textures, described in a word.

Source: Cimpoi et al., *Describing Textures in the Wild*, 2014, arXiv:1311.3618. Images such as
images/banded/banded_0002.jpg in 47 class folders; labels/train1.txt, val1.txt and test1.txt name
the images of the first of ten splits by such paths, behind "images/".
"""

from pathlib import Path
from typing import ClassVar

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    asking,
    chosen,
    find,
    image_settings,
    images,
    labelled,
    lines,
)
from metamae.core.checks import check_at_least
from metamae.data.records import Records
from metamae.errors import ConfigError

NUM_SPLITS = 10


class Dtd(Layout):
    """Reads images of 47 kinds of texture; as in DABS, training and validation train a probe.

    Args:
        fold: Which of the ten published splits, from 1; DABS and MetaMAE take the first.
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "dtd/images/banded/*.jpg and so on, dtd/labels/train1.txt"

    def __init__(self, *, fold: int = 1, size: int = 32):
        self.fold = check_at_least("Dtd.fold", fold, 1)
        if fold > NUM_SPLITS:
            raise ConfigError(f"Dtd.fold must be at most {NUM_SPLITS}; got {fold}. 1 would do.")
        self.size = check_at_least("Dtd.size", size, 1)

    def read(self, folder: Path) -> Published:
        root = find(folder, "dtd/labels", "labels").parent
        pictures = images(find(root, "images"), size=self.size)
        train = self._listed(root, pictures, "train", "val")
        settings = image_settings(self.size)
        challenge = Challenge(
            name="dtd",
            records=train,
            test=self._listed(root, pictures, "test"),
            label="label",
            task="classification",
            settings=settings,
        )
        return asking(challenge, "image")

    def _listed(self, root: Path, pictures: Records, *parts: str) -> Records:
        paths = [find(root, f"labels/{part}{self.fold}.txt") for part in parts]
        names = [name for path in paths for name in lines(path)]
        found = chosen(pictures, names, paths[0])
        return labelled(found, {"label": [name.partition("/")[0] for name in names]})
