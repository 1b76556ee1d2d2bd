"""Which columns make up which field of a mixture, and which samples have a field at all."""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metamae.core.checks import check_between
from metamae.core.registry import did_you_mean
from metamae.data.records import Records
from metamae.errors import ConfigError

KEYS = ("name", "kind", "columns", "settings")


@dataclass(frozen=True)
class Field:
    """One field of a mixture as it is asked for.

    Attributes:
        name: What it is called.
        kind: Registered name of its modality.
        columns: What it is made of.
        settings: The user's choices for that modality.
    """

    name: str
    kind: str
    columns: tuple[str, ...]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def choose_fields(records: Records, parts: Any) -> list[Field]:
    """Read the setting `parts` of a mixture.

    Args:
        records: Training data.
        parts: For each field a dict of the attributes of `Field`.

    Raises:
        ConfigError: If `parts` is anything else, fields are fewer than 2, lack a column, or share
            a column or a name.
    """
    if not isinstance(parts, list | tuple):
        raise ConfigError(
            f"Mixture.parts must be a list of fields; got {parts!r}. "
            f'[{{"name": "text", "kind": "symbols"}}, ...] would do.'
        )
    fields = [_parse(part) for part in parts]
    _check(fields, records)
    return fields


def _parse(part: Any) -> Field:
    if not isinstance(part, dict):
        raise ConfigError(
            f"Mixture.parts must hold a table of settings for each field; got {part!r}. "
            f'{{"name": "text", "kind": "symbols"}} would do.'
        )
    for key in part:
        if key not in KEYS:
            raise ConfigError(
                f"A part of a mixture has no setting {key!r}.{did_you_mean(key, KEYS)}"
            )
    name, kind = part.get("name"), part.get("kind")
    columns, settings = part.get("columns", [name]), part.get("settings", {})
    for key, value, legal, rule in (
        ("name", name, isinstance(name, str) and name, "a word"),
        ("kind", kind, isinstance(kind, str), "the name of a modality"),
        ("columns", columns, _are_names(columns), "a list of names of columns"),
        ("settings", settings, isinstance(settings, dict), "a table of settings"),
    ):
        if not legal:
            raise ConfigError(
                f"Mixture.parts: {key} must be {rule}; got {value!r} in {part}. "
                f'{{"name": "text", "kind": "symbols", "columns": ["text"]}} would do.'
            )
    return Field(str(name), str(kind), tuple(columns), settings)


def _are_names(columns: Any) -> bool:
    listed = isinstance(columns, list | tuple) and len(columns) > 0
    return listed and all(isinstance(column, str) for column in columns)


def _check(fields: Sequence[Field], records: Records) -> None:
    if len(fields) < 2:
        raise ConfigError(
            f"Mixture.parts must be at least 2; got {[part.name for part in fields]} from the "
            f"columns {', '.join(records)}. Name the parts, or choose the modality of the one."
        )
    twice = [name for name, count in Counter(part.name for part in fields).items() if count > 1]
    if twice:
        raise ConfigError(
            f"Mixture.parts must have different names; got {twice[0]!r} twice. Give "
            f"parts with other names."
        )
    owner: dict[str, str] = {}
    for part in fields:
        for column in part.columns:
            if column not in records.columns:
                raise ConfigError(
                    f"Mixture.parts: {part.name!r} must be made of columns of {records.source}; "
                    f"got {column!r}.{did_you_mean(column, records)}"
                )
            if column in owner:
                raise ConfigError(
                    f"Mixture.parts must not share a column; got {column!r} in "
                    f"{owner[column]!r} and {part.name!r}. Take it out of one."
                )
            owner[column] = part.name


def check_settings(field: Field, known: Iterable[str]) -> None:
    """Raise ConfigError if a field has a setting that its modality does not know."""
    for key in field.settings:
        if key not in (known := list(known)):
            raise ConfigError(
                f"Mixture.parts: {field.kind!r} of {field.name!r} has no setting {key!r}."
                f"{did_you_mean(key, known)}"
            )


def check_weights(fields: Sequence[Field], weights: Any) -> tuple[float, ...]:
    """Return the weight of every field, 1 where none is given.

    Raises:
        ConfigError: If weights are not positive numbers by the names of fields.
    """
    names = [part.name for part in fields]
    if weights is not None and not isinstance(weights, dict):
        raise ConfigError(
            f"Mixture.weights must be a number for each part; got {weights!r}. "
            f"{{{names[0]!r}: 2.0}} would do."
        )
    for name, value in (weights or {}).items():
        if name not in names:
            raise ConfigError(f"Mixture.weights: no part {name!r}.{did_you_mean(name, names)}")
        check_between(f"Mixture.weights[{name!r}]", value, 0, float("inf"))
    return tuple(float((weights or {}).get(name, 1.0)) for name in names)
