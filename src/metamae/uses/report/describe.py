"""What the data of a run are, in words: the facts and fields of its schema."""

from collections.abc import Iterator
from typing import Any

from metamae.encoder.pretrained import Pretrained
from metamae.modalities.base import Modality
from metamae.modalities.mixture.mixture import Mixture
from metamae.modalities.table.column import Measured
from metamae.modalities.table.table import Table

MOST_FIELDS = 60  # that are listed
MOST_CATEGORIES = 6  # of a column that are named


def facts_of(pretrained: Pretrained) -> dict[str, str]:
    """Return what a reader wants to know first about data and network: name -> value."""
    config, schema = pretrained.config, pretrained.schema
    data, spec = config.data, schema.modality
    weights = sum(p.numel() for p in pretrained.module.backbone.parameters())
    found = {
        "source": str(data["source"]),
        "samples": f"{data['samples']:,}, {data['held_out']:,} of them held out",
        "taken as": spec.kind_word,
        "one sample": spec.describe(),
        "tokens of a sample": f"{'up to ' if spec.varies else ''}{spec.num_tokens:,}",
        "encoder": f"{weights:,} weights",
        "embedding": f"{pretrained.embedding_width} numbers",
    }
    if data["set_aside"]:
        found["bad samples set aside"] = str(len(data["set_aside"]))
    if schema.left_out:
        found["fields that are no input"] = ", ".join(schema.left_out[:20])
    return found


def fields_of(spec: Modality) -> list[dict[str, str]]:
    """Return a row for every input field: its name, what it is and what it holds."""
    rows = list(_rows(spec, ""))
    if len(rows) <= MOST_FIELDS:
        return rows
    more = {"field": f"… {len(rows) - MOST_FIELDS} more", "kind": "", "holds": ""}
    return [*rows[:MOST_FIELDS], more]


def _rows(spec: Modality, part: str) -> Iterator[dict[str, str]]:
    if isinstance(spec, Mixture):
        for name, own in spec.parts:
            yield from _rows(own, name)
    elif isinstance(spec, Table):
        for column in spec.measured:
            kind = "category" if column.scaling is None else "number"
            name = f"{part}: {column.name}" if part else column.name
            yield {"field": name, "kind": kind, "holds": _holds(column)}
    else:
        name = part or ", ".join(spec.columns)
        yield {"field": name, "kind": spec.kind_word, "holds": spec.describe()}


def _holds(column: Measured) -> str:
    gaps = ", some missing" if column.gaps else ""
    if column.scaling is not None:
        return f"{_plain(column.scaling)}{gaps}"
    pairs = sorted(zip(column.frequencies, column.categories, strict=True), reverse=True)
    named = [f"{name} {share:.0%}" for share, name in pairs[:MOST_CATEGORIES]]
    more = f", {len(pairs) - len(named)} more" if len(pairs) > len(named) else ""
    return f"{', '.join(named)}{more}{gaps}"


def _plain(scaling: Any) -> str:
    return f"mean {scaling.mean:.4g}, standard deviation {scaling.std:.4g}"
