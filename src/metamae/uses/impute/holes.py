"""Known values hidden on purpose, so that what is filled in can be compared with the truth."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Array
from metamae.data.records import Records
from metamae.modalities.base import Modality
from metamae.modalities.grid.geometry import LAYOUTS
from metamae.modalities.grid.grid import Grid
from metamae.modalities.symbols.symbols import Symbols
from metamae.modalities.table.table import Table
from metamae.uses.impute.gaps import letters_of, missing_cells, unknown_letters
from metamae.uses.impute.guesses import Sheet

PATTERNS = ("cells", "spans", "columns")
SHARE = {"cells": 0.1, "spans": 0.25}
GROUPS = 4  # in which columns, or channels, are hidden together
UNKNOWN = "\0"  # a letter that no alphabet holds


@dataclass(frozen=True)
class Laid:
    """Samples of one part as numbers and words, and what reports call each.

    Attributes:
        sheet: The values.
        columns: Name of the column of each number, (F,).
        words: Name of the column of each word, (K,).
        known: Which numbers may be hidden, (S, F).
        known_words: Which words may be hidden, (S, K).
    """

    sheet: Sheet
    columns: list[str]
    words: list[str]
    known: NDArray[np.bool_]
    known_words: NDArray[np.bool_]


def lay_out(part: Modality, columns: Mapping[str, Array]) -> Laid:
    """Lay samples that are in memory out as rows.

    Args:
        part: A table, a lattice or single symbols.
        columns: Its columns.
    """
    if isinstance(part, Table):
        return _table(part, columns)
    values = columns[part.columns[0]]
    if isinstance(part, Grid):
        return _lattice(part, values)
    assert isinstance(part, Symbols)
    return _letters(part, values)


def _none(rows: int) -> NDArray[Any]:
    return np.empty((rows, 0), dtype=object)


def _laid(sheet: Sheet, columns: list[str], words: list[str]) -> Laid:
    there = np.array([[w is not None for w in row] for row in sheet.words], dtype=bool)
    known_words = there.reshape(sheet.words.shape)
    return Laid(sheet, columns, words, ~np.isnan(sheet.numbers), known_words)


def _table(part: Table, columns: Mapping[str, Array]) -> Laid:
    records = Records(columns, "table")
    missing = missing_cells(part, records, np.arange(len(records)))
    numbers, words, names, kinds = [], [], [], []
    for n, one in enumerate(part.measured):
        if one.part:  # dates are filled, but there is no one unit to measure them in
            continue
        own = columns[part.array][:, int(one.field)] if part.array else columns[one.field]
        if one.scaling is None:
            texts = np.array(
                [
                    None if gone else str(v)
                    for v, gone in zip(own.tolist(), missing[:, n], strict=True)
                ],
                dtype=object,
            )
            words.append(texts)
            kinds.append(one.name)
        else:
            numbers.append(np.where(missing[:, n], np.nan, own).astype(np.float64))
            names.append(one.name)
    size = len(missing)
    sheet = Sheet(
        np.stack(numbers, axis=1) if numbers else np.empty((size, 0)),
        np.stack(words, axis=1) if words else _none(size),
    )
    return _laid(sheet, names, kinds)


def _lattice(part: Grid, values: Array) -> Laid:
    """Samples of different sizes are filled up with NaN to the largest."""
    firsts = [LAYOUTS[part.layout](np.asarray(v)[None])[0] for v in values]
    size = np.max([first.shape[1:] for first in firsts], axis=0).tolist()
    whole = np.full((len(firsts), part.channels, *size), np.nan)
    for row, first in zip(whole, firsts, strict=True):
        row[(slice(None), *(slice(n) for n in first.shape[1:]))] = first
    rest = int(np.prod(size))
    names = [f"channel {c}" for c in range(part.channels) for _ in range(rest)]
    return _laid(
        Sheet(whole.reshape(len(firsts), -1), _none(len(firsts)), whole.shape[1:]), names, []
    )


def _letters(part: Symbols, values: Array) -> Laid:
    rows = []
    for value in values:
        unknown = unknown_letters(part, value, None)
        symbols = [value[at] for at in letters_of(part, value).tolist()]
        rows.append([None if gone else str(s) for s, gone in zip(symbols, unknown, strict=True)])
    longest = max(len(row) for row in rows)
    words = np.full((len(rows), longest), None, dtype=object)
    for number, row in enumerate(rows):
        words[number, : len(row)] = row
    return _laid(Sheet(np.empty((len(rows), 0)), words), [], ["symbol"] * longest)


@dataclass(frozen=True)
class Holes:
    """What is hidden: numbers (S, F) and words (S, K)."""

    numbers: NDArray[np.bool_]
    words: NDArray[np.bool_]


def make_holes(part: Modality, laid: Laid, pattern: str, rng: np.random.Generator) -> list[Holes]:
    """Choose known values to hide; none if a pattern means nothing for this part.

    Args:
        part: What the samples are.
        laid: The samples.
        pattern: "cells" hides single values, "spans" a quarter of a sample in one piece along its
            last axis, "columns" columns of a table or channels, a quarter of them at a time.
        rng: Chooses.
    """
    if pattern == "cells":
        found = [
            Holes(
                laid.known & (rng.random(laid.known.shape) < SHARE["cells"]),
                laid.known_words & (rng.random(laid.known_words.shape) < SHARE["cells"]),
            )
        ]
    elif pattern == "spans":
        found = _spans(part, laid, rng)
    else:
        found = _columns(part, laid, rng)
    kept = [_with_something_left(laid, holes) for holes in found]
    return [holes for holes in kept if holes.numbers.any() or holes.words.any()]


def _spans(part: Modality, laid: Laid, rng: np.random.Generator) -> list[Holes]:
    if isinstance(part, Table):
        return []
    numbers, words = np.zeros_like(laid.known), np.zeros_like(laid.known_words)
    for row in range(len(numbers)):
        if isinstance(part, Grid):
            # Along the last axis: all channels, and all that lies across.
            assert laid.sheet.lattice is not None
            known = laid.known[row].reshape(-1, laid.sheet.lattice[-1])
            ends = np.flatnonzero(known.any(axis=0))
            span = np.broadcast_to(_span(ends, known.shape[1], rng), known.shape)
            numbers[row] = span.ravel()
        else:
            ends = np.flatnonzero(laid.known_words[row])
            words[row] = _span(ends, words.shape[1], rng)
    return [Holes(numbers & laid.known, words & laid.known_words)]


def _span(there: NDArray[np.int64], length: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Hide a run of what is there, which is not all of it."""
    mark = np.zeros(length, dtype=bool)
    if len(there) >= 2:
        size = max(1, round(SHARE["spans"] * len(there)))
        start = int(rng.integers(len(there) - size + 1))
        mark[there[start : start + size]] = True
    return mark


