"""Genomics: pieces of bacterial DNA, by genus.

Source: Ren et al., *Likelihood Ratios for Out-of-Distribution Detection*, 2019, arXiv:1906.02845,
as TensorFlow Datasets distribute it in genomics_ood.zip, from where DABS takes it: text files
with tabs, whose first line names the columns "seq" (250 letters A, C, G, T), "label" (the genus),
"seq_info" and "domain", in any order.
"""

from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import Layout, Published, cut, find, shuffled
from metamae.data.bad_samples import Aside
from metamae.data.records import Records
from metamae.data.text.file import TextFile
from metamae.data.text.lines import index_lines
from metamae.errors import DataError

_LEARNT = "before_2011_in_tr"
# Challenge -> file; the files of the years after 2016 are used by neither DABS nor MetaMAE.
_JUDGED = {
    "genomics": "between_2011-2016_in_val",
    "genomics_ood": "between_2011-2016_ood_val",
}


class Genomics(Layout):
    """Reads DNA of ten genera to learn from, and asks for the genus in two other files.

    "genomics" asks among the same ten genera, "genomics_ood" among sixty that were discovered
    later. As in DABS and MetaMAE, 90 % of the first file are learnt from, and 90 % of each of the
    others train a probe that the rest judges; which piece falls where is drawn anew, since they
    divide a shuffled copy. Sequences stay on disk.
    """

    description: ClassVar[str] = "before_2011_in_tr.txt and other text files with tabs"

    def read(self, folder: Path) -> Published:
        if (folder / _LEARNT).is_dir():
            raise DataError(
                f"{folder} must hold {_LEARNT}.txt, from the archive genomics_ood.zip of "
                "TensorFlow Datasets; got a folder of that name, the form for TensorFlow. Fetch "
                "the archive of text files."
            )
        names = (f"{_LEARNT}.txt", f"genomics_ood/{_LEARNT}.txt")
        path = find(folder, *names)
        learnt = _sequences(path)
        challenges = []
        settings = {"modality": "symbols"}
        for name, file in _JUDGED.items():
            judged = _sequences(find(path.parent, f"{file}.txt"))
            train, test = cut(shuffled(len(judged)))
            challenges.append(
                Challenge(
                    name=name,
                    records=judged.subset(np.sort(train)),
                    test=judged.subset(np.sort(test)),
                    label="label",
                    task="classification",
                    settings=settings,
                )
            )
        kept, _ = cut(shuffled(len(learnt)))
        return Published(
            pretrain=learnt.subset(np.sort(kept)).only(["seq"]),
            challenges=challenges,
            settings=settings,
        )


def _sequences(path: Path) -> Records:
    """Return fields "seq" and "label" of a text file; only the labels are kept in memory."""
    file = TextFile(path, str(path))
    with file.lines() as lines:
        header = next(lines, "").rstrip("\r\n").split("\t")
    if missing := [name for name in ("seq", "label") if name not in header]:
        raise DataError(
            f"{path} must name its columns in the first line, with tabs between them; "
            f"{missing[0]!r} is not among {', '.join(header)[:100]}. Unpack the file again."
        )
    place = header.index("seq")

    def measure(line: str) -> int:
        cells = line.split("\t")
        if cells == header or not line:
            return 0
        if len(cells) != len(header) or not cells[place]:
            raise DataError(
                f"must have {len(header)} cells with tabs between them; got {len(cells)}. Unpack "
                "the file again."
            )
        return len(cells[place])

    aside = Aside(0)
    found = index_lines(file, measure, aside)
    aside.settle(str(path))
    if not len(found):
        raise DataError(f"{path} must hold at least one sequence; got none. Unpack it again.")
    labels = found.column(lambda line: line.split("\t")[header.index("label")])[:]
    columns = {"seq": found.column(lambda line: line.split("\t")[place]), "label": labels}
    return Records(columns, str(path), row_word="line", first_row=2)
