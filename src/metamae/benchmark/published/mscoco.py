"""MSCOCO: photographs with captions.

Source: Lin et al., *Microsoft COCO: Common Objects in Context*, 2014, arXiv:1405.0312, and Chen et
al., arXiv:1504.00325. Images such as train2017/000000391895.jpg. A file such as
annotations/captions_train2017.json holds a list "annotations" of objects with "image_id" and
"caption", about five for each image.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    caption_settings,
    chosen,
    entries,
    find,
    images,
    labelled,
)
from metamae.core.checks import check_at_least
from metamae.data.records import Records

SEED = 42


class MsCoco(Layout):
    """Reads images, each with the last of its captions, and asks which captions are mismatched.

    For that, half of the captions are exchanged among each other, drawn for the training and for
    the validation images by themselves. DABS and MetaMAE leave out the one image in a hundred that
    shows no object of a known class, and crop the middle of an image after squeezing it to 3:4;
    here all images are taken, and whole.

    Args:
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "train2017/*.jpg, val2017/*.jpg, annotations/captions_*2017.json"

    def __init__(self, *, size: int = 224):
        self.size = check_at_least("MsCoco.size", size, 1)

    def read(self, folder: Path) -> Published:
        train, train_captions = self._captioned(folder, "train2017")
        test, test_captions = self._captioned(folder, "val2017")
        settings = caption_settings()
        return Published(
            pretrain=labelled(train, {"caption": train_captions}),
            challenges=[
                Challenge(
                    name="mismatched_caption",
                    records=labelled(train, mismatched(train_captions)),
                    test=labelled(test, mismatched(test_captions)),
                    label="matches",
                    task="classification",
                    settings=settings,
                )
            ],
            settings=settings,
        )

    def _captioned(self, folder: Path, part: str) -> tuple[Records, list[str]]:
        """Return the images of a part and a caption for each."""
        path = find(folder, f"annotations/captions_{part}.json")
        pictures = images(find(folder, part), size=self.size)
        # An image keeps its first place among the captions, and the last of its captions.
        captions = dict(entries(path, "annotations", ["image_id", "caption"]))
        names = [f"{int(number):012d}.jpg" for number in captions]
        return chosen(pictures, names, path), [str(text) for text in captions.values()]


def mismatched(captions: Sequence[str]) -> dict[str, list[str] | list[int]]:
    """Exchange half of the captions: fields "caption" and "matches", 1 where it was left alone.

    The draws are those of DABS and MetaMAE, whose captions are fewer.
    """
    rng = random.Random(SEED)
    moved = [place for place in range(len(captions)) if rng.random() < 0.5]
    texts, matches = list(captions), [1] * len(captions)
    if len(moved) > 1:
        # A whole turn would leave all captions where they were.
        turn = rng.randint(1, len(moved)) % len(moved) or 1
        for place, other in zip(moved, moved[turn:] + moved[:turn], strict=True):
            texts[place], matches[place] = captions[other], 0
    return {"caption": texts, "matches": matches}
