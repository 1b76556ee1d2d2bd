"""What the fields of a data set are likely to be: which of them are input, and of what kind.

Nothing here is certain, so every guess comes with a note that says how to override it.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from metamae.data.records import Records
from metamae.modalities import MODALITIES
from metamae.modalities.base import Look, Sure
from metamae.schema.kinds import modality_of

# Fields that hold labels or groups by convention: never input unless asked for.
LABELS = ("y", "label", "labels", "target", "group", "groups")


RATE = "rate"
"""Field that gives each recording's sampling rate."""


@dataclass(frozen=True)
class Guess:
    """What the samples are taken for.

    Attributes:
        kind: A word of `kinds()`.
        inputs: The records with the input fields only.
        notes: What was assumed, one sentence each.
    """

    kind: str
    inputs: Records
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Seen:
    """What one field is taken for.

    Attributes:
        word: A word of `kinds()`.
        sure: How sure its modality is.
        remark: Whether it may be a remark in a table.
    """

    word: str
    sure: Sure
    remark: bool

    @property
    def is_content(self) -> bool:
        """Whether it can be learnt from alone, and is no single value beside others."""
        return self.sure > Sure.FALLBACK


def guess(records: Records) -> Guess:
    """Guess which fields are input and what they are, from names, types and shapes."""
    inputs, notes = choose_inputs(records)
    names = [name for name in inputs if name != RATE or len(inputs.columns) == 1]
    seen = look(inputs, names)
    if len(names) == 1:
        kind = seen[names[0]].word
    elif any(one.is_content for one in seen.values()) and not _is_table(seen.values()):
        kind = "mixture"
    else:
        kind = "table"
    modality = modality_of(kind)
    if kind not in modality.timed:
        inputs = inputs.only(names)
    notes.append(f"taken as {kind} (override: --modality){modality.doubt(inputs)}")
    return Guess(kind, inputs, tuple(notes))


def choose_inputs(records: Records) -> tuple[Records, list[str]]:
    """Leave out what is no input by convention; say what and how to override it."""
    names = list(records)
    if len(names) == 1:
        return records, []
    unlabelled = [name for name in names if name.lower() not in LABELS]
    seen = look(records, unlabelled)
    contents = [name for name, one in seen.items() if one.is_content]
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
    """Divide the fields of a mixture into parts: name, kind (a word of `kinds()`), columns.

    Arrays and texts are parts of their own; all single values together are a table.
    """
    seen = look(records, list(records))
    parts = [(name, one.word, [name]) for name, one in seen.items() if one.is_content]
    scalars = [name for name, one in seen.items() if not one.is_content]
    return [*parts, ("table", "table", scalars)] if scalars else parts


def without_labels(records: Records) -> tuple[Records, list[str]]:
    """Leave out the fields that hold labels by convention; say which."""
    suspects = [name for name in records if name.lower() in LABELS]
    if not suspects or len(suspects) == len(records.columns):
        return records, []
    return records.without(suspects), [f"left out as labels: {', '.join(suspects)}"]


def look(records: Records, names: Sequence[str]) -> dict[str, Seen]:
    """Ask every modality what it makes of some fields; the surest is believed."""
    # Looked up once: a table may have thousands of columns.
    modalities = [MODALITIES.get(registered) for registered in MODALITIES.entries]
    seen = {}
    for name in names:
        field = Look(name, records[name])
        offers = [
            (found, modality)
            for modality in modalities
            if (found := modality.recognises(field)) is not None
        ]
        (sure, word), modality = max(offers, key=lambda offer: offer[0][0])
        seen[name] = Seen(word, sure, modality.remarks)
    return seen


def _is_table(seen: Collection[Seen]) -> bool:
    """Whether single values and texts stand beside each other, as in a table with remarks."""
    scalars = sum(not one.is_content for one in seen)
    return scalars >= 2 and all(one.remark or not one.is_content for one in seen)
