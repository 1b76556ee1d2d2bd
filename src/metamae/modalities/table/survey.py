"""All columns of a table: measured by the user's rules, and what the user should know of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from metamae.core.checks import check_at_least, check_one_of
from metamae.core.registry import did_you_mean
from metamae.data.columns.base import Array
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError
from metamae.modalities.table.column import Measured, Rules, measure
from metamae.modalities.table.groups import WIDE
from metamae.modalities.table.rows import gather
from metamae.modalities.table.scaling import SCALINGS

LISTED = 8  # columns that a note names


def find_array(records: Records) -> str | None:
    """Name the one array of shape (S, F) that holds a table; None if each column is a field.

    Raises:
        DataError: If there are both.
    """
    names = list(records)
    array = next((name for name in names if len(records[name].shape) == 2), None)
    if array is not None and len(names) > 1:
        raise DataError(
            f"{records.source}: a table must be one array or several columns; got the array "
            f"{array!r} among {len(names)} fields. Choose one with `field`."
        )
    return array


def make_rules(
    names: Sequence[str],
    *,
    scaling: Any,
    categorical: Any,
    min_count: int,
    max_categories: int,
) -> Rules:
    """Check the settings of a table that concern its columns.

    Args:
        names: Of the fields; in an array, the positions as text.
        scaling: One of `SCALINGS` or "auto" for all, or a table of names and these.
        categorical: Names.
        min_count: See `Rules`.
        max_categories: See `Rules`.

    Raises:
        ConfigError: If a setting is refused.
    """
    kinds = ["auto", *SCALINGS]
    own: dict[str, str] = {}
    if isinstance(scaling, Mapping):
        for name, kind in scaling.items():
            own[_known("Table.scaling", name, names)] = check_one_of(
                f"Table.scaling[{name!r}]", kind, kinds
            )
    else:
        check_one_of("Table.scaling", scaling, kinds)
    if isinstance(categorical, str) or not isinstance(categorical, Iterable):
        raise ConfigError(
            f"Table.categorical must be a list of columns; got {categorical!r}. "
            f"[{names[0]!r}] would do."
        )
    return Rules(
        scaling=own,
        everywhere="auto" if own or not isinstance(scaling, str) else scaling,
        wide=len(names) > WIDE,
        categorical=frozenset(_known("Table.categorical", name, names) for name in categorical),
        min_count=check_at_least("Table.min_count", min_count, 1),
        max_categories=check_at_least("Table.max_categories", max_categories, 2),
    )


def survey(
    records: Records, array: str | None, names: Sequence[str], rules: Rules
) -> tuple[tuple[Measured, ...], list[str]]:
    """Measure all columns.

    Args:
        records: The training data, or a part of them.
        array: Name of the one field of shape (S, F) that holds them all; None if each has a
            field of its own.
        names: Of the columns.
        rules: How to measure them.

    Returns:
        The columns that are input, and notes.

    Raises:
        ConfigError: If a column that holds categories is to be scaled.
        DataError: If a value is infinite, or a date outside the years 1 to 9999.
    """
    index = np.arange(len(records))
    block: Array | None = None
    if array is not None:
        block = np.ascontiguousarray(gather(records[array], index).T)  # (F, S)
    measured: list[Measured] = []
    told: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for place, name in enumerate(names):
        values = gather(records[name], index) if block is None else block[place]
        finding = measure(name, values, rules, records)
        measured += finding.columns
        if finding.note:
            told[finding.many].append((name, finding.note))
        if name in rules.scaling and any(column.categories for column in finding.columns[:1]):
            raise ConfigError(
                f"Table.scaling must name columns of numbers; got {name!r}, which holds "
                f"categories. Leave it out."
            )
    notes = _scaled(measured)
    for many, each in told.items():
        if len(each) <= LISTED:
            notes += [f"column {name!r} {note}" for name, note in each]
        else:
            notes.append(f"{len(each)} columns {many}: {_listed(name for name, _ in each)}")
    return tuple(measured), notes


def _scaled(measured: Iterable[Measured]) -> list[str]:
    notes = []
    for kind in SCALINGS[1:]:
        names = [c.name for c in measured if c.scaling is not None and c.scaling.kind == kind]
        if names:
            notes.append(f"scaling {kind!r} for {_listed(names)} (override: scaling)")
    return notes


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(repr(name) for name in names[:LISTED]) + more


def _known(setting: str, name: Any, names: Sequence[str]) -> str:
    if str(name) not in names:
        raise ConfigError(f"{setting} must name columns; got {name!r}.{did_you_mean(name, names)}")
    return str(name)
