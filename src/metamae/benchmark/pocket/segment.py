"""Small regions of photographs taken outdoors."""

import csv
import io
import zipfile
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData


class Segment(PocketData):
    """Place, edges and colours of a region of 3 x 3 pixels, drawn from seven photographs.

    Which photograph a region is from was not published, so that the split is by sample and
    neighbours may lie on both sides of it. Five of the colour columns nearly agree.
    """

    description = "2,310 picture regions in 18 measures; brickface, sky, foliage, ..., seven kinds"
    modality = "table"
    package = "river"
    licence: ClassVar[str] = "CC-BY-4.0"
    source = "Vision Group, University of Massachusetts, Image Segmentation, UCI, 1990"

    def read(self) -> Challenge:
        (path,) = self.files("*/datasets/segment.csv.zip")
        with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as packed:
            header, *rows = csv.reader(io.TextIOWrapper(packed, encoding="utf-8"))
        *names, label = header
        columns = {
            name: np.array([float(row[place]) for row in rows]) for place, name in enumerate(names)
        }
        labels = {label: np.array([row[-1] for row in rows])}
        return Challenge(
            name=self.name,
            records=self.records(columns | labels, 2310),
            label=label,
            settings={"modality": "table"},
        )
