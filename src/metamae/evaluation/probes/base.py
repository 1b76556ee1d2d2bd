"""What an evaluation takes and gives, and how several representations are judged by one.

S is the number of samples, F the number of features, L the number of labels of a multilabel task.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.data.columns.base import Index
from metamae.errors import ConfigError, DataError
from metamae.evaluation.scoring.interval import mean_score, percentile_interval, resampled_scores
from metamae.evaluation.scoring.metrics import metrics_for
from metamae.evaluation.scoring.result import Comparison, Judgement, Result
from metamae.evaluation.scoring.split import budget_name, label_budget, short_classes
from metamae.evaluation.scoring.task import Array, Prediction, Task, labelled

Budget = str | int
"""Training labels to use: "all", or how many per class."""


@dataclass(frozen=True)
class Labelled:
    """Features of some samples, with a label each.

    Attributes:
        features: (S, F), float32 or float64.
        labels: What `infer_task` gives: codes (S,), numbers (S,), or 0 and 1 (S, L).
        groups: Group of every sample, (S,), such as the patient it came from.

    Raises:
        DataError: If the lengths differ.
    """

    features: Array
    labels: Array
    groups: Array | None = None

    def __post_init__(self) -> None:
        lengths = {len(self.features), len(self.labels)}
        if self.groups is not None:
            lengths.add(len(self.groups))
        if len(lengths) > 1:
            raise DataError(
                f"Features, labels and groups must have the same number of samples; "
                f"got {sorted(lengths)}."
            )

    def part(self, index: Index) -> "Labelled":
        """Return the samples at some positions."""
        groups = None if self.groups is None else self.groups[index]
        return Labelled(self.features[index], self.labels[index], groups)


class Evaluation(ABC):
    """A way to judge features: learn from labelled ones, predict for others.

    It never sees the labels of what it predicts. Everything it chooses, it chooses on the
    training samples.

    Attributes:
        description: One line for the list of evaluations.
    """

    description: ClassVar[str]

    @property
    def name(self) -> str:
        """Registered name: a plug-in's module is its key."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def fit_predict(
        self, train: Labelled, test_features: Array, task: Task, rng: np.random.Generator
    ) -> Prediction:
        """Learn from `train` and predict for the test samples.

        Args:
            train: Training samples; all have a label.
            test_features: (S_test, F).
            task: What the labels mean.
            rng: Source of every draw.

        Returns:
            Class codes (S_test,), numbers (S_test,), or label scores (S_test, L).
        """


def judge(
    evaluation: Evaluation,
    representations: Mapping[str, tuple[Array, Array]],
    y_train: Array,
    y_test: Array,
    task: Task,
    *,
    budgets: Sequence[Budget] = ("all", 5),
    draws: int = 10,
    seed: int = 0,
    groups_train: Array | None = None,
    groups_test: Array | None = None,
) -> Judgement:
    """Score several representations of the same samples, and compare every two of them.

    All see the same training labels, random numbers, test samples and bootstrap resamples. What
    a budget finds does not depend on which other budgets are asked for.

    Args:
        evaluation: How to judge.
        representations: Name -> features of the training samples (S_train, F) and of the test
            samples (S_test, F); F may differ between representations.
        y_train: Labels of the training samples from `infer_task`; those without are left out.
        y_test: Labels of the test samples.
        task: The task from `infer_task`.
        budgets: Training labels to use, each "all" or a number per class.
        draws: Draws of training labels for a budget in numbers; the score is their mean.
        seed: The same seed gives the same judgement.
        groups_train: Group of every training sample; choices on them respect it.
        groups_test: Group of every test sample; intervals respect it.

    Raises:
        ConfigError: If a budget, `draws` or `seed` is refused.
        DataError: If features are not finite or do not fit the labels, or no label is left.
    """
    check_at_least("judge.draws", draws, 1)
    check_at_least("judge.seed", seed, 0)
    case = _case(representations, y_train, y_test, task, groups_train, groups_test)
    num_unlabelled = len(y_train) - len(case.y_train) + len(y_test) - len(case.y_test)
    judgement = Judgement(task, (), (), num_unlabelled)
    for budget in dict.fromkeys(budgets):
        judgement = _with_budget(judgement, evaluation, case, budget, draws, seed)
    return judgement


@dataclass(frozen=True)
class _Case:
    """Checked material, labelled samples only: what `judge` is given, by representation."""

    task: Task
    trains: Mapping[str, Labelled]
    tests: Mapping[str, Array]
    y_train: Array
    y_test: Array
    groups_test: Array | None


