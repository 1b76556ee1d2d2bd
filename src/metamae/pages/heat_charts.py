"""Charts of strangeness: scores beside their threshold, a scale of colours, curves and points."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

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
from metamae.pages.form import Heated
from metamae.pages.ramp import Ramp
from metamae.pages.thumb import flat

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 32
FAR = 5.0  # times the way from the least score to the threshold that are drawn
# Fill, edge and hatch of the groups of a histogram, which a grey print tells apart.
BARS = (("#a9cbe4", COLOURS[0], ""), ("none", COLOURS[1], "////"), ("none", "#555555", "...."))


def draw_scores(title: str, groups: Mapping[str, Array], threshold: float) -> Chart:
    """Draw how often scores occur, and the threshold.

    Args:
        title: Whose scores.
        groups: What samples are called -> their scores; one, two or three groups.
        threshold: Above which a sample is reported; infinite if there is none.
    """
    groups = {name: scores[np.isfinite(scores)] for name, scores in groups.items()}
    every = np.concatenate(list(groups.values()))
    edges, is_cut = _edges(every, threshold)
    with new_figure(WIDTH, 2.4) as figure:
        axis = figure.subplots()
        for (name, scores), (fill, edge, hatch) in zip(groups.items(), BARS, strict=False):
            counts, _ = np.histogram(np.clip(scores, edges[0], edges[-1]), edges)
            axis.stairs(
                *(counts, edges),
                label=name,
                fill=True,
                facecolor=fill,
                edgecolor=edge,
                hatch=hatch,
                linewidth=1,
            )
        above = int((every > threshold).sum())
        said = "no threshold"
        if np.isfinite(threshold):
            axis.axvline(
                threshold, color="#000000", linestyle="--", linewidth=1.2, label="threshold"
            )
            said = f"threshold {threshold:.4g}, {above} of {len(every)} above it"
        axis.set_xlabel("strangeness")
        axis.set_ylabel("samples")
        plain(axis)
        figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
        middles = ", ".join(f"{n} {np.median(s):.4g}" for n, s in groups.items() if len(s))
        tail = "; the last bar holds all that lie further out" if is_cut else ""
        alt = f"Strangeness by {title}: {said}; medians: {middles}{tail}."
        return to_chart(figure, alt, f"{title}: {said}{tail}")


def _edges(scores: Array, threshold: float) -> tuple[Array, bool]:
    """Edges of the bars, and whether the last one stands for a long tail."""
    if not scores.size:
        return np.linspace(0, 1, BINS + 1), False
    low, most, high = (float(v) for v in np.quantile(scores, (0, 0.95, 1)))
    # What is to be seen lies around the threshold, however far off the strangest are.
    near = threshold if np.isfinite(threshold) else most
    if near > low:
        high = max(near, min(high, low + FAR * (near - low)))
    low = min(low, near)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, BINS + 1), bool(scores.max() > high)


def draw_ramp(ramp: Ramp) -> Chart:
    """Draw which strangeness has which colour."""
    with new_figure(WIDTH, 0.85) as figure:
        axis = figure.subplots()
        axis.imshow(
            ramp.colours(ramp.value(np.linspace(0, 1, 256)))[None],
            extent=(0, 1, 0, 1),
            aspect="auto",
            interpolation="nearest",
        )
        axis.axvline(float(ramp.share(np.array(ramp.rare))), color="#000000", linestyle="--")
        axis.set_yticks([])
        ticks = np.linspace(0, 1, 5)
        axis.set_xticks(ticks, [f"{value:.3g}" for value in ramp.value(ticks)])
        axis.set_xlabel("strangeness of a place", fontsize=8)
        alt = (
            f"Colours of strangeness: white for {ramp.low:.4g} and less, by way of yellow, orange "
            f"and red to dark violet for {ramp.high:.4g} and more."
        )
        caption = (
            f"White: {ramp.low:.4g} or less, as half of the tokens of normal samples. Broken line: "
            f"{ramp.rare:.4g}, which one in a hundred of them exceeds. Dark violet: "
            f"{ramp.high:.4g} or more. Grey: nothing is there."
        )
        return to_chart(figure, alt, caption)


def draw_heated_curve(heated: Heated, ramp: Ramp, alt: str) -> Chart:
    """Draw a series over the strangeness of its stretches, the strangest channels of many."""
    values = np.asarray(heated.values, dtype=np.float64)
    hottest = np.fmax.reduce(np.nan_to_num(heated.heat, nan=-np.inf), axis=1)
    chosen = np.sort(np.argsort(-hottest, kind="stable")[:CHANNELS])
    with new_figure(WIDTH, 0.5 + 0.95 * len(chosen)) as figure:
        axes = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
        for channel, axis in zip(chosen.tolist(), axes, strict=True):
            _over_heat(axis, values[channel], ramp.colours(heated.heat[channel]))
            if len(values) > 1:
                axis.set_ylabel(f"channel {channel}", fontsize=8)
        caption = ""
        if len(chosen) < len(values):
            which = (
                "the first" if chosen[-1] == len(chosen) - 1 else "those of the strangest places"
            )
            caption = f"{len(chosen)} of {len(values)} channels: {which}"
        return to_chart(figure, alt, caption)


def _over_heat(axis: "Axes", curve: Array, colours: Array) -> None:
    from matplotlib.patheffects import withStroke

    known = curve[np.isfinite(curve)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    margin = 0.08 * (high - low) or 0.5
    low, high = low - margin, high + margin
    axis.imshow(
        colours[None],
        extent=(-0.5, len(curve) - 0.5, low, high),
        aspect="auto",
        interpolation="nearest",
    )
    # With a white rim, the line can be read on the darkest colour too.
    rim = [withStroke(linewidth=2.6, foreground="#ffffff")]
    axis.plot(curve, color="#111111", linewidth=1.1, path_effects=rim)
    axis.set_ylim(low, high)
    plain(axis)
    axis.grid(visible=False)


def draw_heated_points(heated: Heated, ramp: Ramp, alt: str) -> Chart:
    """Draw a set of points, each in the colour of its strangeness, the strangest on top."""
    values = np.asarray(heated.values, dtype=np.float64)
    heat = np.fmax.reduce(heated.heat, axis=1)
    order: Sequence[int] = np.argsort(np.nan_to_num(heat, nan=-np.inf), kind="stable").tolist()
    places = x, y = flat(values, heated.form.dims)
    with new_figure(3.0, 3.0) as figure:
        axis = figure.subplots()
        axis.scatter(
            x[order],
            y[order],
            s=14 if len(values) <= 500 else 6,
            c=ramp.colours(heat[order]) / 255,
            edgecolors="#6b6b6b",
            linewidths=0.3,
        )
        across, up = square(places)
        axis.set_xlim(*across)
        axis.set_ylim(*up)
        axis.set_aspect("equal")
        axis.set_axis_off()
        return to_chart(figure, alt, "", vector=False)