def _columns(part: Modality, laid: Laid, rng: np.random.Generator) -> list[Holes]:
    if isinstance(part, Symbols):
        return []
    names = list(dict.fromkeys([*laid.columns, *laid.words]))
    if len(names) < 2:
        return []
    order = rng.permutation(len(names))
    found = []
    for some in np.array_split(order, min(GROUPS, len(names))):
        hidden = {names[n] for n in some}
        numbers = np.array([name in hidden for name in laid.columns], dtype=bool)
        words = np.array([name in hidden for name in laid.words], dtype=bool)
        found.append(Holes(laid.known & numbers, laid.known_words & words))
    return found


def _with_something_left(laid: Laid, holes: Holes) -> Holes:
    """Hide nothing of a sample of which nothing would be left."""
    numbers = (laid.known & ~holes.numbers).any(axis=1)
    words = (laid.known_words & ~holes.words).any(axis=1)
    left: NDArray[np.bool_] = np.asarray(numbers | words)
    return Holes(holes.numbers & left[:, None], holes.words & left[:, None])


def punch(
    part: Modality, columns: Mapping[str, Array], laid: Laid, holes: Holes
) -> dict[str, Array]:
    """Return the samples with the chosen values missing."""
    if isinstance(part, Table):
        return _punch_table(part, columns, holes)
    name = part.columns[0]
    values = columns[name]
    holed: Array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        if isinstance(part, Grid):
            assert laid.sheet.lattice is not None
            holed[row] = _without(part, value, holes.numbers[row].reshape(laid.sheet.lattice))
        else:
            assert isinstance(part, Symbols)
            holed[row] = _unknown_at(part, value, np.flatnonzero(holes.words[row]))
    if values.dtype != object:
        holed = np.stack(list(holed))
    return {**columns, name: holed}


def _without(part: Grid, value: Any, hidden: Array) -> Array:
    whole = np.array(value, dtype=np.result_type(np.asarray(value).dtype, np.float32))
    # A view with channels first; what is written to it is written to the value.
    first = LAYOUTS[part.layout](whole[None])[0]
    inside = (slice(None), *(slice(n) for n in first.shape[1:]))
    first[hidden[inside]] = np.nan
    return whole


def _unknown_at(part: Symbols, value: Any, hidden: NDArray[np.int64]) -> Any:
    if isinstance(value, str):
        letters = list(value)
        for at in hidden.tolist():
            letters[at] = UNKNOWN
        return "".join(letters)
    codes = np.array(value)
    # A code below all that are known, and not the one that means "no symbol".
    codes[letters_of(part, value)[hidden]] = -2 if part.padding_code == -1 else -1
    return codes


def _punch_table(part: Table, columns: Mapping[str, Array], holes: Holes) -> dict[str, Array]:
    holed = {name: np.array(values) for name, values in columns.items()}
    number = word = 0
    for one in part.measured:
        if one.part:
            continue
        if one.scaling is None:
            marks, word, nothing = holes.words[:, word], word + 1, None
        else:
            marks, number, nothing = holes.numbers[:, number], number + 1, np.nan
        if not marks.any():
            continue
        name = part.array or one.field
        if holed[name].dtype != object:
            wanted = np.float64 if one.scaling is not None else object
            if holed[name].dtype.kind not in "f" or wanted is object:
                holed[name] = holed[name].astype(wanted)
        if part.array:
            holed[name][marks, int(one.field)] = np.nan
        else:
            holed[name][marks] = nothing
    return holed
