"""Peptides that kill microbes, and ordinary ones."""

from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData

_CLASSES = np.array(["UniProt", "AMP"])


class Peptides(PocketData):
    """The amino acids of one peptide as letters; half of them are known antimicrobials.

    The others are drawn from UniProt and are not known to be antimicrobial. The families of the
    peptides are not in the file, so that close relatives may lie on both sides of a split.
    """

    description = "5,200 peptides in letters; antimicrobial (AMP) or from UniProt"
    modality = "peptide"
    package = "modlamp"
    licence: ClassVar[str] = "BSD-3-Clause (the package's)"
    source = "Müller et al., modlAMP, Bioinformatics 33(17), 2017; AMP from APD3, others UniProt"

    def read(self) -> Challenge:
        (path,) = self.files("*/data/AMPvsUniProt.csv")
        # The first line holds counts and the names of the classes.
        lines = path.read_text(encoding="utf-8").splitlines()[1:]
        pairs = [line.split(",") for line in lines if line.strip()]
        columns = {
            "sequence": np.array([letters.strip() for letters, _ in pairs], dtype=object),
            "kind": _CLASSES[[int(code) for _, code in pairs]],
        }
        return Challenge(
            name=self.name,
            records=self.records(columns, 5200),
            label="kind",
            settings={"modality": "symbols"},
        )
