"""One column of a table, or one part of a column of dates: what it holds, and on what scale."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from metamae.data.columns.base import Array
from metamae.data.records import Records
from metamae.modalities.table import categories, dates, scaling
from metamae.modalities.table.scaling import Scaling

MOST_DIFFERENT = 20  # different strings below which they are categories however few the rows
MANY_MISSING = 0.2  # share of missing values that a user should hear of


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One input column of a table.

    Args:
        name: What the user reads: the field's name, with the part behind it for dates; in an
            array of numbers, the position as text.
        field: The field that it is read from; in an array, the position as text.
        part: Of a date: "time", "month", "weekday" or "hour"; else empty.
        scaling: Of a numeric column; None for a categorical one.
        categories: Known values of a categorical column as text; empty for a numeric one.
        frequencies: Share of each of them in the training data.
        other: Whether the last category stands for all values that are not among them.
        gaps: Whether the training data missed some values.
    """

    name: str
    field: str
    part: str = ""
    scaling: Scaling | None = None
    categories: tuple[str, ...] = ()
    frequencies: tuple[float, ...] = ()
    other: bool = False
    gaps: bool = False

    @property
    def num_outputs(self) -> int:
        """Numbers that a prediction of this column needs."""
        return len(self.categories) or 1

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without those that are the default: columns are many."""
        return _unusual(self) | ({"scaling": _unusual(self.scaling)} if self.scaling else {})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Measured":
        """Undo `to_dict`."""
        plain = _tuples(values)
        if "scaling" in plain:
            plain["scaling"] = Scaling(**_tuples(plain["scaling"]))
        return cls(**plain)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How columns are to be measured.

    Attributes:
        scaling: Field -> scaling, or "auto".
        everywhere: Scaling of the fields that are not named there, or "auto".
        wide: Whether the columns are so many that they should share tokens and be scaled as one
            block: truth values then count as numbers, and "auto" does not choose "quantile".
        categorical: Fields that are categories whatever they hold.
        min_count: Times that a value must occur to be a category of its own.
        max_categories: Most categories of a column.
    """

    scaling: Mapping[str, str]
    everywhere: str
    wide: bool
    categorical: frozenset[str]
    min_count: int
    max_categories: int


@dataclass(frozen=True)
class Finding:
    """What became of one field.

    Attributes:
        columns: What is read from it; none if it is left out.
        note: What a user should know, as the end of a sentence about the field; or empty.
        many: The same of several fields.
    """

    columns: tuple[Measured, ...] = ()
    note: str = ""
    many: str = ""


def measure(name: str, values: Array, rules: Rules, records: Records) -> Finding:
    """Describe one field, or say why it is left out.

    Args:
        name: Of the field.
        values: Its values in the training data, (S,).
        rules: The user's choices.
        records: The training data, to name a bad row.

    Raises:
        DataError: If a value is infinite, or a date outside the years 1 to 9999.
    """
    kind = values.dtype.kind
    if values.ndim != 1:
        return _out(
            f"each cell holds an array of shape {values.shape[1:]}", "their cells hold arrays"
        )
    if kind == "O" and any(isinstance(v, np.ndarray) for v in values):
        return _out("its cells hold arrays", "their cells hold arrays")
    if kind not in "OUbiufM":
        return _out(
            f"{values.dtype} is neither number nor category", "they are neither number nor category"
        )
    if kind in "OU" or (kind == "b" and not rules.wide) or name in rules.categorical:
        return _categorical(name, values, rules)
    if kind == "M":
        return _dates(name, values, rules, records)
    return _numeric(name, values, rules, records)


def refuse_infinity(name: str, position: int, records: Records) -> None:
    """Blame one sample for a number that is too large."""
    raise records.error(
        position,
        f"column {name!r} must hold finite numbers; got infinity, or one too far from the "
        f"training data for float32. Leave the cell empty (NaN) to mark it as missing.",
    )


def refuse_date(name: str, position: int, value: Any, records: Records) -> None:
    """Blame one sample for a date that no calendar has."""
    raise records.error(
        position,
        f"column {name!r} must hold dates of the years 1 to 9999; got {value}. Leave the cell "
        f"empty (NaT) to mark it as missing.",
    )


