"""ChestX-ray8: radiographs of the chest, with findings that were mined from reports.

Source: Wang et al., *ChestX-ray8: Hospital-scale Chest X-ray Database and Benchmarks*, 2017,
arXiv:1705.02315. Images such as images/00000001_000.png; Data_Entry_2017.csv has a row per image
with its findings, such as "Cardiomegaly|Effusion"; test_list.txt names the images to be judged.
"""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import (
    Layout,
    Published,
    asking,
    chosen,
    cut,
    find,
    image_settings,
    images,
    labelled,
    lines,
    shuffled,
    table,
)
from metamae.core.checks import check_at_least, check_one_of
from metamae.data.columns.base import Index
from metamae.errors import DataError

FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
)


class ChestXray8(Layout):
    """Reads grey images, and asks for the eight findings of the first publication.

    Args:
        split: "dabs" judges on 10 % of the images, drawn at random, so that a patient may be on
            both sides; "nih" on test_list.txt, whose patients are on one side only.
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "images/*.png, Data_Entry_2017.csv, test_list.txt"

    def __init__(self, *, split: str = "dabs", size: int = 224):
        self.split = check_one_of("ChestXray8.split", split, ["dabs", "nih"])
        self.size = check_at_least("ChestXray8.size", size, 1)

    def read(self, folder: Path) -> Published:
        names = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv", "metadata.csv")
        path = find(folder, *names)
        rows = table(path, ["Image Index", "Finding Labels", "Patient ID"])
        said = [set(cell.split("|")) for cell in rows["Finding Labels"]]
        columns: dict[str, list[Any]] = {n: [int(n in one) for one in said] for n in FINDINGS}
        columns["patient"] = rows["Patient ID"]
        found = images(find(folder, "images"), size=self.size, mode="L")
        records = labelled(chosen(found, rows["Image Index"], path), columns)
        train, test = self._parts(folder, rows["Image Index"])
        group = "patient" if self.split == "nih" else None
        if group is None:
            records = records.without(["patient"])
        settings = image_settings(self.size)
        challenge = Challenge(
            name="chestxray8",
            records=records.subset(train),
            test=records.subset(test),
            label=",".join(FINDINGS),
            group=group,
            task="multilabel",
            settings=settings,
        )
        return asking(challenge, "image")

    def _parts(self, folder: Path, names: list[str]) -> tuple[Index, Index]:
        """Return the positions of the images that train a probe and of those that judge it."""
        if self.split == "dabs":
            train, test = cut(shuffled(len(names)))
            return np.sort(train), np.sort(test)
        path = find(folder, "test_list.txt")
        judged = set(lines(path))
        if missing := judged - set(names):
            raise DataError(
                f"{path} must name images of the table; {min(missing)} is not there. Unpack both "
                "again."
            )
        test = np.array([name in judged for name in names])
        return np.flatnonzero(~test), np.flatnonzero(test)
