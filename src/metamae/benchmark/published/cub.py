"""CUB-200-2011: birds of North America.

Source: Wah et al., *The Caltech-UCSD Birds-200-2011 Dataset*, 2011. images.txt,
image_class_labels.txt and train_test_split.txt have a line for each image: its number, and its path
below "images", its class, or 1 for training and 0 for test.
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
    pairs,
)
from metamae.core.checks import check_at_least
from metamae.data.records import Records
from metamae.errors import DataError


class Cub(Layout):
    """Reads images of 200 species, by the published split.

    Args:
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "CUB_200_2011/images, images.txt, train_test_split.txt and others"

    def __init__(self, *, size: int = 32):
        self.size = check_at_least("Cub.size", size, 1)

    def read(self, folder: Path) -> Published:
        path = find(folder, "CUB_200_2011/images.txt", "images.txt")
        names = pairs(path)
        parts = pairs(find(path.parent, "train_test_split.txt"))
        pictures = images(find(path.parent, "images"), size=self.size)
        if missing := [number for number in names if parts.get(number) not in ("0", "1")]:
            raise DataError(
                f"{path.parent}/train_test_split.txt must say 0 or 1 of every image; got "
                f"{parts.get(missing[0], 'nothing')} of image {missing[0]}. Unpack it again."
            )

        def part(which: str) -> Records:
            own = [name for number, name in names.items() if parts[number] == which]
            # A class folder is "001.Black_footed_Albatross".
            species = [name.partition("/")[0].partition(".")[2] for name in own]
            return labelled(chosen(pictures, own, path), {"species": species})

        challenge = Challenge(
            name="cub",
            records=part("1"),
            test=part("0"),
            label="species",
            task="classification",
            settings=image_settings(self.size),
        )
        return asking(challenge, "image")
