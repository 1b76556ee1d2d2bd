"""One page about several runs: what differs between them, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from metamae.pages import shown
from metamae.pages.charts import draw_intervals, draw_lines
from metamae.pages.figure import Chart
from metamae.pages.numbers import HEALTH, NAMES, Line, health_of, series, with_labels
from metamae.pages.page import render

# Title -> key in metrics.jsonl.
CURVES: dict[str, str] = {
    "Loss in training": "loss",
    "Loss, held out": "held_out_loss",
    "R² of the hidden part, in training": "r2",
    "R² of the hidden part, held out": "held_out_r2",
    "Effective rank, held out": "effective_rank",
    "Spread of the embeddings, held out": "feature_std",
}
SAMPLES = "data.fingerprint"  # setting that tells whether two runs learnt from the same samples


@dataclass(frozen=True)
class Run:
    """A run to be compared.

    Attributes:
        name: What it is called on the page; no two the same.
        settings: Dotted name of each setting -> value.
        metrics: Lines of metrics.jsonl.
        results: Entries of results.json.
        text: config.toml as text.
    """

    name: str
    settings: Mapping[str, Any]
    metrics: Sequence[Line]
    results: Sequence[Line]
    text: str


@dataclass(frozen=True)
class Contest:
    """Scores of several runs on the same test samples.

    Attributes:
        title: Label, evaluation, metric and labels.
        chart: The scores on their intervals.
        rows: Name, score and interval of each run and baseline.
        best: Name of the best run, or empty for fewer than two.
        sentence: Which run is best, and whether that is clear.
    """

    title: str
    chart: Chart
    rows: tuple[tuple[str, str, str], ...]
    best: str
    sentence: str


def write_comparison(runs: Sequence[Run]) -> str:
    """Return the page about several runs."""
    contests = hold_contests(runs)
    told = next((c.sentence for c in contests if c.sentence), "")
    return render(
        "compare.html",
        {
            "runs": runs,
            "sentence": told or _without_labels(runs),
            "differing": differing(runs),
            "same_samples": len({run.settings.get(SAMPLES) for run in runs}) == 1,
            "charts": [shown.show_chart(chart) for chart in _curves(runs)],
            "health": _health(runs),
            "contests": contests,
            "show_chart": shown.show_chart,
        },
    )


def flatten(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Turn nested settings into one table of dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flatten(value, f"{above}{name}.")
        else:
            found[f"{above}{name}"] = value
    return found


def differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """Return the settings in which runs differ: name -> value in each."""
    names = dict.fromkeys(name for run in runs for name in run.settings)
    table = {name: [_value(run.settings.get(name)) for run in runs] for name in names}
    return {n: row for n, row in table.items() if len(set(row)) > 1 and n != SAMPLES}


def hold_contests(runs: Sequence[Run]) -> list[Contest]:
    """Put the scores that are of the same test samples beside each other."""
    groups: dict[tuple[Any, ...], list[tuple[str, Line]]] = {}
    for run in runs:
        for entry in run.results:
            own = entry["verdicts"][0]["embedding"]
            for result in entry["results"]:
                name = result["representation"]
                who = run.name if name == own else NAMES.get(name, name)
                judged = (entry["label"], entry["data"], entry["seed"], result["num_test"])
                key = (*judged, result["evaluation"], result["metric"], result["labels"])
                groups.setdefault(key, []).append((who, result))
    names = [run.name for run in runs]
    return [_contest(key, results, names) for key, results in groups.items()]


def _contest(
    key: tuple[Any, ...], results: Sequence[tuple[str, Line]], names: Sequence[str]
) -> Contest:
    label, data, _, num_test, evaluation, metric, labels = key
    budget = with_labels(labels)
    title = (
        f"{label}: {evaluation}, {metric}, {budget}, {num_test} samples of {PurePath(data).name}"
    )
    # Raw features and PCA are the same for all runs; the untrained encoder is that of the first.
    rows: dict[str, tuple[float, float, float]] = {}
    for who, result in sorted(results, key=lambda pair: pair[0] not in names):
        rows.setdefault(who, (result["score"], *result["interval"]))
    own = {who: row for who, row in rows.items() if who in names}
    sign = 1 if results[0][1]["higher_is_better"] else -1
    order = sorted(own, key=lambda who: -sign * own[who][0])
    sentence = ""
    if len(order) > 1:
        first, second = (own[who] for who in order[:2])
        apart = first[1] > second[2] or second[1] > first[2]
        clear = "their intervals do not meet" if apart else "their intervals overlap"
        sentence = (
            f"On label {label} ({evaluation}, {metric}, {budget}) {order[0]} is best with "
            f"{first[0]:.3f} ({first[1]:.3f} to {first[2]:.3f}), before {order[1]} with "
            f"{second[0]:.3f} ({second[1]:.3f} to {second[2]:.3f}); {clear}."
        )
    listed = [(who, *row) for who, row in rows.items()]
    return Contest(
        title=title,
        chart=draw_intervals(title, listed, float(results[0][1]["chance"]), names),
        rows=tuple((n, f"{s:.3f}", f"{low:.3f} to {high:.3f}") for n, s, low, high in listed),
        best=order[0] if sentence else "",
        sentence=sentence,
    )


def _without_labels(runs: Sequence[Run]) -> str:
    found = [(run.name, series(run.metrics, "held_out_r2")) for run in runs]
    told = [f"{name} {points[-1][1]:.3f}" for name, points in found if points]
    opening = "No label has been judged for two of these runs on the same test samples"
    if len(told) < 2:
        return f"{opening}; `metamae evaluate` does that."
    return (
        f"{opening}; without labels, R² of the hidden part: {', '.join(told)}, which compares only "
        f"where data and hidden parts are the same."
    )


def _curves(runs: Sequence[Run]) -> list[Chart]:
    charts = []
    for title, key in CURVES.items():
        found = {run.name: series(run.metrics, key) for run in runs}
        found = {name: points for name, points in found.items() if points}
        if any(len(points) > 1 for points in found.values()):
            charts.append(draw_lines(title, found))
    return charts


def _health(runs: Sequence[Run]) -> dict[str, list[str]]:
    tables = [{fact.name: fact.value for fact in health_of(run.metrics)} for run in runs]
    names = [name for name, _ in HEALTH.values() if any(name in table for table in tables)]
    return {name: [table.get(name, "–") for table in tables] for name in names}


def _value(value: Any) -> str:
    return "–" if value is None else str(value)
