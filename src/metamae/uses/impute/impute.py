"""Fill what is missing in samples, and say how far off that is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from metamae.core.atomic import write_atomically
from metamae.core.checks import check_at_least, check_one_of
from metamae.core.version import VERSION
from metamae.data.columns.base import Array
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained, load, read_sound
from metamae.run.folder import fingerprint
from metamae.uses.impute.checking import Error, check
from metamae.uses.impute.filling import fill
from metamae.uses.impute.holes import PATTERNS
from metamae.uses.impute.writing import KINDS, write_filled
from metamae.uses.outputs import check_out

GUESSES = ("mean", "interpolation", "knn", "iterative")
WHOLE = ("all numbers", "all words")


@dataclass(frozen=True)
class Imputed:
    """Samples with their gaps filled, and how well known values were filled.

    Attributes:
        source: The data set.
        columns: Each column that had gaps, with all of its values, (S, ...).
        counts: Values filled in each.
        left: Values, or fields, that were not filled, by the reason.
        errors: What the check measured; none without one.
        seed: Of the check.
        notes: What a reader should know.
    """

    source: str
    columns: Mapping[str, Array]
    counts: Mapping[str, int]
    left: Mapping[str, int]
    errors: tuple[Error, ...] = ()
    seed: int = 0
    notes: tuple[str, ...] = ()

    @property
    def verdicts(self) -> list[str]:
        """Whether the method fills better than the best simple guess, a sentence for each."""
        whole = [(e.pattern, e.column) for e in self.errors if e.column.endswith(WHOLE)]
        return [verdict(self.errors, *one) for one in dict.fromkeys(whole)]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, without the samples."""
        return {
            "version": VERSION,
            "data": self.source,
            "filled": dict(self.counts),
            "left": dict(self.left),
            "seed": self.seed,
            "verdicts": self.verdicts,
            "notes": list(self.notes),
            "errors": [
                {k: None if v != v else v for k, v in asdict(error).items()}
                for error in self.errors
            ],
        }


def impute(
    run: str | Path | Pretrained,
    data: Any,
    out: str | Path | None = None,
    *,
    blank: str | None = None,
    patterns: Sequence[str] = (),
    seed: int = 0,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Imputed:
    """Fill missing cells, points, channels and letters, in the user's units.

    Missing is what is NaN, None or empty; in symbols, a letter that the training data did not
    hold, or the blank. Only that is changed. A field that a sample of a mixture lacks is filled
    where all samples have it in one size.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Samples, with gaps.
        out: File to write: .csv, .tsv, .parquet, .npy or .npz. In the form of the data all else
            stays as it is: of a text table the text of every other cell, of Parquet the types.
        blank: A letter or code that stands for an unknown one, such as "N".
        patterns: Known values to hide, fill and compare with simple guesses: "cells", "spans" and
            "columns".
        seed: Of that.
        skip_bad: How many bad samples may be left out.
        settings: Settings of the reader by name, in place of those of the run.
        overwrite: Whether a file that is there may be replaced.
        device: Where to compute.

    Raises:
        ConfigError: If the method or the modality cannot fill gaps, or a setting is refused.
        DataError: If the data do not fit the run.
        ArtifactError: If the run cannot be loaded, or the file cannot be written.
    """
    check_at_least("Impute.seed", seed, 0)
    for pattern in patterns:
        check_one_of("Impute.patterns", pattern, PATTERNS)
    path = None if out is None else check_out(Path(out), KINDS, overwrite, "Impute")
    pretrained = run if isinstance(run, Pretrained) else load(run, device=device)
    records = _read(pretrained, data, skip_bad, settings)
    inputs = pretrained.records(records)
    filled = fill(pretrained, inputs, blank=blank)
    errors: list[Error] = []
    notes = []
    if patterns:
        errors = check(pretrained, inputs, patterns=patterns, seed=seed)
        mark = fingerprint(inputs, pretrained.schema.modality)
        if mark == pretrained.config.data.get("fingerprint"):
            notes.append(
                "the encoder saw these samples whole during pretraining, so its errors are too "
                "small; samples that it has not seen would be stricter"
            )
    if not pretrained.finished:
        notes.append("the run was interrupted before its budget was used")
    columns = _by_user_names(records, inputs, filled.columns)
    found = Imputed(
        source=records.source,
        columns=columns,
        counts=_by_user_names(records, inputs, filled.counts),
        left=filled.left,
        errors=tuple(errors),
        seed=seed,
        notes=tuple(notes),
    )
    if path is not None:
        kind = path.suffix.lower()
        write_atomically(path, lambda place: write_filled(place, kind, data, records, columns))
    return found


def _read(
    pretrained: Pretrained, data: Any, skip_bad: int, settings: Mapping[str, Any] | None
) -> Records:
    """Read all fields. A sample without any value is no mistake here: it stays as it is."""
    if skip_bad:
        return read_sound(pretrained, data, skip_bad, settings)
    return pretrained.config.read(data, settings=settings)


def _by_user_names(records: Records, inputs: Records, found: Mapping[str, Any]) -> dict[str, Any]:
    """Call columns as the data do, where one field needs no name to be recognised."""
    if list(inputs) == list(records) or len(records.columns) > 1:
        return dict(found)
    return {next(iter(records)): value for value in found.values()}


def verdict(errors: Sequence[Error], pattern: str, column: str) -> str:
    """Say in a sentence whether the method fills better than the best simple guess.

    Args:
        errors: What the check measured; the first is of the method.
        pattern: What was hidden.
        column: "all numbers" or "all words", with the part of a mixture before it.
    """
    own = [e for e in errors if e.pattern == pattern and e.column == column]
    method = own[0].method
    scores = {e.method: _badness(e) for e in own if e.method in (method, *GUESSES)}
    best = min((name for name in scores if name != method), key=lambda name: scores[name])
    won = scores[method] < scores[best]
    return (
        f"{pattern}, {column}: {method} is {'better' if won else 'no better'} than the best simple "
        f"guess, {best} ({_shown(own, method)} against {_shown(own, best)})"
    )


def _badness(error: Error) -> float:
    return 1 - error.accuracy if math.isnan(error.normalised) else error.normalised


def _shown(errors: Sequence[Error], method: str) -> str:
    error = next(e for e in errors if e.method == method)
    if math.isnan(error.normalised):
        return f"{error.accuracy:.1%} right"
    return f"{error.normalised:.3f} standard deviations"
