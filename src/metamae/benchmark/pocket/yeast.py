"""Genes of baker's yeast: their expression, and what they are for."""

from typing import ClassVar

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData
from metamae.data.readers import read


class Yeast(PocketData):
    """103 numbers of one gene: expression in micro-arrays, and relatives in other genomes.

    A gene belongs to one or several of 14 functional groups, so that the task is multilabel; one
    group is rare (34 genes) and one is common (1,816). Every row has unit length.
    """

    description = "2,417 yeast genes in 103 measures of expression; which of 14 functions"
    modality = "gene expression"
    package = "river"
    licence: ClassVar[str] = "BSD-3-Clause (the package's)"
    source = "Elisseeff and Weston, A kernel method for multi-labelled classification, NIPS 2001"

    def read(self) -> Challenge:
        (path,) = self.files("*/datasets/yeast.csv.gz")
        found = read(path)
        labels = [name for name in found if name.startswith("Class")]
        return Challenge(
            name=self.name,
            records=self.records(found.columns, 2417),
            label=",".join(labels),
            task="multilabel",
            settings={"modality": "table"},
        )
