"""From the columns of a data set to the modality of its samples."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metamae.core.registry import did_you_mean
from metamae.data.records import Records
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.modalities import MODALITIES
from metamae.modalities.base import Modality
from metamae.schema.guess import choose_inputs, guess, split_fields, without_labels
from metamae.schema.kinds import kinds, modality_of, modality_settings

FORMAT = 1
"""Version of the JSON form; raised when an old reader could no longer understand it."""
PARTS = "parts"
"""Setting of a modality that is made of several fields, each with a modality of its own."""


@dataclass(frozen=True)
class Schema:
    """How the samples of a data set are read.

    Attributes:
        modality: What one sample is.
        left_out: Fields of the training data that are no input.
        notes: What was assumed or is worth a warning, one sentence each.
    """

    modality: Modality
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the schema as JSON text."""
        return json.dumps(
            {
                "format": FORMAT,
                "modality": self.modality.to_dict(),
                "left_out": list(self.left_out),
                "notes": list(self.notes),
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str, source: str) -> "Schema":
        """Undo `to_json`.

        Raises:
            ArtifactError: If the text is no schema or one of a newer format.
        """
        try:
            values = json.loads(text)
            if values["format"] > FORMAT:
                raise ArtifactError(
                    f"{source} must have format {FORMAT} or older; got {values['format']}. "
                    f"A newer metamae wrote it: upgrade."
                )
            kind = MODALITIES.get(values["modality"]["kind"])
            modality = kind.from_dict(values["modality"])
            return cls(modality, tuple(values["left_out"]), tuple(values["notes"]))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ArtifactError(
                f"{source} must hold the schema of a run; got {error!r}. The file is damaged: "
                f"restore it or pretrain again."
            ) from error


def infer_schema(
    records: Records,
    *,
    modality: str = "auto",
    ignore: Iterable[str] = (),
    settings: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Schema:
    """Decide what the samples are and measure them.

    Args:
        records: Training data.
        modality: A word of `kinds()`, or "auto" to guess.
        ignore: Fields that are no input, e.g. labels.
        settings: The user's choices for the modality.
        seed: Of the subsample that statistics are taken from.

    Raises:
        ConfigError: If a name or a setting is unknown.
        DataError: If the data are not of that modality, or no guess is possible.
    """
    if modality != "auto":
        modality_of(modality)  # a word that is not known is a slip of the user's
    ignore = tuple(ignore)
    for name in ignore:
        records[name]  # a name that is not there is a slip of the user's
    offered = records.without(ignore)
    if modality == "auto":
        found = guess(offered)
        inputs, notes, modality = found.inputs, list(found.notes), found.kind
    elif PARTS in modality_settings(kinds()[modality][0]):
        # A user who asks for a mixture means every field; `parts` says it exactly.
        parts = (settings or {}).get(PARTS)
        inputs, notes = (offered, []) if parts else without_labels(offered)
    else:
        inputs, notes = choose_inputs(offered)
    kind, implied = kinds()[modality]
    chosen = {**implied, **(settings or {})}
    known = modality_settings(kind)
    if PARTS in known and not chosen.get(PARTS):
        chosen[PARTS] = parts_of(inputs)
    for key in chosen:
        if key not in known:
            raise ConfigError(
                f"Modality {kind!r} has no setting {key!r}.{did_you_mean(key, known)}"
            )
    if len(inputs) < 2:
        raise DataError(
            f"{records.source} must hold at least 2 samples to learn from; got n_samples = "
            f"{len(inputs)}. Thousands would be better."
        )
    spec, more = MODALITIES.get(kind).infer(inputs, np.random.default_rng(seed), **chosen)
    left_out = tuple(name for name in records if name not in spec.columns)
    return Schema(spec, left_out, (*notes, *more))


def parts_of(records: Records) -> list[dict[str, Any]]:
    """Return the setting `parts` of a mixture of all fields."""
    parts = []
    for name, word, columns in split_fields(records):
        kind, implied = kinds()[word]
        settings = {**implied, "min_columns": 1} if modality_of(word).columnwise else implied
        parts.append({"name": name, "kind": kind, "columns": columns, "settings": settings})
    return parts