def _case(
    representations: Mapping[str, tuple[Array, Array]],
    y_train: Array,
    y_test: Array,
    task: Task,
    groups_train: Array | None,
    groups_test: Array | None,
) -> _Case:
    if not representations:
        raise DataError("judge.representations must hold at least one; got none.")
    rows, test_rows = labelled(y_train), labelled(y_test)
    if len(rows) < 2 or len(test_rows) < 1:
        raise DataError(
            f"Judging needs at least two labelled training samples and one labelled test sample; "
            f"got {len(rows)} and {len(test_rows)}."
        )
    trains, tests = {}, {}
    for name, (train, test) in representations.items():
        train = _checked(name, "training", train, len(y_train))
        test = _checked(name, "test", test, len(y_test))
        if train.shape[1] != test.shape[1]:
            raise DataError(
                f"Representation {name!r} must have as many features for training as for test "
                f"samples; got {train.shape[1]} and {test.shape[1]}."
            )
        trains[name] = Labelled(train, y_train, groups_train).part(rows)
        tests[name] = Labelled(test, y_test, groups_test).part(test_rows).features
    if groups_test is not None:
        groups_test = groups_test[test_rows]
    return _Case(task, trains, tests, y_train[rows], y_test[test_rows], groups_test)


def _checked(name: str, part: str, features: Array, num: int) -> Array:
    features = np.asarray(features)
    if features.ndim != 2 or len(features) != num or features.shape[1] == 0:
        raise DataError(
            f"Representation {name!r} must have shape ({num}, features) for the {part} samples; "
            f"got {features.shape}."
        )
    if features.dtype not in (np.float32, np.float64):
        features = features.astype(np.float32 if features.dtype == np.float16 else np.float64)
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise DataError(
            f"Representation {name!r} must be finite; {int((~finite).sum())} of its {num} {part} "
            f"samples hold NaN or infinity, the first at position {int(np.argmin(finite))}."
        )
    return features


def _with_budget(
    so_far: Judgement, evaluation: Evaluation, case: _Case, budget: Budget, draws: int, seed: int
) -> Judgement:
    """Return the judgement with one budget more, or with a note why the budget has no effect."""
    indices, labels, notes = _label_draws(budget, case, draws, seed)
    so_far = replace(so_far, notes=(*so_far.notes, *notes))
    if not indices:
        return so_far
    # Streams of random numbers by budget and purpose: 0 labels, 1 fits, 2 bootstrap.
    stream = [seed, 0 if budget == "all" else int(budget)]
    predictions = {
        name: [
            evaluation.fit_predict(
                train.part(index),
                case.tests[name],
                case.task,
                np.random.default_rng([*stream, 1, draw]),
            )
            for draw, index in enumerate(indices)
        ]
        for name, train in case.trains.items()
    }
    shared = {
        "evaluation": evaluation.name,
        "labels": labels,
        "num_train": round(np.mean([len(index) for index in indices])),
        "seed": seed,
    }
    rng = np.random.default_rng([*stream, 2])
    results, comparisons = _score(predictions, case, rng, shared)
    return replace(
        so_far,
        results=(*so_far.results, *results),
        comparisons=(*so_far.comparisons, *comparisons),
    )


def _label_draws(
    budget: Budget, case: _Case, draws: int, seed: int
) -> tuple[list[Index], str, list[str]]:
    """Return the training sets of a budget, none if it has no effect, its name, and notes."""
    y, task = case.y_train, case.task
    if budget == "all":
        return [np.arange(len(y))], "all", []
    if isinstance(budget, str):
        raise ConfigError(
            f"judge.budgets must hold 'all' or whole numbers of at least 1; got {budget!r}. "
            f"'all' would do."
        )
    check_at_least("judge.budgets", budget, 1)
    labels = budget_name(task, budget)
    indices = label_budget(y, task, budget, draws, np.random.default_rng([seed, budget, 0]))
    if all(len(index) == len(y) for index in indices):
        note = f"The budget of {labels} was left out: there are only {len(y)} labels in all."
        return [], labels, [note]
    short = short_classes(y, task, budget)
    if not short:
        return indices, labels, []
    held = ", ".join(f"{name!r} has {num}" for name, num in list(short.items())[:5])
    return indices, labels, [f"The budget of {labels} took all of the small classes: {held}."]


def _score(
    predictions: Mapping[str, Sequence[Prediction]],
    case: _Case,
    rng: np.random.Generator,
    shared: dict[str, Any],
) -> tuple[list[Result], list[Comparison]]:
    """Turn the predictions for one budget into results and comparisons."""
    y = case.y_test
    metric, *others = metrics_for(case.task)
    resampled = resampled_scores(metric, y, predictions, rng, groups=case.groups_test)
    scores = {name: mean_score(metric, y, p) for name, p in predictions.items()}
    results = [
        Result(
            representation=name,
            metric=metric.name,
            score=scores[name],
            interval=percentile_interval(resampled[name]),
            higher_is_better=metric.higher_is_better,
            chance=metric.chance(case.y_train, y),
            num_test=len(y),
            draws=len(predictions[name]),
            secondary={m.name: mean_score(m, y, predictions[name]) for m in others},
            **shared,
        )
        for name in predictions
    ]
    comparisons = [
        Comparison(
            evaluation=shared["evaluation"],
            metric=metric.name,
            labels=shared["labels"],
            first=first,
            second=second,
            difference=scores[first] - scores[second],
            interval=percentile_interval(resampled[first] - resampled[second]),
        )
        for first, second in itertools.combinations(predictions, 2)
    ]
    return results, comparisons
