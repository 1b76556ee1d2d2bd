"""What the data of a run are, in words: the facts and fields of its schema."""

from dataclasses import asdict

from metamae.encoder.pretrained import Pretrained
from metamae.modalities.base import Modality

MOST_FIELDS = 60  # that are listed


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
    rows = [asdict(row) for row in spec.describe_fields()]
    if len(rows) <= MOST_FIELDS:
        return rows
    more = {"field": f"… {len(rows) - MOST_FIELDS} more", "kind": "", "holds": ""}
    return [*rows[:MOST_FIELDS], more]
