"""Light that roofs, roads and other surfaces of a town reflect."""

import csv
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData

_BANDS = 180
_CAMPAIGN = "urban reflectance spectra from santa barbara"
_FEWEST = 20  # spectra of a material that is worth a class
_PLACES = 4  # at which it was found


class UrbanSpectra(PocketData):
    """Reflectance of one surface from 0.4 to 2.45 micrometres in 180 bands of 10 nm.

    The bands around 1.4 and 1.87 micrometres, which water vapour hides, are not in the library.
    Several spectra were measured at each place, many of them of the same surface, so that the
    place is the group: a split by sample would flatter. Materials that were found at fewer than
    four places cannot be learnt at some and tested at others; they are left out, as are those of
    fewer than 20 spectra.
    """

    description = "718 spectra of urban surfaces in 180 bands; which of six materials"
    modality = "spectrum"
    package = "earthlib"
    licence: ClassVar[str] = "MIT"
    source = "Herold et al., IEEE Trans. Geosci. Remote Sens. 42(9), 2004; Anderson, earthlib"

    def read(self) -> Challenge:
        (listed,) = self.files("*/data/spectra.csv")
        (stored,) = self.files("*/data/spectra.sli")
        with listed.open(encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        # An ENVI spectral library is rows of numbers without a header.
        spectra = np.fromfile(stored, dtype="<f4").reshape(-1, _BANDS)
        materials = np.array([row["LEVEL_3"] for row in rows])
        # All are west of Greenwich; some longitudes have lost their sign.
        places = np.array([f"{row['LAT']} {row['LON'].lstrip('-')}" for row in rows])
        measured = np.array([row["NOTES"] == _CAMPAIGN for row in rows])
        kept = measured.copy()
        for material in np.unique(materials[measured]):
            of_it = measured & (materials == material)
            if of_it.sum() < _FEWEST or len(np.unique(places[of_it])) < _PLACES:
                kept[of_it] = False
        columns = {"X": spectra[kept, None], "material": materials[kept], "place": places[kept]}
        return Challenge(
            name=self.name,
            records=self.records(columns, 718),
            label="material",
            group="place",
            settings={"modality": "series"},
        )
