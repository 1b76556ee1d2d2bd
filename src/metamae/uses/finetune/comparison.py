"""Whether fine-tuning was worth it: predictions for the same test samples, compared in pairs."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from metamae.evaluation.scoring.interval import mean_score, percentile_interval, resampled_scores
from metamae.evaluation.scoring.metrics import metrics_for
from metamae.evaluation.scoring.result import Comparison, Judgement, Result
from metamae.evaluation.scoring.task import Array, Prediction, Task
from metamae.evaluation.scoring.verdict import Finding, verdict

FINETUNED, SCRATCH, PROBE, RAW = "finetuned", "scratch", "linear_probe", "raw"
PHRASES = {
    SCRATCH: "training from scratch",
    PROBE: "a linear probe of the frozen embedding",
    RAW: "a linear model of raw features",
}


def compare(
    predictions: Mapping[str, Prediction],
    y_train: Array,
    y_test: Array,
    task: Task,
    *,
    groups_test: Array | None,
    seed: int,
) -> Judgement:
    """Score predictions of several models for the same test samples.

    Args:
        predictions: Name of a model -> what it says, (S,) or (S, L).
        y_train: Labels of the training samples; all must be there.
        y_test: Labels of the test samples; likewise.
        task: What they mean.
        groups_test: Group of every test sample; intervals respect it.
        seed: Of the bootstrap.
    """
    metric, *others = metrics_for(task)
    systems = {name: [prediction] for name, prediction in predictions.items()}
    rng = np.random.default_rng([seed, 6])
    resampled = resampled_scores(metric, y_test, systems, rng, groups=groups_test)
    scores = {name: mean_score(metric, y_test, found) for name, found in systems.items()}
    shared: dict[str, Any] = {"evaluation": "finetune", "metric": metric.name, "labels": "all"}
    results = tuple(
        Result(
            representation=name,
            score=scores[name],
            interval=percentile_interval(resampled[name]),
            higher_is_better=metric.higher_is_better,
            chance=metric.chance(y_train, y_test),
            num_train=len(y_train),
            num_test=len(y_test),
            draws=1,
            seed=seed,
            secondary={m.name: mean_score(m, y_test, systems[name]) for m in others},
            **shared,
        )
        for name in systems
    )
    comparisons = tuple(
        Comparison(
            first=first,
            second=second,
            difference=scores[first] - scores[second],
            interval=percentile_interval(resampled[first] - resampled[second]),
            **shared,
        )
        for first, second in itertools.combinations(systems, 2)
    )
    return Judgement(task, results, comparisons)


def finding(judgement: Judgement) -> Finding:
    """Hold the fine-tuned model against the best of the others, as `metamae evaluate` does."""
    return verdict(judgement, FINETUNED).findings[0]


def sentence(judgement: Judgement) -> str:
    """Say in one sentence whether fine-tuning helped, and against training from scratch."""
    found = finding(judgement)
    size, low, high = (f"{v + 0.0:.3f}" for v in (found.difference, *found.interval))
    against = PHRASES[found.baseline]
    scores = f"{found.score:.3f} against {found.baseline_score:.3f} with {against}"
    if found.outcome == "unclear":
        text = (
            f"Fine-tuning made no clear difference: {scores}, the best of the others "
            f"(difference {size}, {low} to {high})"
        )
    else:
        helped = "helped" if found.outcome == "helped" else "did not help"
        text = (
            f"Fine-tuning {helped}: {scores}, the best of the others (difference {size}, {low} "
            f"to {high})"
        )
    names = {result.representation for result in judgement.results}
    if SCRATCH in names and found.baseline != SCRATCH:
        fresh = judgement.comparison("all", FINETUNED, SCRATCH)
        size, low, high = (f"{v + 0.0:.3f}" for v in (fresh.difference, *fresh.interval))
        text += f"; against training from scratch the difference is {size} ({low} to {high})"
    if not found.above_chance:
        text += f"; it is not clearly above chance ({found.chance:.2f})"
    if found.outcome == "hurt":
        text += f"; use {against}"
    return text + "."
