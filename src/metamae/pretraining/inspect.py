"""Look at data before learning from them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.atomic import write_text_atomically
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import decodes
from metamae.data.records import Records
from metamae.encoder.representations import raw_features
from metamae.errors import ArtifactError, DataError
from metamae.modalities.base import Modality
from metamae.pretraining.data_checks import (
    FEW_CLASSES,
    duplicates,
    identifiers,
    leaks,
    near_duplicates,
)
from metamae.run.config import Choices, choose
from metamae.run.screening import vet
from metamae.schema.file import Declared, DeclaredField, read_schema_file
from metamae.schema.guess import LABELS
from metamae.schema.schema import Schema

LOOK_AT = 10_000  # samples from which shares are estimated
DECODED_AT = 2_000  # the same where each is a file to be decoded


@dataclass(frozen=True)
class Field:
    """One field of a data set.

    Attributes:
        name: Its name.
        type: Of its values.
        shape: Of one value; empty for a single number or a text.
        missing: Share of missing values.
        distinct: Different values among the samples looked at; None for arrays.
        role: "input", "left out", or "label?" for one that could be a label.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    missing: float
    distinct: int | None
    role: str


@dataclass(frozen=True)
class Inspection:
    """What a data set looks like, and how it would be read.

    Attributes:
        source: The data set.
        num_samples: S.
        fields: Its fields.
        modality: Registered name of the modality.
        description: What one sample is.
        num_tokens: N of the largest sample.
        notes: Assumptions and warnings, one sentence each.
        schema: The schema that pretraining would use.
    """

    source: str
    num_samples: int
    fields: tuple[Field, ...]
    modality: str
    description: str
    num_tokens: int
    notes: tuple[str, ...]
    schema: Schema

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, without the statistics of the schema."""
        return {k: v for k, v in asdict(self).items() if k != "schema"}

    def declared(self, choices: Choices) -> Declared:
        """Return the fields as a declaration that a user may edit.

        Args:
            choices: What was chosen on the way here.
        """
        spec = self.schema.modality
        home = {column: own for _, own in spec.leaves for column in own.columns}
        tables = [own for _, own in spec.leaves if own.columnwise]
        reader = {} if choices.reader == "auto" else {"name": choices.reader}
        return Declared(
            fields=tuple(_declare(field, home.get(field.name)) for field in self.fields),
            table=tables[0].settings() if tables else {},
            reader={**reader, **choices.settings.get("reader", {})},
        )


def inspect(
    data: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    schema: str | Path | None = None,
    ignore: Iterable[str] = (),
    field: str | None = None,
    label: str | None = None,
    split: str | None = None,
    test: Any = None,
    skip_bad: int = 0,
    write: str | Path | None = None,
    overwrite: bool = False,
) -> Inspection:
    """Say what the data are taken for, with the arguments that `pretrain` takes.

    Args:
        data: Whatever `pretrain` takes.
        settings: Settings by name.
        schema: A file that `inspect` wrote, edited or not.
        ignore: Fields that are no input.
        field: The one field that is input.
        label: The field to be predicted later: inputs that give it away are looked for.
        split: A field that says which samples are for training and which for testing: samples of
            one that are nearly equal to samples of the other are looked for.
        test: Test samples of their own, for the same purpose.
        skip_bad: How many bad samples may be set aside.
        write: File for the declaration of the fields, to be edited and given to `pretrain`.
        overwrite: Whether that file may be replaced.

    Raises:
        ConfigError: If a setting is refused.
        DataError: If the data cannot be read or learnt from.
        ArtifactError: If the file is there or cannot be written.
    """
    if write is not None and Path(write).exists() and not overwrite:
        raise ArtifactError(
            f"{write} must not exist yet; it does. --overwrite replaces it, another --write keeps "
            f"it."
        )
    declared = None if schema is None else read_schema_file(schema)
    given = {**(declared.settings() if declared else {}), **(settings or {})}
    choices = choose(Choices(), given)
    records = choices.read(data, field=field, skip_bad=skip_bad)
    ignore = declared.ignored(records) if declared else list(ignore)
    aside = Aside(skip_bad, list(records.aside))
    sides = _Sides(label, split, None if test is None else choices.read(test, skip_bad=skip_bad))
    found = _inspect(records, choices, ignore, aside, sides)
    if write is not None:
        write_text_atomically(Path(write), found.declared(choices).to_toml(found.source))
    return found


@dataclass(frozen=True)
class _Sides:
    """What a user says about labels and about a division of the samples."""

    label: str | None
    split: str | None
    test: Records | None


def _inspect(
    records: Records, choices: Choices, ignore: Iterable[str], aside: Aside, sides: _Sides
) -> Inspection:
    infer = partial(choices.infer, ignore=ignore)
    most = DECODED_AT if records.decoded else LOOK_AT
    records, schema = vet(records, infer, aside, most=most)
    some = records.sample(most, np.random.default_rng(choices.seed))
    fields = tuple(_field(some, name, schema) for name in records)
    warnings = [
        f"field {f.name!r} misses {f.missing:.0%} of its values" for f in fields if f.missing > 0.2
    ]
    return Inspection(
        source=records.source,
        num_samples=len(records),
        fields=fields,
        modality=schema.modality.kind,
        description=schema.modality.describe(),
        num_tokens=schema.modality.num_tokens,
        notes=(*schema.notes, *warnings, *_suspicions(some, schema, fields, sides)),
        schema=schema,
    )


def _suspicions(
    records: Records, schema: Schema, fields: Iterable[Field], sides: _Sides
) -> list[str]:
    """Say what looks wrong with the samples."""
    inputs = schema.modality.columns
    if sides.label is not None:
        records[sides.label]  # a name that is not there is a slip of the user's
        labels = [sides.label]
    else:
        labels = [f.name for f in fields if f.role == "label?" and f.name.lower() in LABELS]
    found = []
    if sides.label in inputs:
        found.append(f"label {sides.label!r} is among the inputs: --ignore {sides.label}")
    others = [name for name in inputs if name not in labels]
    found += duplicates(records, others or inputs, labels)
    found += identifiers(records, [name for name in others if name in _table_columns(schema)])
    found += leaks(records, others, labels)
    spec = schema.modality
    if sides.split is not None:
        train, test = _divide(records, sides.split)
        what = f"field {sides.split!r}"
        found += near_duplicates(raw_features(spec, train), raw_features(spec, test), what)
    if sides.test is not None:
        test = sides.test.sample(LOOK_AT, np.random.default_rng(0)).only(inputs)
        what = f"test data {sides.test.source}"
        found += near_duplicates(raw_features(spec, records), raw_features(spec, test), what)
    return found


def _table_columns(schema: Schema) -> set[str]:
    leaves = schema.modality.leaves
    return {column for _, own in leaves if own.columnwise for column in own.columns}


def _divide(records: Records, split: str) -> tuple[Records, Records]:
    """Divide samples by a field that names their side: the rarer of two is for testing."""
    values = np.asarray(records[split][np.arange(len(records))]).astype(str)
    names, counts = np.unique(values, return_counts=True)
    if len(names) < 2:
        raise DataError(
            f"{records.source}: field {split!r} must name at least two sides of a split; got "
            f"{names.tolist()}. Another field would do."
        )
    named = [name for name in names.tolist() if name.lower().startswith(("test", "val"))]
    for_test = values == (named[0] if named else names[counts.argmin()])
    return records.subset(np.flatnonzero(~for_test)), records.subset(np.flatnonzero(for_test))


def _declare(field: Field, spec: Modality | None) -> DeclaredField:
    facts: dict[str, Any] = {"type": field.type, "shape": list(field.shape)}
    facts["missing"] = round(field.missing, 4)
    if field.distinct is not None:
        facts["distinct"] = field.distinct
    if spec is None:
        role = "label" if field.role == "label?" else "left out"
        return DeclaredField(name=field.name, role=role, facts=facts)
    settings = {} if spec.columnwise else spec.settings()
    if field.name == settings.get("rate_field"):
        return DeclaredField(name=field.name, role="rate", facts=facts)
    return DeclaredField(
        name=field.name, role="input", kind=spec.kind_word, settings=settings, facts=facts
    )


def _field(records: Records, name: str, schema: Schema) -> Field:
    column = records[name]
    shape = column.shape[1:]
    missing, distinct = 0.0, None
    kind = str(column.dtype)
    if not shape and decodes(column):
        kind = "arrays of different shapes"
    elif not shape:
        values = np.asarray(column[np.arange(len(records))])
        if values.dtype == object:
            gone = np.array([v is None for v in values], dtype=bool)
            texts = [v for v in values if isinstance(v, str)]
            distinct = len(set(texts)) if texts else None
            kind = "text" if texts else "arrays of different shapes"
        else:
            gone = values != values  # NaN, and no other value, differs from itself
            distinct = len(np.unique(values[~gone]))
        missing = float(gone.mean())
    elif column.dtype.kind == "f":
        block = np.asarray(column[np.arange(min(len(records), 256))])
        missing = float(np.isnan(block).mean())
    role = "input" if name in schema.modality.columns else "left out"
    if role == "left out" and distinct is not None and 2 <= distinct <= FEW_CLASSES:
        role = "label?"
    return Field(name, kind, shape, missing, distinct, role)
