"""Look at data before learning from them."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from metamae.config import Choices, choose
from metamae.readers import read
from metamae.records import Records
from metamae.schema import Schema, infer_schema

LOOK_AT = 10_000  # samples from which shares are estimated
FEW_CLASSES = 50


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


def inspect(
    data: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    ignore: Iterable[str] = (),
    field: str | None = None,
) -> Inspection:
    """Say what the data are taken for, with the arguments that `pretrain` takes.

    Raises:
        ConfigError: If a setting is refused.
        DataError: If the data cannot be read or learnt from.
    """
    choices = choose(Choices(), settings or {})
    records = data if isinstance(data, Records) else read(data, field=field)
    schema = infer_schema(
        records,
        modality=choices.modality,
        ignore=ignore,
        settings=choices.settings.get("modality"),
        seed=choices.seed,
    )
    some = records.sample(LOOK_AT, np.random.default_rng(choices.seed))
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
        notes=(*schema.notes, *warnings),
        schema=schema,
    )


def _field(records: Records, name: str, schema: Schema) -> Field:
    column = records[name]
    shape = column.shape[1:]
    missing, distinct = 0.0, None
    if not shape:
        values = np.asarray(column[np.arange(len(records))])
        if values.dtype == object:
            gone = np.array([v is None for v in values], dtype=bool)
            texts = [v for v in values if isinstance(v, str)]
            distinct = len(set(texts)) if texts else None
        else:
            gone = values != values  # NaN, and no other value, differs from itself
            distinct = len(np.unique(values[~gone]))
        missing = float(gone.mean())
    elif column.dtype.kind == "f":
        block = np.asarray(column[np.arange(min(len(records), 256))])
        missing = float(np.isnan(block).mean())
    kind = "text or lists" if column.dtype == object else str(column.dtype)
    role = "input" if name in schema.modality.columns else "left out"
    if role == "left out" and distinct is not None and 2 <= distinct <= FEW_CLASSES:
        role = "label?"
    return Field(name, kind, shape, missing, distinct, role)
