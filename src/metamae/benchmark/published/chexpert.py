"""CheXpert: radiographs of the chest.

Source: Irvin et al., *CheXpert: A Large Chest Radiograph Dataset with Uncertainty Labels and Expert
Comparison*, 2019, arXiv:1901.07031. train.csv and valid.csv have a row per image: its path, which
begins with the name of the data set, sex, age, view, and 14 findings: 1 yes, 0 no, -1 uncertain,
empty if not mentioned.
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
    table,
)
from metamae.core.checks import check_at_least
from metamae.data.records import Records
from metamae.errors import DataError

FINDINGS = ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion")
# What a cell says -> label; DABS takes what is uncertain or not mentioned for no.
LABELS = {"": 0, "0.0": 0, "-1.0": 0, "1.0": 1, "0": 0, "-1": 0, "1": 1}


class CheXpert(Layout):
    """Reads grey images, and asks for five findings in each of those that radiologists judged.

    DABS repeats the one channel of an image three times; here it is read once.

    Args:
        size: Pixels along both axes that images are brought to.
    """

    description: ClassVar[str] = "train.csv, valid.csv and folders of JPEG files of each patient"

    def __init__(self, *, size: int = 224):
        self.size = check_at_least("CheXpert.size", size, 1)

    def read(self, folder: Path) -> Published:
        names = ("CheXpert-v1.0-small/train.csv", "CheXpert-v1.0/train.csv", "train.csv")
        root = find(folder, *names).parent
        train, test = self._judged(root, "train"), self._judged(root, "valid")
        settings = image_settings(self.size)
        challenge = Challenge(
            name="chexpert",
            records=train,
            test=test,
            label=",".join(FINDINGS),
            group="patient",
            task="multilabel",
            settings=settings,
        )
        return asking(challenge, "image")

    def _judged(self, root: Path, part: str) -> Records:
        """Return the images of a part, with the findings and the patient of each."""
        path = find(root, f"{part}.csv")
        rows = table(path, ["Path", *FINDINGS])
        columns: dict[str, list[int] | list[str]] = {}
        for name in FINDINGS:
            if unknown := set(rows[name]) - set(LABELS):
                raise DataError(
                    f"{path}, column {name!r} must hold 1.0, 0.0, -1.0 or nothing; got "
                    f"{sorted(unknown)[0][:80]!r}. Unpack the file again."
                )
            columns[name] = [LABELS[cell] for cell in rows[name]]
        # CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg
        files = [name.partition(f"/{part}/")[2] for name in rows["Path"]]
        columns["patient"] = [name.partition("/")[0] for name in files]
        found = images(find(root, part), size=self.size, mode="L")
        return labelled(chosen(found, files, path), columns)
