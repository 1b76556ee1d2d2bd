"""Penguins of three species near Palmer Station, measured at their nests."""

from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData
from metamae.data.readers import read

# The region and the stage are the same for all; notes and numbers of birds tell nothing of them.
_INPUTS = (
    "Species",
    "Island",
    "Clutch Completion",
    "Date Egg",
    "Culmen Length (mm)",
    "Culmen Depth (mm)",
    "Flipper Length (mm)",
    "Body Mass (g)",
    "Delta 15 N (o/oo)",
    "Delta 13 C (o/oo)",
)


class Penguins(PocketData):
    """Body measures, isotopes in the blood, species, island and egg date of one adult penguin.

    Both parents of a nest were measured, so that the nest is the group; the numbers of nests
    return in other years and are kept together too. A few values are missing; 11 birds have no
    sex in the file and are unlabelled.
    """

    description = "344 penguins in numbers, categories and a date, with gaps; female or male"
    modality = "mixed table"
    package = "palmerpenguins"
    licence: ClassVar[str] = "CC0-1.0"
    source = "Gorman, Williams and Fraser, PLoS ONE 9(3), 2014; Horst et al., palmerpenguins, 2020"

    def read(self) -> Challenge:
        (path,) = self.files("*/data/penguins-raw.csv")
        found = read(path)
        every = np.arange(len(found))
        species, birds = found["Species"][every], found["Individual ID"][every]
        # "N12A1" is the first adult of nest 12; each species numbers its own.
        nests = [f"{s} {bird.partition('A')[0]}" for s, bird in zip(species, birds, strict=True)]
        columns = {name: found[name] for name in (*_INPUTS, "Sex")} | {"nest": np.array(nests)}
        return Challenge(
            name=self.name,
            records=self.records(columns, 344),
            label="Sex",
            group="nest",
            settings={"modality": "table"},
        )
