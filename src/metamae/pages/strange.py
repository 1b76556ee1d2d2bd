"""One self-contained HTML page about what was found to be unlike the normal samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.pages.charts import draw_intervals
from metamae.pages.form import Heated
from metamae.pages.heat import draw_heat
from metamae.pages.heat_charts import draw_ramp, draw_scores
from metamae.pages.page import render
from metamae.pages.ramp import ramp_of
from metamae.pages.shown import show_chart

Measured = tuple[float, float, float]
"""A number and the ends of its 95 % interval."""


@dataclass(frozen=True)
class Scored:
    """What one detector or baseline says of all samples.

    Attributes:
        name: Of the detector.
        scores: Strangeness of each sample, (S,).
        threshold: Above which a sample is reported; infinite where there is none.
        raised: Samples that are reported.
        auroc: How well the scores agree with the labels; None without labels.
        aupr: Likewise.
        is_baseline: Whether it looks at raw features.
    """

    name: str
    scores: NDArray[np.float64]
    threshold: float
    raised: int
    auroc: Measured | None = None
    aupr: Measured | None = None
    is_baseline: bool = False


@dataclass(frozen=True)
class Odd:
    """One of the strangest samples.

    Attributes:
        name: What its source calls it.
        score: Its strangeness by the first detector.
        is_reported: Whether that lies above the threshold.
        label: What its label says; empty without one.
        note: Which part of it is shown; empty if that is all of it.
        parts: How it is shown.
    """

    name: str
    score: float
    is_reported: bool
    label: str
    note: str
    parts: Sequence[Heated]


@dataclass(frozen=True)
class Strange:
    """All that the page is made of.

    Attributes:
        title: What was scored.
        summary: With what, in a sentence.
        facts: More about data, normal samples and settings: name -> value.
        notes: What a reader should know.
        header: Names of the columns of the table.
        rows: A row for each detector and baseline.
        scored: What each says, the detectors first; the first one chose the samples.
        unusual: Share of the labelled samples that are not normal; None without labels.
        groups: What samples are called -> which they are, (S,).
        usual: Median of the strangeness of tokens of normal samples, and what one in a hundred
            of them exceeds, by the first detector.
        odd: The strangest samples.
        versions: Library -> version.
    """

    title: str
    summary: str
    facts: Mapping[str, str]
    notes: Sequence[str]
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    scored: Sequence[Scored]
    unusual: float | None
    groups: Mapping[str, NDArray[np.bool_]]
    usual: tuple[float, float]
    odd: Sequence[Odd]
    versions: Mapping[str, str]


def write_strange(found: Strange) -> str:
    """Return the page."""
    sentence, tone = verdict_of(found.scored)
    ramp = ramp_of(found.usual, [part.heat for odd in found.odd for part in odd.parts])
    detectors = [one for one in found.scored if not one.is_baseline]
    charts = [
        draw_scores(one.name, {n: one.scores[at] for n, at in found.groups.items()}, one.threshold)
        for one in detectors
    ]
    views = [
        {"odd": odd, "parts": [draw_heat(part, odd.name, ramp) for part in odd.parts]}
        for odd in found.odd
    ]
    kinds = {part.form.kind for odd in found.odd for part in odd.parts}
    return render(
        "detect.html",
        {
            "found": found,
            "sentence": sentence,
            "tone": tone,
            "by": detectors[0].name,
            "own": {one.name for one in detectors},
            "measured": [show_chart(chart) for chart in _intervals(found)],
            "scores": [show_chart(chart) for chart in charts],
            "ramp": show_chart(draw_ramp(ramp)),
            "views": views,
            "kind": kinds.pop() if len(kinds) == 1 else "several",
        },
        scripts=(),
    )


def verdict_of(scored: Sequence[Scored]) -> tuple[str, str]:
    """Say in one sentence what was found, and how that sounds: a CSS class."""
    first = scored[0]
    if first.auroc is None:
        total = len(first.scores)
        if not np.isfinite(first.threshold):
            return f"{first.name} scored {total} samples; there is no threshold.", "open"
        return f"{first.name} reports {first.raised} of {total} samples.", "open"
    own = f"{first.name} tells normal samples from others with AUROC {_told(first.auroc)}"
    raw = [(one.auroc, one.name) for one in scored if one.is_baseline and one.auroc is not None]
    if not raw:
        return f"{own}.", "open"
    best, name = max(raw)
    tone, apart = "open", "their intervals overlap"
    if first.auroc[1] > best[2]:
        tone, apart = "good", "their intervals do not meet"
    elif first.auroc[2] < best[1]:
        tone, apart = "bad", "their intervals do not meet"
    return f"{own}, the best baseline, {name}, with {_told(best)}; {apart}.", tone


def _intervals(found: Strange) -> list[Any]:
    if found.unusual is None:
        return []
    own = [one.name for one in found.scored if not one.is_baseline]
    charts = []
    for title, key, chance in (("AUROC", "auroc", 0.5), ("AUPR", "aupr", found.unusual)):
        rows = [(one.name, *getattr(one, key)) for one in found.scored]
        charts.append(draw_intervals(title, rows, chance, own))
    return charts


def _told(measured: Measured) -> str:
    score, low, high = measured
    return f"{score:.3f} ({low:.3f} to {high:.3f})"
