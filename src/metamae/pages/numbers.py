"""The numbers of a run as charts and tables: training, health, evaluation.

They come from the files of the run's folder, as plain values of JSON.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from metamae.pages.charts import Series, draw_intervals, draw_lines
from metamae.pages.figure import Chart

Line = Mapping[str, Any]

# Title -> key in metrics.jsonl -> what the line is called.
CURVES: dict[str, dict[str, str]] = {
    "Loss": {"loss": "training", "held_out_loss": "held out"},
    "R² of the hidden part": {
        "r2": "training",
        "held_out_r2": "held out",
        "held_out_r2_before": "held out, before the inner step",
    },
    "Accuracy of the method's own task": {"accuracy": "training", "held_out_accuracy": "held out"},
    "R² of the teacher's latents": {"target_r2": "training", "held_out_target_r2": "held out"},
    "Effective rank": {"effective_rank": "held out"},
    "Spread of the embeddings": {"feature_std": "held out"},
    "Size of the gradient": {"gradient": "training"},
}
# Key in metrics.jsonl -> its name and how to read it.
HEALTH: dict[str, tuple[str, str]] = {
    "held_out_r2": (
        "R² of the hidden part",
        "1 is perfect, 0 no better than the best constant guess",
    ),
    "held_out_r2_before": ("the same before the inner step", "the inner step should not harm"),
    "held_out_accuracy": ("accuracy of the method's own task", "1 is perfect"),
    "held_out_target_r2": ("R² of the teacher's latents", "1 is perfect"),
    "effective_rank": (
        "effective rank of the embeddings",
        "directions that are used; near 1 means that all samples get nearly the same vector",
    ),
    "feature_std": ("spread of the embeddings", "0 means that all samples get the same vector"),
}
NAMES = {"raw": "raw features", "pca": "PCA", "untrained": "untrained encoder"}


@dataclass(frozen=True)
class Fact:
    """A number with its name and how to read it; `key` is its name in metrics.jsonl."""

    key: str
    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class Table:
    """Scores of one evaluation with one set of training labels.

    Attributes:
        title: What was measured, on how many samples.
        chart: The scores on their intervals.
        rows: Name, score, interval; the encoder first.
        chance: Score of guessing.
    """

    title: str
    chart: Chart
    rows: tuple[tuple[str, str, str], ...]
    chance: str


@dataclass(frozen=True)
class Assessed:
    """What was found about one label.

    Attributes:
        label: Its name.
        data: The data set.
        sentence: The verdict.
        outcome: "helped", "hurt", "unclear" or "mixed".
        tables: One per evaluation and set of training labels.
        notes: What a reader should know.
        size: Numbers of training and test samples, in words.
    """

    label: str
    data: str
    sentence: str
    outcome: str
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    size: str


def draw_training(lines: Sequence[Line]) -> list[Chart]:
    """Draw the curves that a run logged."""
    charts = []
    for title, keys in CURVES.items():
        found = {name: series(lines, key) for key, name in keys.items()}
        found = {name: points for name, points in found.items() if points}
        # A single point is a number and no curve.
        if any(len(points) > 1 for points in found.values()):
            charts.append(draw_lines(title, found))
    return charts


def series(lines: Sequence[Line], key: str) -> Series:
    """Return (step, value) of a scalar wherever it was logged as a finite number."""
    found = [(float(line["step"]), line.get(key)) for line in lines if "step" in line]
    return [(step, float(v)) for step, v in found if isinstance(v, int | float) and abs(v) < 1e30]


def health_of(lines: Sequence[Line], width: int | None = None) -> list[Fact]:
    """Return the newest numbers on held-out samples.

    Args:
        lines: Of metrics.jsonl.
        width: Numbers of an embedding, which the effective rank cannot exceed.
    """
    facts = []
    for key, (name, meaning) in HEALTH.items():
        points = series(lines, key)
        if not points:
            continue
        value = points[-1][1]
        shown = f"{value:.3f}"
        if key == "effective_rank":
            shown = f"{value:.1f}" + (f" of {width}" if width else "")
        facts.append(Fact(key, name, shown, meaning))
    return facts


def assessed(entry: Line) -> Assessed:
    """Turn one entry of results.json into tables and charts."""
    verdict = entry["verdicts"][0]
    own = verdict["embedding"]
    groups: dict[tuple[str, str], list[Line]] = {}
    for result in entry["results"]:
        groups.setdefault((result["evaluation"], result["labels"]), []).append(result)
    return Assessed(
        label=str(entry["label"]),
        data=str(entry["data"]),
        sentence=str(entry["verdict"]),
        outcome=str(verdict["outcome"]),
        tables=tuple(_table(*key, results, own) for key, results in groups.items()),
        notes=tuple(str(note) for note in entry["notes"]),
        size=f"{entry['num_train']} labelled samples to learn from, {entry['num_test']} to test on",
    )


def _table(evaluation: str, labels: str, results: Sequence[Line], own: str) -> Table:
    rows = [_row(result) for result in sorted(results, key=lambda r: r["representation"] != own)]
    first = results[0]
    title = f"{evaluation}, {first['metric']}, {with_labels(labels)}"
    chance = float(first["chance"])
    return Table(
        title=title,
        chart=draw_intervals(title, rows, chance, [rows[0][0]]),
        rows=tuple((n, f"{s:.3f}", f"{low:.3f} to {high:.3f}") for n, s, low, high in rows),
        chance=f"{chance:.3f}",
    )


def with_labels(labels: str) -> str:
    """Say how many training labels there were: "all", or a budget such as "5 per class"."""
    count, _, unit = labels.partition(" ")
    return "all labels" if labels == "all" else f"{count} labels {unit}".strip()


def _row(result: Line) -> tuple[str, float, float, float]:
    name = str(result["representation"])
    low, high = result["interval"]
    return NAMES.get(name, name), float(result["score"]), float(low), float(high)
