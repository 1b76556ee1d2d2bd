"""Single blood cells and the genes that are active in them."""

from typing import ClassVar

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.pocket.base import PocketData
from metamae.data.readers import read


class Pbmc68k(PocketData):
    """Expression of 765 variable genes in one blood cell, scaled to unit variance per gene.

    A subset of 68,000 cells of one donor. The types come from the nearest of several purified
    populations, so that close ones (three kinds of CD4 cells) are not told apart sharply, and
    the rarest has 8 cells. Other columns of the file follow from the genes and are left out.
    """

    description = "700 blood cells, expression of 765 genes; which of ten cell types"
    modality = "gene expression"
    package = "scanpy"
    licence: ClassVar[str] = "CC-BY-4.0"
    source = "Zheng et al., Nature Communications 8, 14049, 2017; subset of scanpy"

    def read(self) -> Challenge:
        (path,) = self.files("*/datasets/10x_pbmc68k_reduced.h5ad")
        found = read(path)
        columns = {name: found[name] for name in ("X", "bulk_labels")}
        return Challenge(
            name=self.name,
            records=self.records(columns, 700),
            label="bulk_labels",
            settings={"modality": "table"},
        )
