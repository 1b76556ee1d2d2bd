"""Charts of numbers: drawn by matplotlib, put into a page as vector pictures.

Lines differ in their dashes and not in their colours alone, so that a grey print can be read. A
chart is narrow enough to be read on a phone.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metamae.pages.figure import (
    CHANNELS,
    COLOURS,
    WIDTH,
    Array,
    Chart,
    new_figure,
    plain,
    square,
    to_chart,
)
from metamae.pages.form import Seen
from metamae.pages.thumb import flat

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Series = Sequence[tuple[float, float]]

DASHES = ("-", "--", "-.", ":")
MANY_POINTS = 40  # of a line, above which they are not marked one by one


def draw_lines(title: str, lines: Mapping[str, Series], x_label: str = "step") -> Chart:
    """Draw one line per name over the steps of a training."""
    with new_figure(WIDTH, 2.5) as figure:
        axis = figure.subplots()
        for number, (name, points) in enumerate(lines.items()):
            x, y = np.array(points, dtype=np.float64).T
            few = len(x) <= MANY_POINTS
            axis.plot(
                *(x, y),
                color=COLOURS[number % len(COLOURS)],
                linestyle=DASHES[number % len(DASHES)],
                marker="." if few else "",
                # A name that begins with an underscore would not be in the legend.
                label=f" {name}" if name.startswith("_") else name,
                linewidth=1.3,
            )
        axis.set_xlabel(x_label)
        plain(axis)
        if len(lines) > 1:
            figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        last = "; ".join(f"{name} ends at {p[-1][1]:.4g}" for name, p in lines.items())
        return to_chart(figure, f"{title} over the steps of the training: {last}.", title)


def draw_intervals(
    title: str,
    rows: Sequence[tuple[str, float, float, float]],
    chance: float | None,
    own: Collection[str],
) -> Chart:
    """Draw scores as dots on their 95 % intervals, one row each.

    Args:
        title: Of the chart.
        rows: Name, score and the ends of its interval.
        chance: Score of guessing, a broken line.
        own: Names of the rows that are on trial.
    """
    with new_figure(WIDTH, 0.75 + 0.27 * len(rows)) as figure:
        axis = figure.subplots()
        for at, (name, score, low, high) in enumerate(rows):
            colour = COLOURS[1] if name in own else "#555555"
            axis.plot([low, high], [at, at], color=colour, linewidth=2, solid_capstyle="butt")
            axis.plot(score, at, marker="o", markersize=6, color=colour)
        if chance is not None:
            axis.axvline(chance, color="#777777", linestyle="--", linewidth=1)
            axis.annotate(
                *("chance", (chance, 1)),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="bottom",
                fontsize=8,
                color="#555555",
            )
        axis.set_yticks(range(len(rows)), [name for name, *_ in rows])
        axis.set_ylim(len(rows) - 0.4, -0.6)
        plain(axis, along="x")
        axis.tick_params(axis="y", length=0)
        told = "; ".join(f"{n} {s:.3f} ({low:.3f} to {high:.3f})" for n, s, low, high in rows)
        return to_chart(figure, f"{title}, scores with 95 % intervals: {told}.", title)


def draw_curve(seen: Seen, name: str) -> Chart:
    """Draw a series with what a method made of its hidden stretches, one panel per channel."""
    original = np.asarray(seen.original, dtype=np.float64)
    shown = min(CHANNELS, len(original))
    with new_figure(WIDTH, 0.9 + 0.95 * shown) as figure:
        axes = figure.subplots(shown, 1, sharex=True, squeeze=False)[:, 0]
        for channel, axis in enumerate(axes):
            _panel(axis, seen, channel)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=8
        )
        more = len(original) - shown
        caption = f"{name}; {shown} of {len(original)} channels" if more else name
        share = float(np.mean(seen.hidden))
        alt = f"{name}: a series of which {share:.0%} was hidden, and the predictions for it."
        return to_chart(figure, alt, caption)


def _panel(axis: "Axes", seen: Seen, channel: int) -> None:
    original = np.asarray(seen.original[channel], dtype=np.float64)
    hidden = np.asarray(seen.hidden[channel], dtype=bool)
    steps = np.arange(len(original))
    axis.plot(steps, original, color="#222222", linewidth=1, label="original")
    for number, (start, stop) in enumerate(_stretches(hidden)):
        label = "hidden" if number == 0 else None
        axis.axvspan(start - 0.5, stop - 0.5, color="#dfe6f2", linewidth=0, label=label)
    for (label, guess), colour, dash in zip(
        seen.guesses, (COLOURS[1], COLOURS[0]), ("--", "-"), strict=False
    ):
        # One step more at both ends, so that a line meets what is visible.
        near = hidden.copy()
        near[1:] |= hidden[:-1]
        near[:-1] |= hidden[1:]
        values = np.where(hidden, np.asarray(guess.values[channel], dtype=np.float64), original)
        axis.plot(
            *(steps, np.where(near, values, np.nan)),
            color=colour,
            linestyle=dash,
            linewidth=1.2,
            label=label,
        )
    plain(axis)


def draw_points(seen: Seen, name: str) -> list[Chart]:
    """Draw a set of points: whole, its visible part, and completed by each prediction."""
    original = np.asarray(seen.original, dtype=np.float64)
    hidden: Array = np.asarray(np.asarray(seen.hidden, dtype=bool).any(axis=-1))
    sets: list[tuple[str, Array, Array]] = [
        ("original", original, np.zeros_like(hidden)),
        ("visible part", original[~hidden], hidden[~hidden]),
    ]
    for title, guess in seen.guesses:
        guessed = np.where(hidden[:, None], np.asarray(guess.values, dtype=np.float64), original)
        sets.append((title, guessed, hidden))
    across, up = square(flat(original, seen.form.dims))
    charts = []
    for title, points, marked in sets:
        with new_figure(1.7, 1.7) as figure:
            axis = figure.subplots()
            colour = np.where(marked, COLOURS[1], COLOURS[0])
            axis.scatter(*flat(points, seen.form.dims), s=4, c=colour.tolist(), linewidths=0)
            axis.set_xlim(*across)
            axis.set_ylim(*up)
            axis.set_aspect("equal")
            axis.set_axis_off()
            charts.append(to_chart(figure, f"{name}, {title}", title, vector=False))
    return charts


def _stretches(hidden: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and one past the last position of each run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], hidden, [False]]).astype(np.int8)))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