def _categorical(name: str, values: Array, rules: Rules) -> Finding:
    counts = categories.count(values)
    asked, distinct, total = name in rules.categorical, len(counts), counts.total()
    if distinct < 2:
        return _out("it is constant or missing", "they are constant or missing")
    if not asked and distinct > MOST_DIFFERENT and distinct > 0.5 * len(values):
        return _out(
            f"{distinct} different values look like a name or a text "
            f"(override: categorical=[{name!r}])",
            "their different values look like names or texts (override: categorical)",
        )
    # Both truth values stay, however rare one is.
    fewest = 1 if values.dtype.kind == "b" else rules.min_count
    counts, other = categories.merge(counts, fewest=fewest, most=rules.max_categories)
    if len(counts) < 2:
        return _out(
            f"none of its values occurs {fewest} times (override: min_count)",
            f"none of their values occurs {fewest} times (override: min_count)",
        )
    known = sorted(counts, key=lambda text: (other and text == categories.OTHER, text))
    column = Measured(
        name=name,
        field=name,
        categories=tuple(known),
        frequencies=tuple(counts[text] / total for text in known),
        other=other,
        gaps=total < len(values),
    )
    if not other:
        return Finding((column,))
    rest = f"the rest is {categories.OTHER!r} (override: min_count, max_categories)"
    return Finding(
        (column,),
        f"keeps {len(known) - 1} of {distinct} values, {rest}",
        f"keep their most frequent values, {rest}",
    )


def _numeric(name: str, values: Array, rules: Rules, records: Records, part: str = "") -> Finding:
    numbers = values.astype(np.float64)
    if np.isinf(numbers).any():
        refuse_infinity(name, int(np.isinf(numbers).argmax()), records)
    there = numbers[~np.isnan(numbers)]
    if len(there) == 0:
        return _out("all its values are missing", "all their values are missing")
    standard = scaling.fit(there, "standard")
    if standard.std <= 1e-12 * abs(standard.mean):
        return _out(f"it is constant ({standard.mean:g})", "they are constant")
    kind = rules.scaling.get(name, "standard" if part else rules.everywhere)
    if kind == "auto":
        found = scaling.choose(there, standard, ranks=not rules.wide)
    else:
        found = scaling.fit(there, kind)
    missing = 1 - len(there) / len(numbers)
    column = Measured(
        name=f"{name}: {part}" if part else name,
        field=name,
        part=part,
        scaling=found,
        gaps=missing > 0,
    )
    if missing <= MANY_MISSING:
        return Finding((column,))
    return Finding(
        (column,),
        f"misses {missing:.0%} of its values",
        f"miss more than {MANY_MISSING:.0%} of their values",
    )


def _dates(name: str, values: Array, rules: Rules, records: Records) -> Finding:
    unfit = dates.unfit(values)
    if unfit.any():
        row = int(unfit.argmax())
        refuse_date(name, row, values[row], records)
    time = _numeric(name, dates.part_of(values, dates.TIME), rules, records, dates.TIME)
    if not time.columns:
        return _out("it is constant or missing", "they are constant or missing")
    columns = [*time.columns]
    for part, calendar in dates.RECURRING.items():
        counts = categories.count(dates.part_of(values, part))
        if len(counts) > 1:
            known = tuple(text for text in calendar if text in counts)
            columns.append(
                Measured(
                    name=f"{name}: {part}",
                    field=name,
                    part=part,
                    categories=known,
                    frequencies=tuple(counts[text] / counts.total() for text in known),
                    gaps=time.columns[0].gaps,
                )
            )
    parts = ", ".join(column.part for column in columns)
    note = f"holds dates: read as {parts}"
    if time.note:
        note += f"; it {time.note}"
    return Finding(tuple(columns), note, "hold dates: read as time, month, weekday and hour")


def _out(reason: str, many: str) -> Finding:
    return Finding((), f"is left out: {reason}", f"are left out: {many}")


def _unusual(part: Any) -> dict[str, Any]:
    """The fields of a dataclass that differ from their defaults; nested ones left out."""
    values = {f.name: (getattr(part, f.name), f.default) for f in fields(part)}
    return {
        name: value
        for name, (value, default) in values.items()
        if value != default and not isinstance(value, Scaling)
    }


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
