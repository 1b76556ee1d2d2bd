"""Find samples, and places in them, that are unlike the normal ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae import artifact
from metamae.atomic import write_atomically
from metamae.checks import check_at_least, check_between
from metamae.columns import Index
from metamae.detection import DETECTORS
from metamae.detection.base import Detector
from metamae.errors import ConfigError, DataError
from metamae.pretrained import Pretrained, load, read_sound
from metamae.records import Records
from metamae.registry import did_you_mean
from metamae.scoring.split import train_test
from metamae.scoring.task import Task
from metamae.verbs.outputs import check_out
from metamae.verbs.spotting import Finding, Normal, find, find_raw, heat_of, judged
from metamae.verbs.vector_files import sample_names
from metamae.version import VERSION

HELD_SHARE = 0.3  # of the normal samples, for the threshold


@dataclass(frozen=True)
class Detected:
    """What was found in a data set.

    Attributes:
        source: The data set.
        names: Of its samples.
        findings: Detector or variant -> what it says.
        baselines: Baseline on raw features -> what it says.
        unusual: Whether each sample is labelled as not normal, (S,); None without labels.
        num_fitted: Normal samples that were learnt from.
        seed: Of every draw.
        notes: What a reader should know.
    """

    source: str
    names: list[Any]
    findings: Mapping[str, Finding]
    baselines: Mapping[str, Finding]
    unusual: NDArray[np.bool_] | None
    num_fitted: int
    seed: int
    notes: tuple[str, ...] = ()
    _run: tuple[Pretrained, Records] | None = field(default=None, repr=False)

    @property
    def all(self) -> dict[str, Finding]:
        """Detectors first, then baselines."""
        return {**self.findings, **self.baselines}

    def strangest(self, most: int = 10, by: str | None = None) -> Index:
        """Positions of the strangest samples, by the first detector or another one."""
        scores = self.all[by or next(iter(self.findings))].samples
        return np.argsort(-scores, kind="stable")[:most]

    def heat(self, samples: Sequence[int], by: str | None = None) -> tuple[Any, Any]:
        """Lay the strangeness of tokens out over the values of a few samples.

        Args:
            samples: Positions, few enough for one batch; none that is cut into windows.
            by: Detector; the first if not given.

        Returns:
            The samples in the user's units and the strangeness of each value, in the form of
            `Reconstructed.original` and `Reconstructed.hidden`.

        Raises:
            ConfigError: If samples are cut into windows.
        """
        assert self._run is not None
        pretrained, records = self._run
        return heat_of(pretrained, records, samples, self.findings[by or next(iter(self.findings))])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, without the scores."""
        return {
            "version": VERSION,
            "data": self.source,
            "samples": len(self.names),
            "unusual": None if self.unusual is None else int(self.unusual.sum()),
            "fitted": self.num_fitted,
            "seed": self.seed,
            "notes": list(self.notes),
            "detectors": {name: _summary(found) for name, found in self.findings.items()},
            "baselines": {name: _summary(found) for name, found in self.baselines.items()},
        }


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
        overwrite: Whether a file that is there may be replaced.
        device: Where to compute.

    Raises:
        ConfigError: If a name or a setting is refused, or a detector cannot use this run.
        DataError: If data do not fit the run, or the labels do not say what is normal.
        ArtifactError: If the run cannot be loaded, or the file cannot be written.
    """
    check_between("Detect.false_alarms", false_alarms, 0, 1)
    check_at_least("Detect.seed", seed, 0)
    path = None if out is None else check_out(Path(out), (".parquet", ".csv"), overwrite, "Detect")
    pretrained = run if isinstance(run, Pretrained) else load(run, device=device)
    detectors = _detectors(by, pretrained)
    records = read_sound(pretrained, data, skip_bad, settings)
    unusual, known = _unusual(pretrained, records, label, normal_value)
    source = pretrained.config.data["source"] if normal is None else normal
    usual = _usual(pretrained, source, normal is None, skip_bad, settings)
    notes = _notes(pretrained, records, usual, assumed=normal is None)
    inputs = pretrained.records(records)
    taken = Normal(pretrained.records(usual), *_split(usual, group, seed))
    findings = find(pretrained, detectors, inputs, taken, false_alarms, seed)
    baselines = find_raw(pretrained, inputs, taken, false_alarms, seed)
    if unusual is not None:
        groups = None if group is None else _column(records, group)[known]
        findings = judged(findings, unusual, known, groups, seed)
        baselines = judged(baselines, unusual, known, groups, seed)
    first = next(iter(findings.values())).alarm
    if not first.kept:
        notes.append(
            f"no threshold can promise a false-alarm rate of {false_alarms:g} from "
            f"{first.num_normal} normal samples, so nothing is reported: it takes "
            f"{int(np.ceil(1 / false_alarms)) - 1}, or --false-alarms "
            f"{1 / (first.num_normal + 1):.2g}"
        )
    found = Detected(
        source=records.source,
        names=sample_names(records),
        findings=findings,
        baselines=baselines,
        unusual=unusual,
        num_fitted=len(taken.fitted),
        seed=seed,
        notes=tuple(notes),
        _run=(pretrained, inputs),
    )
    if path is not None:
        write_atomically(path, lambda temporary: _write(temporary, path.suffix.lower(), found))
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


def _unusual(
    pretrained: Pretrained, records: Records, label: str | None, normal_value: str | None
) -> tuple[NDArray[np.bool_] | None, Index]:
    """Which samples are labelled as not normal, and which have a label at all."""
    every = np.arange(len(records))
    if label is None:
        return None, every
    if label in pretrained.schema.modality.columns:
        raise DataError(
            f"Label {label!r} must not have been an input of the encoder; it was, so every score "
            f"would be too good. Pretrain again with --ignore {label}."
        )
    values = _column(records, label)
    there = np.array([v is not None and v == v and v != "" for v in values.tolist()])
    texts = np.array([_text(v) for v in values.tolist()])
    found = sorted(set(texts[there]))
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
    return texts != normal_value, every[there]


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
    mark = artifact.fingerprint(pretrained.records(usual), spec)
    if mark == artifact.fingerprint(pretrained.records(records), spec):
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


def _summary(found: Finding) -> dict[str, Any]:
    summary: dict[str, Any] = {
        "threshold": found.alarm.threshold if found.alarm.kept else None,
        "false_alarms": found.alarm.false_alarms,
        "normal_samples": found.alarm.num_normal,
        "raised": int(found.raised.sum()),
    }
    if found.told is not None:
        summary |= {
            "auroc": found.told.auroc,
            "auroc_interval": list(found.told.auroc_interval),
            "aupr": found.told.aupr,
            "aupr_interval": list(found.told.aupr_interval),
        }
    return summary


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
