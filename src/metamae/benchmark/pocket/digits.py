"""Handwritten digits, 8 x 8 pixels."""

from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData


class Digits(PocketData):
    """Digits of 43 writers, normalised and reduced to 8 x 8 counts from 0 to 16.

    The writers of single digits are not known, so that the split is by sample.
    """

    description = "1,797 handwritten digits of 8 x 8 pixels; which of the ten"
    modality = "image"
    package = "scikit-learn"
    licence: ClassVar[str] = "CC-BY-4.0"
    source = "Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998"

    def read(self) -> Challenge:
        (path,) = self.files("*/datasets/data/digits.csv.gz")
        rows = np.loadtxt(path, delimiter=",")
        columns = {"X": rows[:, :-1].reshape(-1, 1, 8, 8), "y": rows[:, -1].astype(np.int64)}
        return Challenge(name=self.name, records=self.records(columns, 1797), label="y")
