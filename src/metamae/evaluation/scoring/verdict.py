"""Whether pretraining helped, in one plain sentence.

The embedding is held against the best of the baselines on the same test samples. Which baseline
is best is read off those samples too, which flatters it a little: "helped" is therefore claimed
too rarely rather than too often, and, with three baselines of equal worth, "hurt" in up to
7.5 % of cases instead of 2.5 %. We accept that, as its advice is the cheaper representation.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from metamae.errors import DataError
from metamae.evaluation.scoring.interval import Interval
from metamae.evaluation.scoring.result import Judgement, Result

PHRASES = {"raw": "raw features", "pca": "PCA", "untrained": "the untrained encoder"}


@dataclass(frozen=True)
class Finding:
    """The embedding against the best baseline with one set of training labels.

    Attributes:
        labels: Training labels used, as in `Result`.
        outcome: "helped", "hurt" or "unclear" (the interval holds 0, or the embedding is not
            clearly above chance).
        score: Of the embedding.
        baseline: Name of the best baseline.
        baseline_score: Of that baseline.
        difference: By how much the embedding is better; negative if it is worse.
        interval: Ends of its 95 % interval.
        chance: Score of guessing.
        above_chance: Whether the embedding's own interval is clear of chance.
    """

    labels: str
    outcome: str
    score: float
    baseline: str
    baseline_score: float
    difference: float
    interval: Interval
    chance: float
    above_chance: bool

    def clause(self) -> str:
        """Say it as a part of a sentence."""
        ends = (self.difference, *self.interval)
        d = _decimals(ends)
        size, low, high = (f"{v + 0.0:.{d}f}" for v in ends)
        against = PHRASES.get(self.baseline, repr(self.baseline))
        if self.outcome == "unclear":
            text = (
                f"{_with_labels(self.labels)} it makes no clear difference ({self.score:.{d}f} "
                f"against {self.baseline_score:.{d}f} with {against}, difference {size}, "
                f"{low} to {high})"
            )
        else:
            side = "above" if self.outcome == "helped" else "below"
            if side == "below":
                size, low, high = (f"{v:.{d}f}" for v in _reversed(ends))
            text = (
                f"{_with_labels(self.labels)} the embedding scores {self.score:.{d}f}, which is "
                f"{size} ({low} to {high}) {side} the best baseline ({against})"
            )
        if not self.above_chance:
            text += f", and the embedding is not clearly above chance ({self.chance:.2f})"
        return text


@dataclass(frozen=True)
class Verdict:
    """Whether an embedding is worth its pretraining, judged by one evaluation.

    Attributes:
        evaluation: Registered name.
        metric: What was compared.
        embedding: Name of the representation on trial.
        findings: One per set of training labels, in the order in which they were judged.
    """

    evaluation: str
    metric: str
    embedding: str
    findings: tuple[Finding, ...]

    @property
    def outcome(self) -> str:
        """Return "helped", "hurt", "unclear", or "mixed" if it helped here and hurt there."""
        seen = {f.outcome for f in self.findings} - {"unclear"}
        return "mixed" if len(seen) == 2 else seen.pop() if seen else "unclear"

    def sentence(self) -> str:
        """Say it in one sentence, with every difference and its interval."""
        opening = {
            "helped": "Pretraining helped",
            "hurt": "Pretraining did not help",
            "unclear": "Pretraining made no clear difference",
            "mixed": "Pretraining helped with some numbers of labels and hurt with others",
        }[self.outcome]
        # What decides comes first.
        order = sorted(self.findings, key=lambda f: f.outcome == "unclear")
        text = f"{opening}: " + "; ".join(f.clause() for f in order)
        if self.outcome == "hurt":
            hurt = dict.fromkeys(f.baseline for f in order if f.outcome == "hurt")
            text += f"; use {' or '.join(PHRASES.get(b, repr(b)) for b in hurt)}"
        return text + "."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, the outcome and the sentence included."""
        findings = [asdict(f) | {"interval": list(f.interval)} for f in self.findings]
        return {
            "evaluation": self.evaluation,
            "metric": self.metric,
            "embedding": self.embedding,
            "findings": findings,
            "outcome": self.outcome,
            "sentence": self.sentence(),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Verdict":
        """Undo `to_dict`."""
        findings = tuple(
            Finding(**(f | {"interval": (f["interval"][0], f["interval"][1])}))
            for f in values["findings"]
        )
        return cls(values["evaluation"], values["metric"], values["embedding"], findings)


def verdict(
    judgement: Judgement, embedding: str, baselines: Collection[str] | None = None
) -> Verdict:
    """Hold the embedding against the best baseline, for each set of training labels.

    Args:
        judgement: What `judge` returned.
        embedding: Name of the representation on trial.
        baselines: Names of what it has to beat; everything else in the judgement if not given.

    Raises:
        DataError: If the embedding or all baselines are missing from the judgement.
    """
    budgets = list(dict.fromkeys(r.labels for r in judgement.results))
    names = list(dict.fromkeys(r.representation for r in judgement.results))
    wanted = [n for n in names if n != embedding and (baselines is None or n in baselines)]
    if embedding not in names or not wanted:
        raise DataError(
            f"A verdict must have the embedding {embedding!r} and a baseline to compare; the "
            f"judgement holds {', '.join(names) or 'nothing'}."
        )
    first = judgement.results[0]
    findings = tuple(_finding(judgement, labels, embedding, wanted) for labels in budgets)
    return Verdict(first.evaluation, first.metric, embedding, findings)


def _finding(judgement: Judgement, labels: str, embedding: str, baselines: list[str]) -> Finding:
    by_name = {r.representation: r for r in judgement.results if r.labels == labels}
    own = by_name[embedding]
    sign = 1 if own.higher_is_better else -1
    best = by_name[max(baselines, key=lambda n: sign * by_name[n].score)]
    compared = judgement.comparison(labels, embedding, best.representation)
    if sign < 0:
        compared = compared.swapped()
    low, high = compared.interval
    above = _above_chance(own)
    outcome = "helped" if low > 0 and above else "hurt" if high < 0 else "unclear"
    return Finding(
        labels=labels,
        outcome=outcome,
        score=own.score,
        baseline=best.representation,
        baseline_score=best.score,
        difference=compared.difference,
        interval=compared.interval,
        chance=own.chance,
        above_chance=above,
    )


def _above_chance(result: Result) -> bool:
    low, high = result.interval
    return low > result.chance if result.higher_is_better else high < result.chance


def _with_labels(labels: str) -> str:
    count, _, unit = labels.partition(" ")
    phrases = {"per class": "labels per class", "per label": "examples per label"}
    if labels == "all":
        return "with all labels"
    return f"with {count} {phrases.get(unit, 'labels')}"


def _decimals(values: tuple[float, ...]) -> int:
    """Two, or as many as it takes to tell the smallest of the values from zero, up to four."""
    smallest = min((abs(v) for v in values if v), default=1.0)
    return 2 if smallest >= 0.01 else 3 if smallest >= 0.001 else 4


def _reversed(ends: tuple[float, float, float]) -> tuple[float, float, float]:
    """Turn a negative difference and its interval into how far below."""
    difference, low, high = ends
    return -difference, -high, -low
