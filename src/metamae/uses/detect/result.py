"""What `detect` found, and the table of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.version import VERSION
from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.uses.detect.scores import Finding, heat_of


@dataclass(frozen=True)
class Detected:
    """What was found in a data set.

    Attributes:
        source: The data set.
        names: Of its samples.
        findings: Detector or variant -> what it says.
        baselines: Baseline on raw features -> what it says.
        unusual: Whether each sample is labelled as not normal, (S,); None without labels.
        normal: The data set of the normal samples.
        num_fitted: Normal samples that were learnt from.
        seed: Of every draw.
        notes: What a reader should know.
        label: Field of the labels; None without labels.
        labels: What it says of each sample as text, None where it says nothing; empty without.
    """

    source: str
    names: list[Any]
    findings: Mapping[str, Finding]
    baselines: Mapping[str, Finding]
    unusual: NDArray[np.bool_] | None
    normal: str
    num_fitted: int
    seed: int
    notes: tuple[str, ...] = ()
    label: str | None = None
    labels: Sequence[str | None] = ()
    _run: tuple[Pretrained, Records] | None = field(default=None, repr=False)

    @property
    def all(self) -> dict[str, Finding]:
        """Detectors first, then baselines."""
        return {**self.findings, **self.baselines}

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Whether each sample has a label, (S,)."""
        if not self.labels:
            return np.zeros(len(self.names), dtype=bool)
        return np.array([label is not None for label in self.labels])

    @property
    def run(self) -> tuple[Pretrained, Records]:
        """The run, and the samples as it reads them."""
        assert self._run is not None
        return self._run

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
        pretrained, records = self.run
        return heat_of(pretrained, records, samples, self.findings[by or next(iter(self.findings))])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, without the scores."""
        return {
            "version": VERSION,
            "data": self.source,
            "samples": len(self.names),
            "normal": self.normal,
            "unusual": None if self.unusual is None else int(self.unusual.sum()),
            "fitted": self.num_fitted,
            "seed": self.seed,
            "notes": list(self.notes),
            "detectors": {name: _summary(found) for name, found in self.findings.items()},
            "baselines": {name: _summary(found) for name, found in self.baselines.items()},
        }


def table_of(found: Detected) -> tuple[list[str], list[list[str]]]:
    """Return a header, and a row for each detector and baseline."""
    header = ["detector", "threshold", "alarms"]
    if found.unusual is not None:
        header += ["AUROC (95 % interval)", "AUPR (95 % interval)"]
    rows = []
    for name, one in found.all.items():
        threshold = f"{one.alarm.threshold:.4g}" if one.alarm.kept else "none"
        row = [name, threshold, _alarms(found, one)]
        if one.told is not None:
            told = one.told
            for score, (low, high) in (
                (told.auroc, told.auroc_interval),
                (told.aupr, told.aupr_interval),
            ):
                row.append(f"{score:.3f}  ({low:.3f} to {high:.3f})")
        rows.append(row)
    return header, rows


def _alarms(found: Detected, one: Finding) -> str:
    """How many samples are reported, and how many of these the labels call normal."""
    raised = one.raised
    if found.unusual is None:
        return str(int(raised.sum()))
    normal = found.is_labelled & ~found.unusual
    return f"{int(raised.sum())}, {int((raised & normal).sum())} of {int(normal.sum())} normal"


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
