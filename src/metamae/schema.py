"""From the columns of a data set to the modality of its samples."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.modalities import MODALITIES
from metamae.modalities.base import Modality
from metamae.records import Records
from metamae.registry import did_you_mean

FORMAT = 1
"""Version of the JSON form; raised when an old reader could no longer understand it."""

# What a user may call a modality -> registered name and the settings that this implies.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "series": ("grid", {"axes": 1}),
    "image": ("grid", {"axes": 2}),
    "volume": ("grid", {"axes": 3}),
    "grid": ("grid", {}),
    "symbols": ("symbols", {}),
    "text": ("symbols", {}),
    "table": ("table", {}),
}

LOOK_AT = 1024  # samples that a guess is taken from

# Fields that hold labels or groups by convention: never input unless asked for.
LABELS = ("y", "label", "labels", "target", "group", "groups")


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
        modality: A key of `KINDS`, or "auto" to guess.
        ignore: Fields that are no input, e.g. labels.
        settings: The user's choices for the modality.
        seed: Of the subsample that statistics are taken from.

    Raises:
        ConfigError: If a name or a setting is unknown.
        DataError: If the data are not of that modality, or no guess is possible.
    """
    if modality != "auto" and modality not in KINDS:
        raise ConfigError(f"Unknown modality {modality!r}.{did_you_mean(modality, KINDS)}")
    ignore = tuple(ignore)
    for name in ignore:
        records[name]  # a name that is not there is a slip of the user's
    inputs, notes = _inputs(records.without(ignore))
    kind, implied = KINDS[_guess_kind(inputs) if modality == "auto" else modality]
    if modality == "auto":
        notes.append(f"taken as {kind} (override: --modality){_doubt(inputs, kind)}")
    chosen = {**implied, **(settings or {})}
    known = modality_settings(kind)
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


def modality_settings(kind: str) -> dict[str, Any]:
    """Return the settings of a registered modality and their defaults."""
    defaults = MODALITIES.get(kind).infer.__func__.__kwdefaults__
    return dict(defaults or {})


def _inputs(records: Records) -> tuple[Records, list[str]]:
    """Leave out what is no input by convention."""
    names = list(records)
    if len(names) == 1:
        return records, []
    arrays = [name for name in names if len(records[name].shape) > 1 and name.lower() not in LABELS]
    if "X" in arrays or len(arrays) == 1:
        chosen = "X" if "X" in arrays else arrays[0]
        others = [name for name in names if name != chosen]
        return records.only([chosen]), [f"input is field {chosen!r}; left out: {', '.join(others)}"]
    if arrays:
        raise DataError(
            f"{records.source} must have one input field; got {', '.join(arrays)}. Choose one with "
            f"--field."
        )
    suspects = [name for name in names if name.lower() in LABELS]
    if suspects and len(suspects) < len(names):
        note = f"left out as labels: {', '.join(suspects)} (override: --field)"
        return records.without(suspects), [note]
    return records, []


def _guess_kind(records: Records) -> str:
    names = list(records)
    if len(names) > 1:
        return "table"
    column = records[names[0]]
    if len(column.shape) > 2:
        return "grid"
    if column.dtype.kind == "U" or (column.dtype == object and len(column.shape) == 1):
        return "symbols"
    return "table"


def _doubt(records: Records, kind: str) -> str:
    """Say what an array of numbers (S, F) may be instead of a table, where it looks like it."""
    names = list(records)
    if kind != "table" or len(names) > 1 or len(records[names[0]].shape) != 2:
        return ""
    block = np.asarray(records[names[0]][np.arange(min(len(records), LOOK_AT))])
    if block.shape[1] < 16 or block.dtype.kind not in "iuf":
        return ""
    if block.dtype.kind in "iu" and len(np.unique(block)) <= 32:
        return "; few different whole numbers: if they are codes, --modality symbols"
    there = np.isfinite(block)
    values = np.where(there, block, 0.0).astype(np.float64)
    mean = values.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, values - mean, 0.0)
    left, right = centred[:, :-1], centred[:, 1:]
    sizes = np.sqrt((left**2).sum(axis=0) * (right**2).sum(axis=0))
    alike = np.divide((left * right).sum(axis=0), sizes, out=np.zeros_like(sizes), where=sizes > 0)
    if np.median(alike) > 0.9:
        return "; neighbouring columns are alike: if they are points of a curve, --modality series"
    return ""
