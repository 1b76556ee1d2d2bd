"""What judging gives: scores with intervals, and differences with intervals, all JSON-safe."""

from dataclasses import asdict, dataclass, field
from typing import Any

from metamae.evaluation.scoring.interval import Interval
from metamae.evaluation.scoring.task import Task


@dataclass(frozen=True)
class Result:
    """The score of one representation and what is needed to read it.

    Attributes:
        evaluation: Registered name, e.g. "knn".
        representation: What was scored, e.g. "metamae", "untrained", "pca" or "raw".
        metric: What `score` measures, e.g. "accuracy".
        score: Value on the test samples; the mean over the draws of a label budget.
        interval: Ends of its 95 % bootstrap interval.
        higher_is_better: Direction of `metric`.
        chance: Score of guessing without features, so that a reader can tell a low score from a
            useless one.
        labels: Training labels used: "all", or a budget such as "5 per class".
        num_train: Training samples used, the mean over the draws of a budget.
        num_test: Test samples.
        draws: Draws of training labels that the score is the mean of.
        seed: Seed of the draws and of the bootstrap.
        secondary: Other metrics of the task -> score.
    """

    evaluation: str
    representation: str
    metric: str
    score: float
    interval: Interval
    higher_is_better: bool
    chance: float
    labels: str
    num_train: int
    num_test: int
    draws: int
    seed: int
    secondary: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return _plain(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Result":
        """Undo `to_dict`."""
        return cls(**_with_interval(values))


@dataclass(frozen=True)
class Comparison:
    """Two representations on the same test samples and the same training labels.

    Attributes:
        evaluation: Registered name.
        metric: What is compared.
        labels: Training labels used, as in `Result`.
        first: Name of a representation.
        second: Name of another.
        difference: Score of the first minus score of the second.
        interval: Ends of its 95 % paired bootstrap interval.
    """

    evaluation: str
    metric: str
    labels: str
    first: str
    second: str
    difference: float
    interval: Interval

    def swapped(self) -> "Comparison":
        """Return the same comparison seen from the second."""
        low, high = self.interval
        names = (self.second, self.first)
        return Comparison(
            self.evaluation, self.metric, self.labels, *names, -self.difference, (-high, -low)
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return _plain(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Comparison":
        """Undo `to_dict`."""
        return cls(**_with_interval(values))


@dataclass(frozen=True)
class Judgement:
    """All that one evaluation found about several representations.

    Attributes:
        task: What was predicted.
        results: One per budget and representation.
        comparisons: One per budget and pair of representations.
        num_unlabelled: Samples left out because they have no label, training and test together.
        notes: Plain sentences about what was not as asked, such as a class with few labels.
    """

    task: Task
    results: tuple[Result, ...]
    comparisons: tuple[Comparison, ...]
    num_unlabelled: int = 0
    notes: tuple[str, ...] = ()

    def comparison(self, labels: str, first: str, second: str) -> Comparison:
        """Return the comparison of two representations, whichever way round it was made."""
        for found in self.comparisons:
            if found.labels == labels and {found.first, found.second} == {first, second}:
                return found if found.first == first else found.swapped()
        raise KeyError((labels, first, second))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "task": self.task.to_dict(),
            "results": [r.to_dict() for r in self.results],
            "comparisons": [c.to_dict() for c in self.comparisons],
            "num_unlabelled": self.num_unlabelled,
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Judgement":
        """Undo `to_dict`."""
        return cls(
            task=Task.from_dict(values["task"]),
            results=tuple(Result.from_dict(r) for r in values["results"]),
            comparisons=tuple(Comparison.from_dict(c) for c in values["comparisons"]),
            num_unlabelled=values["num_unlabelled"],
            notes=tuple(values["notes"]),
        )


def _plain(record: Result | Comparison) -> dict[str, Any]:
    return asdict(record) | {"interval": list(record.interval)}


def _with_interval(values: dict[str, Any]) -> dict[str, Any]:
    low, high = values["interval"]
    return values | {"interval": (low, high)}
