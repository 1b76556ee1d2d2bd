"""Pfam and the tasks of TAPE: proteins as strings of amino acids.

Source: Rao et al., *Evaluating Protein Transfer Learning with TAPE*, 2019, arXiv:1906.08230, the
archives of "raw" data. Files such as pfam/pfam_train.json hold one list of objects without objects
in them; each has "primary", the protein, and numbers, some of them in a list of one.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import Layout, Published, cut, find, shuffled
from metamae.core.checks import check_at_least, check_one_of
from metamae.data.columns.base import Array, Column, Index
from metamae.data.files import legible
from metamae.data.records import Records
from metamae.data.text.file import TextFile
from metamae.data.text.spans import Content, Spans
from metamae.errors import DataError

NUM_TRANSFER = 200_000  # sequences of pfam_valid.json that DABS keeps for its probe


@dataclass(frozen=True)
class _Task:
    label: str
    kind: str
    test: str  # end of the name of the published test file


TASKS = {
    "fluorescence": _Task("log_fluorescence", "regression", "test"),
    "stability": _Task("stability_score", "regression", "test"),
    "remote_homology": _Task("fold_label", "classification", "test_fold_holdout"),
}


class Pfam(Layout):
    """Reads proteins of Pfam to learn from; asks for their clan, and what TAPE asks.

    Sequences stay on disk, and 16 bytes are kept for each. The task secondary_structure, which
    has a label for every amino acid, is left out: a challenge has one for every sample.

    Args:
        tasks: Tasks of TAPE whose folders stand beside that of Pfam.
        split: What judges a probe of these tasks: "dabs" the validation file, as DABS and MetaMAE
            do, "tape" the test file.
        length: Amino acids that are read of each protein, from its beginning; DABS and MetaMAE
            read 128, and fill up shorter ones.
    """

    description: ClassVar[str] = "pfam/pfam_train.json, fluorescence/fluorescence_train.json, ..."

    def __init__(
        self,
        *,
        tasks: Sequence[str] = tuple(TASKS),
        split: str = "dabs",
        length: int = 128,
    ):
        self.tasks = [check_one_of("Pfam.tasks", task, TASKS) for task in tasks]
        self.split = check_one_of("Pfam.split", split, ["dabs", "tape"])
        self.length = check_at_least("Pfam.length", length, 2)

    def read(self, folder: Path) -> Published:
        _refuse_pickles(folder)
        learnt = self._proteins(find(folder, "pfam/pfam_train.json"), None)
        judged = self._proteins(find(folder, "pfam/pfam_valid.json"), "clan")
        # Nothing of the validation file is learnt from, so that the rest of it is not used.
        train, test = cut(shuffled(len(judged))[-NUM_TRANSFER:])
        settings = {"modality": "symbols"}
        challenges = [
            Challenge(
                name="pfam",
                records=judged.subset(np.sort(train)),
                test=judged.subset(np.sort(test)),
                label="clan",
                task="classification",
                settings=settings,
            )
        ]
        for name in self.tasks:
            task = TASKS[name]
            end = "valid" if self.split == "dabs" else task.test
            paths = [find(folder, f"{name}/{name}_{part}.json") for part in ("train", end)]
            records, others = (self._proteins(path, task.label) for path in paths)
            challenges.append(
                Challenge(
                    name=name,
                    records=records,
                    test=others,
                    label=task.label,
                    task=task.kind,
                    settings=settings,
                )
            )
        return Published(pretrain=learnt, challenges=challenges, settings=settings)

    def _proteins(self, path: Path, label: str | None) -> Records:
        """Return the proteins of a file as field "primary", and one of their numbers."""
        content = Content(TextFile(path, str(path)))
        with legible(str(path), "must be a list of JSON objects", "Unpack it again."):
            starts, stops, labels = _survey(content, label)
        if not len(starts):
            raise DataError(f"{path} must hold at least one 'primary'; got none. Unpack it again.")
        lengths = np.minimum(stops - starts, self.length)
        column = Spans(content, starts, starts + lengths, bytes.decode, sizes=lengths)
        columns: dict[str, Column] = {"primary": column}
        if label is not None:
            columns[label] = labels
        return Records(columns, str(path), row_word="element")


def _refuse_pickles(folder: Path) -> None:
    if (folder / "pfam" / "pfam_train.lmdb").exists():
        if not (folder / "pfam" / "pfam_train.json").exists():
            raise DataError(
                f"{folder} must hold pfam/pfam_train.json, from the archive of raw data; got "
                "pfam_train.lmdb, whose records are Python pickles. A pickle can run any code "
                "when it is read, so that none is. data_raw_pytorch/pfam.tar.gz would do."
            )


def _survey(content: Content, label: str | None) -> tuple[Index, Index, Array]:
    """Find where the proteins of a file begin and end, and read a number of each."""
    sequence = re.compile(rb'"primary"\s*:\s*"([A-Za-z]+)"')
    value = rb'"%b"\s*:\s*\[?\s*(-?[0-9.]+(?:[eE][-+]?[0-9]+)?)'
    number = re.compile(value % (label or "").encode())
    none = np.empty((0, 2), dtype=np.int64)
    spans, labels = [none], list[str]()
    for begun, block in _objects(content):
        found = [match.span(1) for match in sequence.finditer(block)]
        spans.append(np.array(found, dtype=np.int64).reshape(-1, 2) + begun)
        own = number.findall(block) if label else []
        labels += [value.decode() for value in own]
        if block.count(b"{") != len(found) or (label and len(own) != len(found)):
            raise DataError(
                f"{content.file.source} must hold one 'primary' and one {label or 'id'!r} in each "
                f"object; got {block.count(b'{')} objects with {len(found)} and {len(own)} of "
                f"them near byte {begun}. Unpack the file again."
            )
    starts, stops = np.concatenate(spans).T
    whole = all(value.lstrip("-").isdecimal() for value in labels)
    return starts, stops, np.array(labels).astype(np.int64 if whole else np.float64)


def _objects(content: Content) -> Iterator[tuple[int, bytes]]:
    """Give the text in pieces that end where an object ends, and the position of each."""
    rest, begun = b"", content.start
    for _, piece in content.pieces():
        block = rest + piece
        end = block.rfind(b"}") + 1
        yield begun, block[:end]
        rest, begun = block[end:], begun + end
    if rest.strip() != b"]":
        raise DataError(
            f"{content.file.source} must end with the end of its list; got {rest[-40:]!r}. The "
            "file is cut off: unpack it again."
        )
