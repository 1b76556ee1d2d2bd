"""PAMAP2: physical activities, measured with three sensors worn on the body.

Source: Reiss and Stricker, UCI 2012, doi 10.24432/C5NW2H. A row holds the time, the number of the
activity, the heart rate, and 17 values each of hand, chest and ankle; NaN is missing.
"""

from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.benchmark.published.base import Layout, Published, find, labelled
from metamae.core.checks import check_at_least, check_one_of
from metamae.data.columns.base import Array, Chain, Index
from metamae.data.columns.blocks import Rows
from metamae.data.readers import read
from metamae.data.records import Records
from metamae.errors import DataError

COLUMNS = 54
LENGTH = 320  # rows of a window, 3.2 s
TRAIN = (1, 2, 3, 4, 7, 8, 9)
ACTIVITIES = {
    1: "lying",
    2: "sitting",
    3: "standing",
    4: "walking",
    5: "running",
    6: "cycling",
    7: "Nordic walking",
    12: "ascending stairs",
    13: "descending stairs",
    16: "vacuum cleaning",
    17: "ironing",
    24: "rope jumping",
}
# Split -> subjects to be judged on, activities that are left out.
SPLITS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "metamae": ((5, 6), ()),
    "dabs": ((5,), (17,)),
}
Stay = tuple[int, int, int]  # activity, first row, row behind the last one


class Pamap2(Layout):
    """Reads windows of 320 rows of 52 values, within one stay at one activity.

    Gaps are bridged with straight lines along each column of a file, as DABS and MetaMAE do; what
    is missing before the first value stays missing. Both draw windows anew in every pass, and join
    the stays at an activity; here windows lie at fixed places and none crosses a break. All rows
    of known activities are kept in memory, 0.4 GB.

    Args:
        split: "metamae" judges subjects 5 and 6 on 12 activities, "dabs" subject 5 on 11.
        stride: Rows from the start of a window to that of the next, to learn from; labelled
            windows do not overlap.
    """

    description: ClassVar[str] = "Protocol/subject101.dat to subject109.dat, 54 columns with spaces"

    def __init__(self, *, split: str = "metamae", stride: int = 32):
        self.split = check_one_of("Pamap2.split", split, SPLITS)
        self.stride = check_at_least("Pamap2.stride", stride, 1)

    def read(self, folder: Path) -> Published:
        protocol = find(folder, "Protocol", "PAMAP2_Dataset/Protocol")
        judged, left_out = SPLITS[self.split]
        known = [number for number in ACTIVITIES if number not in left_out]
        subjects = {
            s: _stays(_subject(find(protocol, f"subject10{s}.dat")), known)
            for s in (*TRAIN, *judged)
        }

        def windows(chosen: tuple[int, ...], stride: int) -> Records:
            return _windows(protocol, {s: subjects[s] for s in chosen}, stride)

        settings = {"modality": "series", "layout": "first", "cell": 5}
        return Published(
            pretrain=windows(TRAIN, self.stride).only(["X"]),
            challenges=[
                Challenge(
                    name="pamap2",
                    records=windows(TRAIN, LENGTH),
                    test=windows(judged, LENGTH),
                    label="activity",
                    group="subject",
                    task="classification",
                    settings=settings,
                )
            ],
            settings=settings,
        )


def _subject(path: Path) -> Array:
    """Return the rows of a file without gaps within a column, (R, 54) float32."""
    found = read(path, reader="csv", delimiter=" ", header=False)
    if len(found.columns) != COLUMNS:
        raise DataError(
            f"{path} must have {COLUMNS} columns with one space between them; got "
            f"{len(found.columns)}. Unpack the file again."
        )
    rows = np.empty((len(found), COLUMNS), dtype=np.float32)
    places = np.arange(len(found))
    for number, name in enumerate(found):
        column = np.asarray(found[name][:])
        if column.dtype.kind == "O" and any(isinstance(value, str) for value in column):
            raise DataError(
                f"{path}, column {number + 1} must hold numbers; got text. Unpack the file again."
            )
        column = column.astype(np.float64)
        there = ~np.isnan(column)
        if number >= 2 and there.any() and not there.all():
            filled = np.interp(places, places[there], column[there])
            filled[: int(there.argmax())] = np.nan
            column = filled
        rows[:, number] = column
    return rows


def _stays(rows: Array, known: list[int]) -> tuple[Array, list[Stay]]:
    """Return the values of the stays at known activities (52, R), and where each lies there."""
    edges = np.flatnonzero(np.diff(rows[:, 1])) + 1
    parts, stays, place = [np.empty((0, COLUMNS - 2), dtype=rows.dtype)], list[Stay](), 0
    for part in np.split(rows, edges):
        if part[0, 1] in known:
            parts.append(part[:, 2:])
            stays.append((int(part[0, 1]), place, place + len(part)))
            place += len(part)
    return np.ascontiguousarray(np.concatenate(parts).T), stays


def _windows(protocol: Path, subjects: dict[int, tuple[Array, list[Stay]]], stride: int) -> Records:
    """Return windows of some subjects as field "X" (52, 320), with "activity" and "subject"."""
    columns, activities, owners = [], [], []
    for subject, (values, stays) in subjects.items():
        starts: list[int] = []
        for activity, start, stop in stays:
            found = range(start, stop - LENGTH + 1, stride)
            starts += found
            activities += [ACTIVITIES[activity]] * len(found)
        owners += [subject] * len(starts)
        cut = partial(_cut, values, np.array(starts, dtype=np.int64))
        columns.append(Rows(len(starts), cut, values.dtype, (len(values), LENGTH)))
    if not activities:
        raise DataError(
            f"{protocol} must hold {LENGTH} rows in a row of some activity; got none for subjects "
            f"{', '.join(map(str, subjects))}. Unpack the files again."
        )
    records = Records({"X": Chain(columns, str(protocol))}, str(protocol), row_word="window")
    return labelled(records, {"activity": activities, "subject": owners})


def _cut(values: Array, starts: Index, index: Index) -> Array:
    windows = np.empty((len(index), len(values), LENGTH), dtype=values.dtype)
    for row, start in enumerate(starts[index].tolist()):
        windows[row] = values[:, start : start + LENGTH]
    return windows
