"""What looks wrong with a data set before anything is learnt from it.

Each finding is one sentence for a user. Nothing here is proof: an identifier may be a count, and
equal samples may be honest. Findings come from at most 10,000 samples.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.data.records import Records

Features = NDArray[np.floating[Any]]
CHUNK = 1024  # samples read at once
FEW_CLASSES = 50
# Of the usual distance between neighbours: nearer than that is a copy with a little noise.
NEAR = 0.05
MOST_COMPARED = 5000  # samples of each side whose distances are computed


def duplicates(records: Records, inputs: Sequence[str], labels: Sequence[str] = ()) -> list[str]:
    """Find samples whose inputs are equal to the last bit, and such that differ in a label."""
    groups = [group for group in _equal(records.only(inputs)).values() if len(group) > 1]
    if not groups:
        return []
    extra = sum(len(group) - 1 for group in groups)
    first, second = groups[0][:2]
    found = [
        f"{extra} of {len(records)} samples repeat another one exactly, e.g. "
        f"{records.where(second)} repeats {records.where(first)}: keep them on one side of a split"
    ]
    for label in labels:
        values = _plain(records, label)
        torn = [group for group in groups if len({values[n] for n in group}) > 1]
        if torn:
            a, b = _two_that_differ(torn[0], values)
            found.append(
                f"{len(torn)} groups of equal samples differ in {label!r}, e.g. "
                f"{records.where(a)} and {records.where(b)}: no model can tell them apart"
            )
    return found


def identifiers(records: Records, inputs: Iterable[str]) -> list[str]:
    """Find whole-number or text columns with a different value in every row."""
    found = []
    for name in inputs:
        column = records[name]
        if len(column.shape) > 1 or len(records) < 20 or column.dtype.kind not in "iuOU":
            continue
        values = _plain(records, name)
        if any(not isinstance(v, str | int) for v in values) or len(set(values)) < len(values):
            continue
        numbers = [v for v in values if isinstance(v, int)]
        # Whole numbers may be measured; a numbering has hardly any gaps.
        if numbers and max(numbers) - min(numbers) > 2 * len(values):
            continue
        found.append(
            f"column {name!r} has a different value in every row, like an identifier: it can be "
            f"memorised and not learnt from (--ignore {name})"
        )
    return found


def leaks(records: Records, inputs: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Find single input columns that tell a label exactly."""
    found = []
    for label in labels:
        target = _plain(records, label)
        for name in inputs:
            if name == label or len(records[name].shape) > 1:
                continue
            values = _plain(records, name)
            how = "" if any(isinstance(v, np.ndarray) for v in values) else _tells(values, target)
            if how:
                found.append(f"column {name!r} {how} field {label!r}: --ignore {name} if it leaks")
    return found


def near_duplicates(train: Features, test: Features, what: str) -> list[str]:
    """Find test samples that lie much nearer to a training sample than neighbours usually do.

    Args:
        train: Raw features of training samples, (S, F).
        test: Of test samples, (T, F).
        what: The split, e.g. "field 'split'", to open the sentence.
    """
    from sklearn.neighbors import NearestNeighbors

    train, test = _evenly(train), _evenly(test)
    if len(train) < 3 or len(test) < 1:
        return []
    spread = train.std(axis=0)
    train, test = (x / np.where(spread > 0, spread, 1) for x in (train, test))
    search = NearestNeighbors(n_neighbors=2).fit(train)
    usual = float(np.median(search.kneighbors(train)[0][:, 1]))
    nearest = search.kneighbors(test, n_neighbors=1)[0][:, 0]
    near = int((nearest <= NEAR * usual).sum())
    if near == 0:
        return []
    return [
        f"{what}: {near} of {len(test)} test samples are nearly equal to a training sample (nearer "
        f"than {NEAR:.0%} of the usual distance between neighbours): scores will be too good"
    ]


def _equal(records: Records) -> dict[bytes, list[int]]:
    groups: dict[bytes, list[int]] = defaultdict(list)
    for start in range(0, len(records), CHUNK):
        index: Index = np.arange(start, min(start + CHUNK, len(records)))
        columns = [column[index] for column in records.columns.values()]
        for row in range(len(index)):
            digest = hashlib.blake2b(digest_size=16)
            for column in columns:
                digest.update(_bytes(column[row]) + b"\0")
            groups[digest.digest()].append(start + row)
    return groups


def _bytes(value: Any) -> bytes:
    if isinstance(value, np.ndarray):
        return repr(value.shape).encode() + value.tobytes()
    if isinstance(value, np.generic):
        return value.tobytes()
    return repr(value).encode("utf-8", errors="surrogatepass")


def _plain(records: Records, name: str) -> list[Any]:
    values = np.asarray(records[name][np.arange(len(records))])
    plain: list[Any] = values.tolist()
    return plain


def _two_that_differ(group: list[int], values: list[Any]) -> tuple[int, int]:
    first = group[0]
    return first, next(n for n in group if values[n] != values[first])


def _tells(values: list[Any], target: list[Any]) -> str:
    """Say how a column tells a label, or nothing."""
    pairs = [
        (v, t) for v, t in zip(values, target, strict=True) if not (_missing(v) or _missing(t))
    ]
    if len(pairs) < 20:
        return ""
    if all(str(v) == str(t) for v, t in pairs):
        return "equals"
    mapping: dict[Any, set[Any]] = defaultdict(set)
    for v, t in pairs:
        mapping[v].add(t)
    classes = {t for _, t in pairs}
    few = len(mapping) <= FEW_CLASSES and len(mapping) < 0.5 * len(pairs)
    if few and len(classes) > 1 and all(len(found) == 1 for found in mapping.values()):
        return "determines"
    numeric = all(isinstance(v, int | float) and isinstance(t, int | float) for v, t in pairs)
    if numeric and len(classes) > 2 and len(mapping) > 2:
        a, b = np.array(pairs, dtype=np.float64).T
        if abs(np.corrcoef(a, b)[0, 1]) > 0.99999:
            return "is proportional to"
    return ""


def _missing(value: Any) -> bool:
    return value is None or value != value


def _evenly(features: Features) -> Features:
    chosen = np.linspace(0, len(features) - 1, min(len(features), MOST_COMPARED)).astype(int)
    return np.asarray(features[chosen], dtype=np.float64)
