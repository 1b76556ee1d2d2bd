"""Fit detectors and baselines on normal samples and score others: the work behind `detect`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.encoder.representations import raw_features
from metamae.errors import ConfigError
from metamae.model.tokens import Batch
from metamae.training.batches import to_device
from metamae.uses.detect.baselines import RawDetectors
from metamae.uses.detect.detectors.base import (
    Described,
    Detector,
    Floats,
    describe_tokens,
    places_of,
)
from metamae.uses.detect.threshold import Alarm, Told, judge_scores, threshold_at

MOST_LEARNT = 2**18  # tokens of normal samples that are described for a detector to learn from
AT_ONCE = 2**17  # tokens that are described at a time while scoring
RARE = 0.99  # quantile of normal tokens above which one is rare
Tokens = list[NDArray[np.float32]]


@dataclass(frozen=True)
class Finding:
    """What one detector, or baseline, says of all samples.

    Attributes:
        samples: Strangeness of each sample, (S,), higher for stranger.
        tokens: Of each of its tokens, NaN where there is none: S arrays (N,); none of a baseline.
        alarm: Above which score a sample is reported.
        usual: Median of the scores of the tokens of the normal samples that the threshold was
            taken from, and what one in a hundred of them exceeds; None of a baseline.
        told: How well the scores agree with the labels; None without labels.
    """

    samples: Floats
    tokens: Tokens
    alarm: Alarm
    usual: tuple[float, float] | None = None
    told: Told | None = None

    @property
    def raised(self) -> NDArray[np.bool_]:
        """Which samples are reported, (S,)."""
        return self.alarm.raised(self.samples)


@dataclass(frozen=True)
class Normal:
    """Samples that are taken to be normal.

    Attributes:
        records: All of them.
        fitted: Positions of those that are learnt from.
        held: Positions of those that thresholds are taken from.
    """

    records: Records
    fitted: Index
    held: Index


def find(
    pretrained: Pretrained,
    detectors: Sequence[Detector],
    records: Records,
    normal: Normal,
    false_alarms: float,
    seed: int,
) -> dict[str, Finding]:
    """Fit the detectors on normal samples and score others.

    Returns:
        Detector or variant -> what it says.
    """
    rng = np.random.default_rng([seed, 2])
    most = max(2, MOST_LEARNT // max(1, pretrained.schema.modality.num_tokens))
    fitted = normal.fitted
    if len(fitted) > most:
        fitted = np.sort(rng.choice(fitted, most, replace=False))
    scorer = _Scorer(pretrained, detectors, seed)
    for detector, described in scorer.describe(normal.records.subset(fitted)):
        detector.fit(described, seed)
    above, usual = scorer.score(normal.records.subset(normal.held))
    scores, parts = scorer.score(records)
    return {
        name: Finding(
            samples=scores[name],
            tokens=parts[name],
            alarm=threshold_at(above[name], false_alarms),
            usual=_quantiles(usual[name]),
        )
        for name in scores
    }


def _quantiles(tokens: Tokens) -> tuple[float, float]:
    every = np.concatenate(tokens)
    median, rare = np.nanquantile(every, (0.5, RARE)) if np.isfinite(every).any() else (0, 0)
    return float(median), float(rare)


class _Scorer:
    """Describes samples once for all detectors that look at the same of them."""

    def __init__(self, pretrained: Pretrained, detectors: Sequence[Detector], seed: int):
        self.pretrained, self.detectors, self.seed = pretrained, detectors, seed
        self.block = max(1, AT_ONCE // max(1, pretrained.schema.modality.num_tokens))

    def describe(self, records: Records) -> Iterator[tuple[Detector, Described]]:
        shared = None
        for detector in self.detectors:
            if type(detector).describe is not Detector.describe:
                yield detector, detector.describe(self.pretrained, records, self.seed)
                continue
            if shared is None:
                shared = describe_tokens(self.pretrained, records)
            yield detector, shared

    def score(self, records: Records) -> tuple[dict[str, Floats], dict[str, Tokens]]:
        samples: dict[str, list[Floats]] = {}
        tokens: dict[str, Tokens] = {}
        for start in range(0, len(records), self.block):
            block = records.subset(np.arange(start, min(start + self.block, len(records))))
            for detector, described in self.describe(block):
                for name, found in detector.score(described).items():
                    samples.setdefault(name, []).append(found.samples)
                    tokens.setdefault(name, []).extend(_laid_out(found.tokens, described))
        return {name: np.concatenate(parts) for name, parts in samples.items()}, tokens


def _laid_out(tokens: Floats, described: Described) -> Tokens:
    """Scores of the tokens of each sample by their positions, NaN where there is none."""
    rows = []
    for start, stop in zip(described.starts[:-1], described.starts[1:], strict=True):
        at = described.positions[start:stop]
        row = np.full(int(at.max(initial=-1)) + 1, np.nan, dtype=np.float32)
        row[at] = tokens[start:stop]
        rows.append(row)
    return rows


def find_raw(
    pretrained: Pretrained, records: Records, normal: Normal, false_alarms: float, seed: int
) -> dict[str, Finding]:
    """Do the same with the baselines on raw features."""
    spec = pretrained.schema.modality
    raw = RawDetectors(raw_features(spec, normal.records.subset(normal.fitted)), seed)
    above = raw.score(raw_features(spec, normal.records.subset(normal.held)))
    scores = raw.score(raw_features(spec, records))
    return {
        name: Finding(scores[name], [], threshold_at(above[name], false_alarms)) for name in scores
    }


def judged(
    findings: Mapping[str, Finding],
    unusual: NDArray[np.bool_],
    known: Index,
    groups: NDArray[Any] | None,
    seed: int,
) -> dict[str, Finding]:
    """Add what the labels say; the resamples follow from the seed alone.

    Args:
        findings: Detector or baseline -> what it says.
        unusual: Whether each sample is labelled as not normal, (S,).
        known: Positions of the samples that have a label.
        groups: Group of each of these; None if there are no groups.
        seed: Of the resamples.
    """
    systems = {name: found.samples[known] for name, found in findings.items()}
    rng = np.random.default_rng([seed, 3])
    told = judge_scores(unusual[known], systems, rng, groups=groups)
    return {name: replace(found, told=told[name]) for name, found in findings.items()}


def heat_of(
    pretrained: Pretrained, records: Records, samples: Sequence[int], found: Finding
) -> tuple[Any, Any]:
    """Lay the strangeness of tokens out over the values of a few samples."""
    spec = pretrained.schema.modality
    index = np.asarray(samples, dtype=np.int64)
    some = records.subset(index)
    if spec.unfold(some)[1] is not None:
        raise ConfigError(
            "Detected.heat must get samples that are taken whole; got some that are cut into "
            "windows. Shorter samples would do."
        )
    batch, heat = lay_out(pretrained, some, [found.tokens[sample] for sample in index])
    tokenizer = pretrained.module.backbone.tokenizer
    return tokenizer.original(batch), tokenizer.spread(heat, batch)


def lay_out(
    pretrained: Pretrained, pieces: Records, tokens: Sequence[NDArray[np.float32]]
) -> tuple[Batch, Tensor]:
    """Bring scores of tokens into the order of a batch.

    Args:
        pretrained: The run.
        pieces: Samples that are taken whole, or windows, few enough for one batch.
        tokens: Scores of the tokens of each by their positions in it, NaN where there is none.

    Returns:
        The batch, and the score of each of its tokens, (B, N), NaN where there is none.
    """
    spec, tokenizer = pretrained.schema.modality, pretrained.module.backbone.tokenizer
    device = next(pretrained.module.parameters()).device
    batch = to_device(spec.batch(pieces, np.arange(len(pieces))), device)
    with torch.no_grad():
        num_tokens = tokenizer.embed(batch).values.shape[1]
    _, positions = places_of(spec, tokenizer, batch, num_tokens, cut=False)
    heat = torch.full((len(pieces), num_tokens), float("nan"))
    for row, own in enumerate(tokens):
        there = positions < len(own)
        heat[row, torch.from_numpy(there)] = torch.from_numpy(own[positions[there]])
    return batch, heat
