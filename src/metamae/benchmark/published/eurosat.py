"""EuroSAT: land use in 13 bands of the satellite Sentinel-2.

Source: Helber et al., *EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land
Cover Classification*, 2019, arXiv:1709.00029. 27,000 TIFF files of 13 x 64 x 64 16-bit values in
ten class folders, as in AnnualCrop/AnnualCrop_1.tif; the bands are B01 to B12, and B8A last.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import Layout, Published, cut, find, image_settings, shuffled
from metamae.data.readers import read
from metamae.errors import DataError

BANDS = 13
# Where the class folders lie in the archives EuroSAT_MS.zip and EuroSATallBands.zip, and bare.
ROOTS = ("EuroSAT_MS", "ds/images/remote_sensing/otherDatasets/sentinel_2/tif", "tif", ".")
CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)


class EuroSat(Layout):
    """Reads images (13, 64, 64) of ten kinds of land use.

    As in DABS and MetaMAE, 90 % of 90 % of the images are learnt from without labels, 9 % train a
    probe and 1 % judges it; DABS watches over learning with the others. Which image falls where is
    drawn anew, since they divide a shuffled copy.
    """

    description: ClassVar[str] = "ten class folders of TIFF files with 13 bands"

    def read(self, folder: Path) -> Published:
        roots = [f"{root}/{CLASSES[0]}" for root in ROOTS]
        root = find(folder, *roots).parent
        for name in CLASSES:
            find(root, name)
        records = read(root, reader="images", labels="none")
        shape = records["image"].shape[1:]
        if shape[:1] != (BANDS,):
            raise DataError(
                f"{root} must hold images of {BANDS} bands and one size; got {shape or 'several'}. "
                "The archive of colour images, EuroSAT_RGB, is another data set."
            )
        learnt, rest = cut(shuffled(len(records)))
        pretrain, _ = cut(learnt)
        train, test = cut(rest)
        settings = image_settings(64)
        return Published(
            pretrain=records.subset(np.sort(pretrain)).only(["image"]),
            challenges=[
                Challenge(
                    name="eurosat",
                    records=records.subset(np.sort(train)),
                    test=records.subset(np.sort(test)),
                    label="label",
                    task="classification",
                    settings=settings,
                )
            ],
            settings=settings,
        )
