"""Cell nuclei of breast tumours, measured in pictures of fine needle aspirates."""

from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData

_MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)
# How the nuclei of one picture are summed up; "worst" is the mean of the three largest.
_OVER_NUCLEI = ("mean", "error", "worst")
_CLASSES = np.array(["malignant", "benign"])


class BreastCancer(PocketData):
    """Ten measures of the nuclei of one tumour, each in three forms; one sample per patient.

    Many columns nearly follow from others: perimeter and area from radius.
    """

    description = "569 breast tumours in 30 measures of their cells; malignant or benign"
    modality = "table"
    package = "scikit-learn"
    licence: ClassVar[str] = "CC-BY-4.0"
    source = "Wolberg, Mangasarian, Street and Street, Breast Cancer Wisconsin, UCI, 1993"

    def read(self) -> Challenge:
        (path,) = self.files("*/datasets/data/breast_cancer.csv")
        # The first line holds counts and the names of the classes, and no names of columns.
        rows = np.loadtxt(path, delimiter=",", skiprows=1)
        names = [f"{over} {measure}" for over in _OVER_NUCLEI for measure in _MEASURES]
        columns = dict(zip(names, rows[:, :-1].T.copy(), strict=True))
        columns["diagnosis"] = _CLASSES[rows[:, -1].astype(np.int64)]
        return Challenge(
            name=self.name,
            records=self.records(columns, 569),
            label="diagnosis",
            settings={"modality": "table"},
        )
