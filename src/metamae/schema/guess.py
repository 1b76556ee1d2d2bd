"""What the fields of a data set are likely to be: which of them are input, and of what kind.

Nothing here is certain, so every guess comes with a note that says how to override it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metamae.data.columns.base import Array, Column
from metamae.data.records import Records

LOOK_AT = 1024  # samples that a guess is taken from

# Fields that hold labels or groups by convention: never input unless asked for.
LABELS = ("y", "label", "labels", "target", "group", "groups")

# Fields that readers name after their content.
NAMED = ("audio", "image", "video", "volume", "points")
# Fields of strings whose name says that they are content, and no name or category.
TEXTS = ("text", "caption", "sentence", "description", "sequence", "smiles", "peptide", "dna")

RATE = "rate"
"""Field that gives each recording's sampling rate."""


@dataclass(frozen=True)
class Guess:
    """What the samples are taken for.

    Attributes:
        kind: A word of `schema.KINDS`.
        inputs: The records with the input fields only.
        notes: What was assumed, one sentence each.
    """

    kind: str
    inputs: Records
    notes: tuple[str, ...]


def guess(records: Records) -> Guess:
    """Guess which fields are input and what they are, from names, types and shapes."""
    inputs, notes = choose_inputs(records)
    names = [name for name in inputs if name != RATE or len(inputs.columns) == 1]
    forms = {name: form_of(name, inputs) for name in names}
    if len(names) == 1:
        kind = forms[names[0]]
        if kind == "scalar":
            kind = "symbols" if inputs[names[0]].dtype.kind in "OU" else "table"
    elif any(form != "scalar" for form in forms.values()) and not _is_table(forms):
        kind = "mixture"
    else:
        kind = "table"
    if kind not in ("series", "audio"):
        inputs = inputs.only(names)
    notes.append(f"taken as {kind} (override: --modality){_doubt(inputs, kind)}")
    return Guess(kind, inputs, tuple(notes))


def choose_inputs(records: Records) -> tuple[Records, list[str]]:
    """Leave out what is no input by convention; say what and how to override it."""
    names = list(records)
    if len(names) == 1:
        return records, []
    unlabelled = [name for name in names if name.lower() not in LABELS]
    contents = [name for name in unlabelled if _is_content(name, records)]
    arrays = [name for name in contents if records[name].dtype.kind not in "OU"]
    scalars = [name for name in unlabelled if name not in contents]
    if "X" in arrays:
        contents = ["X"]
    elif not arrays and len(contents) == 1 and len(scalars) >= 2 and RATE not in scalars:
        # A table with a column of texts: the table is the safer guess.
        contents = []
    if contents:
        rate = [RATE] if RATE in scalars and len(contents) == 1 else []
        others = [name for name in names if name not in (*contents, *rate)]
        what = "field" if len(contents) == 1 else "fields"
        chosen = ", ".join(repr(name) for name in contents)
        note = f"input is {what} {chosen}"
        if others:
            note += f"; left out: {', '.join(others)}"
        return records.only([*contents, *rate]), [f"{note} (override: --field, --schema)"]
    if unlabelled and len(unlabelled) < len(names):
        suspects = ", ".join(name for name in names if name not in unlabelled)
        return records.only(unlabelled), [f"left out as labels: {suspects} (override: --field)"]
    return records, []


def split_fields(records: Records) -> list[tuple[str, str, list[str]]]:
    """Divide the fields of a mixture into parts: name, kind (a word of `schema.KINDS`), columns.

    Arrays and texts are parts of their own; all single values together are a table.
    """
    forms = {name: form_of(name, records) for name in records}
    parts = [(name, form, [name]) for name, form in forms.items() if form != "scalar"]
    scalars = [name for name, form in forms.items() if form == "scalar"]
    return [*parts, ("table", "table", scalars)] if scalars else parts


def without_labels(records: Records) -> tuple[Records, list[str]]:
    """Leave out the fields that hold labels by convention; say which."""
    suspects = [name for name in records if name.lower() in LABELS]
    if not suspects or len(suspects) == len(records.columns):
        return records, []
    return records.without(suspects), [f"left out as labels: {', '.join(suspects)}"]


def form_of(name: str, records: Records) -> str:
    """Say what one field looks like: a word of `schema.KINDS`, or "scalar"."""
    column = records[name]
    if name in NAMED:
        return name
    if len(column.shape) > 2:
        return "grid"
    if len(column.shape) == 2:
        return "table"
    if column.dtype.kind not in "OU":
        return "scalar"
    values = _some(column)
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    if arrays:
        return _form_of_arrays(arrays)
    return "symbols" if _is_text(name, values) else "scalar"


def _form_of_arrays(arrays: Sequence[Array]) -> str:
    """Of arrays of different lengths: whole numbers in one row are codes, others lattices."""
    axes = max(array.ndim for array in arrays)
    if axes == 1 and all(array.dtype.kind in "iu" for array in arrays):
        return "symbols"
    return {1: "series", 2: "series", 3: "image"}.get(axes, "volume")


def _is_content(name: str, records: Records) -> bool:
    return form_of(name, records) != "scalar"


def _is_text(name: str, values: Sequence[Any]) -> bool:
    texts = [value for value in values if isinstance(value, str)]
    if len(set(texts)) <= max(2, 0.5 * len(texts)):
        return False
    return name.lower() in TEXTS or sum(" " in text.strip() for text in texts) > 0.5 * len(texts)


def _is_table(forms: dict[str, str]) -> bool:
    """Whether single values and texts stand beside each other, as in a table with remarks."""
    scalars = sum(form == "scalar" for form in forms.values())
    return scalars >= 2 and all(form in ("scalar", "symbols") for form in forms.values())


def _some(column: Column) -> list[Any]:
    return list(column[np.arange(min(len(column), LOOK_AT))])


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
