"""How well settings that were chosen without labels do with labels.

    python benchmarks/tuning.py                     six data sets, about 25 minutes on one core
    python benchmarks/tuning.py digits segment      some of them

On each data set nine choices of mask ratio, learning rate and cell, the default among them, are
trained twice: for a full run and for a third of its steps, the tiny network both times. After
both runs everything that can be said without labels is measured, on samples that were held out;
after the full run a linear probe is scored on test samples that no run saw, with all labels and
with five per class.

First table: Spearman's rank correlation over the nine choices between each number without labels
and the probe; "early" are the numbers after the short one. Second table: the probe of the default,
of what `metamae.pretraining.tune` would choose by `kept` after the short run, of the best of the
nine, and the mean of the nine, which a choice by lot would have. It needs `pip install
"metamae[bench,tune]"`.
"""

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import spearmanr

from metamae.benchmark.pocket import POCKET
from metamae.encoder.pretrained import Pretrained
from metamae.encoder.representations import embeddings, raw_features
from metamae.evaluation.probes import EVALUATIONS
from metamae.evaluation.probes.base import judge
from metamae.evaluation.split import Division, divide
from metamae.pretraining.pretrain import num_held_out, pretrain, split, untrained
from metamae.pretraining.trials import (
    COMPONENTS,
    HOLDOUT,
    MOST_JUDGED,
    kept,
    override,
    search_space,
)
from metamae.run.config import Choices, choose

DATA = ("digits", "breast_cancer", "urban_spectra", "peptides", "segment", "mnist")
SAMPLES = 1500  # of each data set
STEPS = 120
EARLY = 40
CHOICES = 9
SEED = 0
NUMBERS = ("kept", "kept, each component alike", "effective rank / width", "query R2", "inner gain")
"""What is measured without labels."""


@dataclass(frozen=True)
class Row:
    """One choice of settings: numbers without labels after both runs, and the probe."""

    late: Mapping[str, float]
    early: Mapping[str, float]
    probe: tuple[float, float]


def measure(name: str) -> list[Row]:
    """Train and judge all choices on a data set; the default is the first."""
    challenge = POCKET.build(name).load()
    rng = np.random.default_rng(SEED)
    division = divide(
        challenge.records.sample(SAMPLES, rng),
        challenge.label,
        test=challenge.test,
        group=challenge.group,
        task=challenge.task,
        seed=SEED,
    )
    ignore = [field for field in challenge.not_input if field in division.train.columns]
    settings = {**challenge.settings, "size": "tiny", "seed": SEED}
    default = untrained(division.train, settings=settings, ignore=ignore)
    space = search_space(choose(Choices(), settings), default)
    every = [places for places in np.ndindex(*map(len, space.values())) if any(places)]
    drawn = rng.choice(len(every), min(CHOICES - 1, len(every)), replace=False)
    rows = []
    for places in [(0,) * len(space), *(every[number] for number in drawn)]:
        chosen = {n: space[n][place] for n, place in zip(space, places, strict=True)}
        numbers = []
        for steps in (EARLY, STEPS):
            length = {"train.steps": steps, "train.holdout": HOLDOUT, "train.check_every": 10**9}
            found, outcome = pretrain(
                division.train, settings=override(settings, {**chosen, **length}), ignore=ignore
            )
            numbers.append(without_labels(found, outcome.health, division, default))
        rows.append(Row(numbers[1], numbers[0], probe(found, division)))
        print(name, *chosen.values(), *(f"{score:.3f}" for score in rows[-1].probe), end=" | ")
        print(*(f"{a:.3f} {b:.3f}," for a, b in zip(*(n.values() for n in numbers), strict=True)))
        sys.stdout.flush()
    return rows


def without_labels(
    found: Pretrained, health: Mapping[str, float], division: Division, default: Pretrained
) -> dict[str, float]:
    """Return what can be said of an encoder without labels, each the higher the better."""
    learnt, held_out = split(division.train, num_held_out(len(division.train), HOLDOUT), SEED)
    rng = np.random.default_rng(SEED)
    judged = [part.sample(MOST_JUDGED, rng) for part in (learnt, held_out)]
    spec = default.schema.modality
    raw = [raw_features(spec, part.only(spec.columns)) for part in judged]
    features = embeddings(found, *(found.records(part) for part in judged))
    # Sphered: each direction of the raw features counts alike, however little of them it holds.
    mean = raw[0].mean(axis=0)
    _, values, vectors = np.linalg.svd(raw[0] - mean, full_matrices=False)
    most = min(COMPONENTS, len(raw[0]) // 4, int((values > 1e-4 * values[0]).sum()))
    sphere = vectors[:most].T / values[:most] * np.sqrt(len(raw[0]))
    alike = [(part - mean) @ sphere for part in raw]
    width = found.module.backbone.tokenizer.width
    before = health.get("held_out_r2_before", float("nan"))
    numbers = (
        kept(*features, *raw),
        kept(*features, *alike),
        health["effective_rank"] / width,
        health["held_out_r2"],
        health["held_out_r2"] - before,
    )
    return dict(zip(NUMBERS, numbers, strict=True))


def probe(found: Pretrained, division: Division) -> tuple[float, float]:
    """Score a linear probe with all labels and with five per class, the higher the better."""
    features = embeddings(found, found.records(division.train), found.records(division.test))
    judgement = judge(
        EVALUATIONS.build("linear_probe"),
        {"encoder": features},
        division.y_train,
        division.y_test,
        division.task,
        budgets=("all", 5),
        draws=5,
        seed=SEED,
        groups_train=division.groups_train,
        groups_test=division.groups_test,
    )
    most, few = (r.score if r.higher_is_better else -r.score for r in judgement.results)
    return most, few


def correlation(numbers: Sequence[float], scores: Sequence[float]) -> float:
    """Spearman's; 0 where the numbers are all the same and say nothing."""
    if len(set(numbers)) == 1 or len(set(scores)) == 1:
        return 0.0
    return float(spearmanr(numbers, scores).statistic)


def main() -> None:
    """Measure all, or what the command line names."""
    logging.disable(logging.WARNING)
    found = {name: measure(name) for name in sys.argv[1:] or DATA}
    print("\n| all labels / 5 per class |", " | ".join([*found, "mean"]), "|")
    for early in (False, True):
        for number in NUMBERS:
            cells, both = [], []
            for rows in found.values():
                numbers = [(row.early if early else row.late)[number] for row in rows]
                pair = [correlation(numbers, [row.probe[k] for row in rows]) for k in (0, 1)]
                both.append(pair)
                cells.append(f"{pair[0]:+.2f} / {pair[1]:+.2f}")
            mean = np.mean(both, axis=0)
            cells.append(f"{mean[0]:+.2f} / {mean[1]:+.2f}")
            print(f"| {'early ' if early else ''}{number} |", " | ".join(cells), "|")
    print("\n| probe, all / 5 per class | default | chosen by kept, early | best | mean of nine |")
    for name, rows in found.items():
        scores = np.array([row.probe for row in rows])
        chosen = scores[np.argmax([row.early["kept"] for row in rows])]
        probes = (scores[0], chosen, scores.max(axis=0), scores.mean(axis=0))
        print(f"| {name} |", " | ".join(f"{a:.3f} / {b:.3f}" for a, b in probes), "|")


if __name__ == "__main__":
    main()
