"""HIGGS: simulated collisions of particles, told from background.

Source: Baldi, Sadowski and Whiteson, *Searching for Exotic Particles in High-Energy Physics with
Deep Learning*, 2014, arXiv:1402.4735; UCI, doi 10.24432/C5V312. 11,000,000 rows without a header:
the label, 21 measured values and 7 that physicists derive from them.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import Layout, Published, cut, find, labelled, shuffled
from metamae.core.checks import check_one_of
from metamae.data.columns.base import Index
from metamae.data.readers import read
from metamae.data.records import Records
from metamae.errors import DataError

_JETS = [f"jet_{jet}_{what}" for jet in (1, 2, 3, 4) for what in ("pt", "eta", "phi", "b_tag")]
NAMES = [
    "label",
    "lepton_pt",
    "lepton_eta",
    "lepton_phi",
    "missing_energy_magnitude",
    "missing_energy_phi",
    *_JETS,
    "m_jj",
    "m_jjj",
    "m_lv",
    "m_jlv",
    "m_bb",
    "m_wbb",
    "m_wwbb",
]
NUM_TEST = 500_000  # rows at the end of the file


class Higgs(Layout):
    """Reads a row of 28 numbers a sample; class 1 is a collision that made a Higgs boson.

    Text cannot be read in parts, so that HIGGS.csv.gz fills 2.6 GB of memory. A file
    HIGGS.parquet with the same columns in the same order, under any names, is preferred where
    there is one, and read a part at a time.

    Args:
        split: "dabs" learns from 90 % of 90 % of the rows without labels, trains a probe on 9 %
            and judges it on 1 %, drawn at random, and leaves out those with which DABS watches
            over learning; "uci" judges on the last 500,000 rows and learns from all others.
    """

    description: ClassVar[str] = "HIGGS.csv.gz, 29 columns without a header"

    def __init__(self, *, split: str = "dabs"):
        self.split = check_one_of("Higgs.split", split, ["dabs", "uci"])

    def read(self, folder: Path) -> Published:
        records = _rows(folder)
        pretrain, train, test = self._parts(records)
        settings = {"modality": "table", "group": 1}
        return Published(
            pretrain=records.subset(pretrain).without(["label"]),
            challenges=[
                Challenge(
                    name="higgs",
                    records=records.subset(train),
                    test=records.subset(test),
                    label="label",
                    task="classification",
                    settings=settings,
                )
            ],
            settings=settings,
        )

    def _parts(self, records: Records) -> list[Index]:
        """Return the rows to learn from, to train a probe on, and to judge it on, ascending."""
        if self.split == "uci":
            num = len(records) - NUM_TEST
            if num < 1:
                raise DataError(
                    f"{records.source} must hold more than {NUM_TEST} rows, of which the last are "
                    f"judged; got {len(records)}. Fetch the whole file, or use split='dabs'."
                )
            return [np.arange(num), np.arange(num), np.arange(num, len(records))]
        learnt, rest = cut(shuffled(len(records)))
        pretrain, _ = cut(learnt)
        return [np.sort(part) for part in (pretrain, *cut(rest))]


def _rows(folder: Path) -> Records:
    if (folder / "HIGGS.parquet").is_file():
        found = read(folder / "HIGGS.parquet")
    else:
        found = read(find(folder, "HIGGS.csv.gz", "HIGGS.csv"), reader="csv", header=False)
    if len(found.columns) != len(NAMES):
        raise DataError(
            f"{found.source} must have {len(NAMES)} columns; got {len(found.columns)}. Fetch it "
            "again."
        )
    columns = dict(zip(NAMES, found.columns.values(), strict=True))
    for name, column in columns.items():
        if column.dtype.kind not in "biuf":
            raise DataError(
                f"{found.source}, column {name!r} must hold numbers; got {column.dtype}. Fetch it "
                "again."
            )
    labels = np.asarray(columns.pop("label")[:])
    if not np.isin(labels, (0, 1)).all():
        raise DataError(
            f"{found.source} must have labels 0 and 1 in its first column; got "
            f"{labels[~np.isin(labels, (0, 1))][0]}. Fetch it again."
        )
    records = Records(columns, found.source, row_word=found.row_word, first_row=found.first_row)
    return labelled(records, {"label": labels.astype(np.int64)})
