"""Find samples, and places in them, that are unlike the normal ones."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.atomic import write_atomically
from metamae.core.checks import check_at_least, check_between
from metamae.core.registry import did_you_mean
from metamae.data.columns.base import Index
from metamae.data.records import Records, sample_names
from metamae.encoder.pretrained import Pretrained, load, read_sound
from metamae.errors import ConfigError, DataError
from metamae.evaluation.scoring.split import train_test
from metamae.evaluation.scoring.task import Task
from metamae.run.folder import fingerprint
from metamae.uses.detect.detectors import DETECTORS
from metamae.uses.detect.detectors.base import Detector
from metamae.uses.detect.page import write_strange_page
from metamae.uses.detect.result import Detected
from metamae.uses.detect.scores import Normal, find, find_raw, judged
from metamae.uses.detect.threshold import Alarm
from metamae.uses.outputs import PAGE_KINDS, check_out

HELD_SHARE = 0.3  # of the normal samples, for the threshold
STRANGEST = 12  # samples on a page


def detect(  # noqa: PLR0913  # one argument per choice of the user
    run: str | Path | Pretrained,
    data: Any,
    out: str | Path | None = None,
    *,
    normal: Any = None,
    by: Sequence[str] = ("all",),
    label: str | None = None,
    normal_value: str | None = None,
    group: str | None = None,
    false_alarms: float = 0.01,
    seed: int = 0,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    page: str | Path | None = None,
    strangest: int | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Detected:
    """Score how unlike the normal samples others are, as a whole and token by token.

    A detector learns from 70 % of the normal samples; its threshold is taken from the others.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Samples to score.
        out: File to write: .parquet holds a row per sample with scores, alarms, and the scores of
            its tokens as lists (null where there is no token); .csv the same without the lists.
        normal: Normal samples; the training data of the run, if not given.
        by: Registered detectors, or "all".
        label: Field that says which samples are normal: scores are then measured.
        normal_value: Value of the label that means normal; 0 or False if not given.
        group: Field that says which samples belong together; no group of normal samples is both
            learnt from and used for the threshold, and intervals resample whole groups.
        false_alarms: Share of normal samples that may be reported.
        seed: Of every draw.
        skip_bad: How many bad samples of each data set may be left out.
        settings: Settings of the reader by name, in place of those of the run.
        page: File to write, .html: one page that opens offline, with the table, the scores and
            the strangest samples with the strangeness of their places as colours.
        strangest: Samples on the page, 12 if not given: so many of the strangest by the first
            detector.
        overwrite: Whether a file that is there may be replaced.
        device: Where to compute.

    Raises:
        ConfigError: If a name or a setting is refused, or a detector cannot use this run.
        DataError: If data do not fit the run, or the labels do not say what is normal.
        ArtifactError: If the run cannot be loaded, or the file cannot be written.
    """
    check_between("Detect.false_alarms", false_alarms, 0, 1)
    check_at_least("Detect.seed", seed, 0)
    if strangest is not None and page is None:
        raise ConfigError(
            f"Detect.strangest must come with a page that shows them; got {strangest} and no page. "
            f"--page strange.html would do."
        )
    shown = check_at_least("Detect.strangest", STRANGEST if strangest is None else strangest, 1)
    path = None if out is None else check_out(Path(out), (".parquet", ".csv"), overwrite, "Detect")
    page = None if page is None else check_out(Path(page), PAGE_KINDS, overwrite, "Detect", "page")
    pretrained = run if isinstance(run, Pretrained) else load(run, device=device)
    detectors = _detectors(by, pretrained)
    records = read_sound(pretrained, data, skip_bad, settings)
    labels = [] if label is None else _labels(pretrained, records, label)
    unusual = None if label is None else _unusual(records, label, labels, normal_value)
    source = pretrained.config.data["source"] if normal is None else normal
    usual = _usual(pretrained, source, normal is None, skip_bad, settings)
    notes = _notes(pretrained, records, usual, assumed=normal is None)
    inputs = pretrained.records(records)
    taken = Normal(pretrained.records(usual), *_split(usual, group, seed))
    findings = find(pretrained, detectors, inputs, taken, false_alarms, seed)
    baselines = find_raw(pretrained, inputs, taken, false_alarms, seed)
    if unusual is not None:
        known = np.flatnonzero([value is not None for value in labels])
        groups = None if group is None else _column(records, group)[known]
        findings = judged(findings, unusual, known, groups, seed)
        baselines = judged(baselines, unusual, known, groups, seed)
    notes += _without_threshold(next(iter(findings.values())).alarm)
    found = Detected(
        source=records.source,
        names=sample_names(records),
        findings=findings,
        baselines=baselines,
        unusual=unusual,
        normal=usual.source,
        num_fitted=len(taken.fitted),
        seed=seed,
        notes=tuple(notes),
        label=label,
        labels=tuple(labels),
        _run=(pretrained, inputs),
    )
    if path is not None:
        write_atomically(path, lambda temporary: _write(temporary, path.suffix.lower(), found))
    if page is not None:
        write_strange_page(page, found, shown)
    return found


def _detectors(by: Sequence[str], pretrained: Pretrained) -> list[Detector]:
    every = "all" in by
    found: list[Detector] = []
    for name in DETECTORS.entries if every else dict.fromkeys(by):
        detector: Detector = DETECTORS.build(name)
        try:
            detector.check(pretrained)
        except ConfigError:
            if not every:
                raise
            continue
        found.append(detector)
    if not found:
        raise ConfigError(
            f"Detect.by must name a detector; got none.{did_you_mean('', DETECTORS.entries)}"
        )
    return found


def _usual(
    pretrained: Pretrained,
    source: Any,
    assumed: bool,
    skip_bad: int,
    settings: Mapping[str, Any] | None,
) -> Records:
    try:
        return read_sound(pretrained, source, skip_bad, settings)
    except DataError as error:
        if not assumed:
            raise
        raise DataError(
            f"The normal samples must be given, since the run's training data cannot be read: "
            f"{error} --normal FILE would do."
        ) from error


def _column(records: Records, name: str) -> NDArray[Any]:
    return np.asarray(records[name][np.arange(len(records))])


def _labels(pretrained: Pretrained, records: Records, label: str) -> list[str | None]:
    """What the label says of each sample; None where it says nothing."""
    if label in pretrained.schema.modality.columns:
        raise DataError(
            f"Label {label!r} must not have been an input of the encoder; it was, so every score "
            f"would be too good. Pretrain again with --ignore {label}."
        )
    values = _column(records, label).tolist()
    return [None if v is None or v != v or v == "" else _text(v) for v in values]


def _unusual(
    records: Records, label: str, labels: Sequence[str | None], normal_value: str | None
) -> NDArray[np.bool_]:
    """Which samples are labelled as not normal, (S,)."""
    found = sorted({text for text in labels if text is not None})
    if normal_value is None and set(found) <= {"0", "1"}:
        normal_value = "0"
    if normal_value is None or normal_value not in found:
        raise DataError(
            f"{records.source}: label {label!r} must say which samples are normal, by 0 and 1 or "
            f"by --normal-value; got the values {', '.join(found[:5])} and "
            f"{'no --normal-value' if normal_value is None else repr(normal_value)}. "
            f"--normal-value {found[0] if found else 0} would do."
        )
    if len(found) < 2:
        raise DataError(
            f"{records.source}: label {label!r} must hold samples that are normal and others; got "
            f"only {found[0]!r}. Leave --label out."
        )
    return np.array([text is not None and text != normal_value for text in labels])


def _text(value: Any) -> str:
    if isinstance(value, bool | float) and value == value and float(value).is_integer():
        return str(int(value))
    return str(value)


def _split(usual: Records, group: str | None, seed: int) -> tuple[Index, Index]:
    """Normal samples to learn from, and those that the threshold is taken from."""
    if len(usual) < 4:
        raise DataError(
            f"{usual.source}: there must be at least 4 normal samples; got {len(usual)}."
        )
    groups = None if group is None else _column(usual, group)
    anything = Task("regression", (), "normal")
    return train_test(
        np.zeros(len(usual)),
        anything,
        test_share=HELD_SHARE,
        groups=groups,
        rng=np.random.default_rng([seed, 1]),
    )


def _notes(pretrained: Pretrained, records: Records, usual: Records, *, assumed: bool) -> list[str]:
    spec = pretrained.schema.modality
    notes = []
    if assumed:
        notes.append(f"all training data of the run ({usual.source}) were taken to be normal")
    mark = fingerprint(pretrained.records(usual), spec)
    if mark == fingerprint(pretrained.records(records), spec):
        notes.append(
            "the samples that were scored are those that were taken to be normal: most were "
            "learnt from, so their scores are too low"
        )
    elif mark == pretrained.config.data.get("fingerprint"):
        notes.append(
            "the encoder learnt from the normal samples that the threshold was taken from, so new "
            "ones may raise more false alarms; normal samples that it has not seen (--normal) "
            "keep the promise"
        )
    if not pretrained.finished:
        notes.append("the run was interrupted before its budget was used")
    return notes


def _without_threshold(alarm: Alarm) -> list[str]:
    if alarm.kept:
        return []
    return [
        f"no threshold can promise a false-alarm rate of {alarm.false_alarms:g} from "
        f"{alarm.num_normal} normal samples, so nothing is reported: it takes "
        f"{int(np.ceil(1 / alarm.false_alarms)) - 1}, or --false-alarms "
        f"{1 / (alarm.num_normal + 1):.2g}"
    ]


def _write(path: Path, kind: str, found: Detected) -> None:
    import pyarrow as pa

    columns: dict[str, Any] = {"sample": found.names}
    for name, one in found.all.items():
        columns[name] = one.samples
        columns[f"{name}_alarm"] = one.raised
    if kind == ".csv":
        from pyarrow import csv

        csv.write_csv(pa.table(columns), path)
        return
    import pyarrow.parquet as pq

    for name, one in found.findings.items():
        columns[f"{name}_tokens"] = pa.array(one.tokens, pa.list_(pa.float32()), from_pandas=True)
    pq.write_table(pa.table(columns), path)
