"""From scores by data set and seed to what can be said about methods.

Sources: Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR 7, 2006
(ranks, Wilcoxon's signed-rank test); Student's t for the mean over seeds.

P is the number of problems, K that of seeds.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from metamae.benchmark.cell import BASELINES, Row

Floats = NDArray[np.float64]
FEWEST_FOR_TEST = 6  # problems below which no signed-rank test can reach 5 %


@dataclass(frozen=True)
class Score:
    """A method on one problem.

    Attributes:
        values: One score per seed, the higher the better: errors are negative here.
        half_width: Half of the 95 % interval of the mean over seeds; with one seed of the
            bootstrap over test samples.
    """

    values: Mapping[int, float]
    half_width: float

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return float(np.mean(list(self.values.values())))


@dataclass(frozen=True)
class Against:
    """One method against another over all problems that both have.

    Attributes:
        wins: Problems on which it is clearly better: the interval of the paired difference over
            seeds is clear of 0.
        ties: Problems on which neither is.
        losses: Problems on which it is clearly worse.
        p: Of Wilcoxon's signed-rank test of the mean differences; None for fewer than six.
    """

    wins: int
    ties: int
    losses: int
    p: float | None


@dataclass(frozen=True)
class Summary:
    """All about one way of judging.

    Attributes:
        evaluation: Registered name.
        labels: Training labels used.
        scores: Method -> problem -> score.
        metrics: Problem -> name of its metric.
    """

    evaluation: str
    labels: str
    scores: Mapping[str, Mapping[str, Score]]
    metrics: Mapping[str, str]

    @property
    def problems(self) -> list[str]:
        """Problems on which every method has a score."""
        return [p for p in self.metrics if all(p in found for found in self.scores.values())]

    def mean_ranks(self) -> dict[str, float]:
        """Mean over those problems of each method's place, 1 being the best; ties share."""
        from scipy.stats import rankdata

        names, problems = list(self.scores), self.problems
        if not problems:
            return dict.fromkeys(names, float("nan"))
        table = np.array([[self.scores[m][p].mean for m in names] for p in problems])
        ranks = np.stack([rankdata(-row) for row in table]).mean(axis=0)
        return dict(zip(names, ranks.tolist(), strict=True))

    def against(self, method: str, other: str) -> Against:
        """Compare two methods over all problems that both have."""
        shared = [p for p in self.scores[method] if p in self.scores[other]]
        signs, gaps = [], []
        for problem in shared:
            a, b = self.scores[method][problem], self.scores[other][problem]
            difference, half = _paired(a, b)
            gaps.append(difference)
            signs.append(0 if abs(difference) <= half else int(np.sign(difference)))
        counts = (signs.count(1), signs.count(0), signs.count(-1))
        return Against(*counts, _signed_rank(np.array(gaps)))


def summarise(rows: Iterable[Row]) -> list[Summary]:
    """Return a summary for each evaluation and budget of labels, in the order of the rows."""
    grouped: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        # Budgets are named by the task, "5 per class" or "50 samples"; all are the small budget.
        labels = row["labels"] if row["labels"] == "all" else "few"
        grouped.setdefault((row["evaluation"], labels), []).append(row)
    return [_summary(*key, found) for key, found in grouped.items()]


def _summary(evaluation: str, labels: str, rows: Sequence[Row]) -> Summary:
    cells: dict[str, dict[str, list[Row]]] = {}
    for row in rows:
        cells.setdefault(row["method"], {}).setdefault(row["challenge"], []).append(row)
    order = [*BASELINES, *(m for m in cells if m not in BASELINES)]
    scores = {
        method: {problem: _score(found) for problem, found in cells[method].items()}
        for method in order
        if method in cells
    }
    return Summary(evaluation, labels, scores, {row["challenge"]: row["metric"] for row in rows})


def _score(rows: Sequence[Row]) -> Score:
    sign = 1 if rows[0]["higher_is_better"] else -1
    values = {row["seed"]: sign * row["score"] for row in rows}
    if len(values) > 1:
        return Score(values, _half_width(np.array(list(values.values()))))
    return Score(values, (rows[0]["high"] - rows[0]["low"]) / 2)


def _paired(a: Score, b: Score) -> tuple[float, float]:
    """Mean difference over the seeds that both have, and half of its 95 % interval."""
    seeds = [seed for seed in a.values if seed in b.values]
    gaps = np.array([a.values[seed] - b.values[seed] for seed in seeds])
    if len(gaps) > 1:
        return float(gaps.mean()), _half_width(gaps)
    # One seed: as if the two were scored on test samples of their own, which is cautious.
    both = float(np.hypot(a.half_width, b.half_width))
    return (float(gaps[0]) if len(gaps) else 0.0), both


def _half_width(values: Floats) -> float:
    from scipy.stats import t

    error = values.std(ddof=1) / np.sqrt(len(values))
    return float(t.ppf(0.975, len(values) - 1) * error)


def _signed_rank(gaps: Floats) -> float | None:
    from scipy.stats import wilcoxon

    if len(gaps) < FEWEST_FOR_TEST or not gaps.any():
        return None
    return float(wilcoxon(gaps).pvalue)


def to_markdown(summary: Summary) -> str:
    """Return a table: a row per problem, a column per method, then ranks and comparisons."""
    names, ranks = list(summary.scores), summary.mean_ranks()
    lines = [["", *names], ["---", *["--:"] * len(names)]]
    for problem, metric in summary.metrics.items():
        best = max(names, key=lambda name: _mean(summary, name, problem))
        cells = [_cell(summary, name, problem, bold=name == best) for name in names]
        lines.append([f"{problem} ({metric})", *cells])
    lines.append(["mean rank", *(f"{ranks[name]:.1f}" for name in names)])
    for other in (name for name in BASELINES if name in names):
        versus = ["" if o == other else _versus(summary.against(o, other)) for o in names]
        lines.append([f"win/tie/loss against {other}", *versus])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _mean(summary: Summary, method: str, problem: str) -> float:
    score = summary.scores[method].get(problem)
    return float("-inf") if score is None else score.mean


def _cell(summary: Summary, method: str, problem: str, *, bold: bool) -> str:
    score = summary.scores[method].get(problem)
    if score is None:
        return ""
    mark = "**" if bold else ""
    return f"{mark}{score.mean:.3f}{mark} ±{score.half_width:.3f}"


def _versus(found: Against) -> str:
    p = "" if found.p is None else f", p = {found.p:.3f}"
    return f"{found.wins}/{found.ties}/{found.losses}{p}"
