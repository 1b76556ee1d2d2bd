"""Oxford 102 flowers.

Source: Nilsback and Zisserman, *Automated flower classification over a large number of classes*,
2008. jpg/image_00001.jpg to image_08189.jpg; imagelabels.mat holds "labels" from 1 to 102;
setid.mat holds the numbers of the images in "trnid", "valid" and "tstid".
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

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
)
from metamae.core.checks import check_at_least, check_one_of
from metamae.data.columns.base import Index
from metamae.data.files import legible
from metamae.errors import DataError

SHARE = 0.8


class VggFlower(Layout):
    """Reads images of 102 kinds of flowers.

    Args:
        split: "dabs" trains a probe on 80 % of each kind, drawn exactly as DABS and MetaMAE do;
            "vgg" on the published training and validation images, 20 of each kind.
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "jpg/image_00001.jpg and so on, imagelabels.mat, setid.mat"

    def __init__(self, *, split: str = "dabs", size: int = 32):
        self.split = check_one_of("VggFlower.split", split, ["dabs", "vgg"])
        self.size = check_at_least("VggFlower.size", size, 1)

    def read(self, folder: Path) -> Published:
        path = find(folder, "imagelabels.mat")
        labels = _numbers(path, "labels")
        names = [f"image_{number:05d}.jpg" for number in range(1, len(labels) + 1)]
        pictures = images(find(folder, "jpg"), size=self.size)
        records = labelled(chosen(pictures, names, path), {"kind": labels})
        if self.split == "dabs":
            train, test = _drawn(labels)
        else:
            path = find(folder, "setid.mat")
            train, validation, test = (_numbers(path, n) - 1 for n in ("trnid", "valid", "tstid"))
            train = np.concatenate([train, validation])
            used = np.concatenate([train, test])
            if used.min() < 0 or used.max() >= len(labels):
                raise DataError(
                    f"{path} must hold numbers of images from 1 to {len(labels)}; got "
                    f"{used.min() + 1} to {used.max() + 1}. Fetch it again."
                )
        challenge = Challenge(
            name="vggflower",
            records=records.subset(np.sort(train)),
            test=records.subset(np.sort(test)),
            label="kind",
            task="classification",
            settings=image_settings(self.size),
        )
        return asking(challenge, "image")


def _numbers(path: Path, name: str) -> Index:
    from scipy.io import loadmat

    rule = f"must be a MATLAB file with numbers {name!r}"
    with legible(str(path), rule, "Fetch it again."):
        found = loadmat(path, variable_names=[name])[name]
        return np.asarray(found, dtype=np.int64).ravel()


def _drawn(labels: Index) -> tuple[Index, Index]:
    """Divide the images of each kind, in the order of their first images, with one generator."""
    rng = np.random.RandomState(42)
    train, test = [], []
    for kind in dict.fromkeys(labels.tolist()):
        own = np.flatnonzero(labels == kind)
        order = np.arange(len(own))
        rng.shuffle(order)
        first = int(SHARE * len(own))
        train.append(own[order[:first]])
        test.append(own[order[first:]])
    return np.concatenate(train), np.concatenate(test)
