"""A sample with the strangeness of its places as colours, as HTML in the form that suits it.

Colours are never alone: the strangest place is said in words, and cells of a row in numbers.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from metamae.pages import raster
from metamae.pages.form import Heated
from metamae.pages.heat_charts import draw_heated_curve, draw_heated_points
from metamae.pages.ramp import Ramp, css, ink_on
from metamae.pages.shown import LETTERS, show_chart, visible
from metamae.pages.thumb import text_of

Array = NDArray[Any]

DIMMED = 0.62  # of a colour's brightness, where the picture below it is black
CELLS = 12  # of a row that are shown
TOLD = 3  # symbols that are said to be the strangest


def draw_heat(heated: Heated, name: str, ramp: Ramp) -> Markup:
    """Draw one part of a sample with the strangeness of its places.

    Args:
        heated: The part.
        name: Of the sample.
        ramp: The colours.
    """
    title = f"{name}, {heated.form.part}" if heated.form.part else name
    heading = Markup("<h4>{}</h4>").format(heated.form.part) if heated.form.part else Markup("")
    if np.isfinite(np.asarray(heated.heat, dtype=np.float64)).any():
        return heading + DRAW[heated.form.kind](heated, title, ramp)
    return heading + Markup("<p>Nothing is there that could be scored.</p>")


def _image(heated: Heated, name: str, ramp: Ramp) -> Markup:
    plane = np.fmax.reduce(heated.heat, axis=0)
    pixels = raster.paint(heated.values, raster.limits(heated.values))
    place = _place(plane, ("rows", "columns"))
    return _pictures(name, pixels, pixels, ramp.colours(plane), place)


def _spectrogram(heated: Heated, name: str, ramp: Ramp) -> Markup:
    plane = np.fmax.reduce(heated.heat, axis=0)
    scale = raster.limits(heated.values)
    # Low bands at the bottom, as `raster.paint_heat` has them.
    grey, colours = raster.paint(heated.values, scale)[::-1], ramp.colours(plane)[::-1]
    place = _place(plane, ("bands", "frames"))
    return _pictures(name, raster.paint_heat(heated.values, scale), grey, colours, place)


def _volume(heated: Heated, name: str, ramp: Ramp) -> Markup:
    solid = np.fmax.reduce(heated.heat, axis=0)
    chosen = _slices(solid)
    values = raster.montage(np.asarray(heated.values), chosen)
    pixels = raster.paint(values, raster.limits(np.asarray(heated.values)))
    colours = ramp.colours(raster.montage(solid[None], chosen)[0])
    place = _place(solid, ("slices", "rows", "columns"))
    shown = ", ".join(str(at) for at in chosen)
    note = Markup('<p class="small">Slices {} of {}.</p>').format(shown, len(solid))
    return _pictures(name, pixels, pixels, colours, place) + note


def _slices(solid: Array) -> NDArray[np.int64]:
    """The strangest slice of each of a few equal parts of a volume."""
    heat = np.nan_to_num(solid, nan=-np.inf).max(axis=(1, 2))
    parts = np.array_split(np.arange(len(heat)), min(raster.SLICES, len(heat)))
    return np.array([part[np.argmax(heat[part])] for part in parts], dtype=np.int64)


def _pictures(
    name: str, pixels: raster.Pixels, below: raster.Pixels, colours: raster.Pixels, place: str
) -> Markup:
    """A picture, and beside it the colours over a grey one."""
    grey = below.mean(axis=2, keepdims=True) / 255
    over = (colours * (DIMMED + (1 - DIMMED) * grey)).round().astype(np.uint8)
    panels = [("sample", name, pixels), ("strangeness", f"{name}: {place}", over)]
    figures = [
        Markup(
            '<figure class="panel"><img class="pixels" src="{}" alt="{}">'
            "<figcaption>{}</figcaption></figure>"
        ).format(raster.to_uri(raster.enlarged(shown)), alt, title)
        for title, alt, shown in panels
    ]
    return Markup('<div class="panels two">{}</div>').format(Markup("").join(figures)) + _said(
        place
    )


def _curve(heated: Heated, name: str, ramp: Ramp) -> Markup:
    # Most tokens span all channels; then naming one would mislead.
    first = heated.heat[:1]
    alike = ((heated.heat == first) | (np.isnan(heated.heat) & np.isnan(first))).all()
    heat = heated.heat[0] if alike else heated.heat
    place = _place(heat, ("steps",) if alike else ("channels", "steps"))
    chart = draw_heated_curve(heated, ramp, f"{name}: a series. {place}")
    return show_chart(chart) + _said(place)


def _points(heated: Heated, name: str, ramp: Ramp) -> Markup:
    heat = np.fmax.reduce(heated.heat, axis=1)
    peak = np.nanmax(heat)
    centre = np.asarray(heated.values, dtype=np.float64)[heat == peak].mean(axis=0)
    around = ", ".join(f"{v:.4g}" for v in centre[: heated.form.dims])
    place = f"Strangest: around ({around}), {peak:.4g}."
    chart = draw_heated_points(heated, ramp, f"{name}: a set of points. {place}")
    return show_chart(chart, "panel") + _said(place)


def _letters(heated: Heated, name: str, ramp: Ramp) -> Markup:
    symbols, heat = list(heated.values), np.asarray(heated.heat, dtype=np.float64)
    order = np.argsort(-np.nan_to_num(heat, nan=-np.inf), kind="stable")
    start = int(np.clip(order[0] - LETTERS // 2, 0, max(0, len(symbols) - LETTERS)))
    stop = min(start + LETTERS, len(symbols))
    boxes = []
    for at, colour in zip(range(start, stop), ramp.colours(heat[start:stop]), strict=True):
        boxes.append(
            Markup('<span style="background:{};color:{}">{}</span>').format(
                css(colour), ink_on(colour), visible(symbols[at])
            )
        )
    told = ", ".join(
        f"{visible(symbols[at])} at {at} ({heat[at]:.4g})"
        for at in order[:TOLD]
        if np.isfinite(heat[at])
    )
    cut = stop - start < len(symbols)
    more = f" Symbols {start} to {stop - 1} of {len(symbols)} are shown." if cut else ""
    line = Markup('<p class="line heat">{}</p>').format(Markup("").join(boxes))
    return line + _said(f"Strangest: {told}.{more}")


def _row(heated: Heated, name: str, ramp: Ramp) -> Markup:
    heat = np.asarray(heated.heat, dtype=np.float64)
    order = np.argsort(-np.nan_to_num(heat, nan=-np.inf), kind="stable")[:CELLS]
    rows = []
    for at, colour in zip(order.tolist(), ramp.colours(heat[order]), strict=True):
        rows.append(
            Markup(
                '<tr><th scope="row">{}</th><td>{}</td>'
                '<td class="heat" style="background:{};color:{}">{}</td></tr>'
            ).format(
                heated.form.names[at],
                text_of(heated.values[at]),
                css(colour),
                ink_on(colour),
                "–" if np.isnan(heat[at]) else f"{heat[at]:.4g}",
            )
        )
    left = len(heat) - len(order)
    more = f"{left} columns that are less strange are not shown." if left else ""
    return Markup(
        '<div class="wide" tabindex="0" role="region" aria-label="{}"><table><thead><tr>'
        '<th scope="col">column</th><th scope="col">value</th><th scope="col">strangeness</th>'
        "</tr></thead><tbody>{}</tbody></table></div>"
    ).format(name, Markup("").join(rows)) + _said(more)


def _place(heat: Array, axes: Sequence[str]) -> str:
    """Say where the strangest place lies along each axis, and its strangeness."""
    peak = np.nanmax(heat)
    parts = []
    for name, positions in zip(axes, np.nonzero(heat == peak), strict=True):
        first, last = int(positions.min()), int(positions.max())
        parts.append(f"{name} {first} to {last}" if last > first else f"{name[:-1]} {first}")
    return f"Strangest: {', '.join(parts)}, {peak:.4g}."


def _said(text: str) -> Markup:
    return Markup('<p class="small">{}</p>').format(text) if text else Markup("")


DRAW: dict[str, Callable[[Heated, str, Ramp], Markup]] = {
    "image": _image,
    "spectrogram": _spectrogram,
    "volume": _volume,
    "curve": _curve,
    "points": _points,
    "letters": _letters,
    "row": _row,
}
