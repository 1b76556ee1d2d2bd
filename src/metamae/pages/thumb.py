"""A whole sample as a few hundred bytes of HTML: what a map shows of the point under the hand."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from metamae.modalities.form import Form
from metamae.pages import raster
from metamae.pages.form import Sample

Array = NDArray[Any]

PIXELS = 48  # of a picture's longer side
WIDTH, HEIGHT = 96, 40  # of a curve
STEPS = 48  # of a curve
CHANNELS = 3  # of a curve
POINTS = 96  # of a set of points
LETTERS = 90
CELLS = 6  # of a row
COLOURS = ("#1b5fa8", "#b3541e", "#2c7a3f")


def draw(sample: Sample) -> Markup:
    """Draw a sample as HTML; everything that came from the user is escaped."""
    drawn = []
    for form, value in sample.parts:
        inner = DRAW[form.kind](form, value)
        name = Markup("<b>{}</b> ").format(form.part) if form.part else Markup("")
        drawn.append(Markup('<div class="part">{}{}</div>').format(name, inner))
    return Markup("").join(drawn)


def text_of(value: Any, most: int = 24) -> str:
    """Write a cell: numbers with five digits, nothing for what is missing, long texts cut."""
    if value is None or (isinstance(value, float | np.floating) and np.isnan(value)):
        return "–"
    if isinstance(value, float | np.floating):
        return f"{float(value):.5g}"
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _image(form: Form, value: Array) -> Markup:
    return _picture(raster.paint(value, raster.limits(value)))


def _spectrogram(form: Form, value: Array) -> Markup:
    return _picture(raster.paint_heat(value, raster.limits(value)), 2 * PIXELS)


def _volume(form: Form, value: Array) -> Markup:
    flat = raster.montage(value)
    return _picture(raster.paint(flat, raster.limits(flat)), raster.SLICES * PIXELS)


def _picture(pixels: raster.Pixels, most: int = PIXELS) -> Markup:
    return Markup('<img class="thumb" alt="" src="{}">').format(raster.to_uri(pixels, most))


def _curve(form: Form, value: Array) -> Markup:
    paths = []
    for number, channel in enumerate(np.asarray(value, dtype=np.float64)[:CHANNELS]):
        low, high = _ends(channel)
        steps = _thinned(channel)
        x = np.linspace(1, WIDTH - 1, len(steps))
        y = 1 + (HEIGHT - 2) * (1 - (steps - low) / (high - low))
        paths.append(Markup('<path stroke="{}" d="{}"/>').format(COLOURS[number], _path(x, y)))
    return _svg(WIDTH, HEIGHT, "curve", paths)


def _points(form: Form, value: Array) -> Markup:
    x, y = flat(np.asarray(value, dtype=np.float64), form.dims)
    known = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(known) > POINTS:
        known = known[np.linspace(0, len(known) - 1, POINTS).astype(np.int64)]
    x, y = x[known], y[known]
    middle_x, middle_y = (float(np.mean(_ends(v))) for v in (x, y))
    half = max(np.ptp(_ends(x)), np.ptp(_ends(y))) / 2
    across, up = (x - middle_x) / half, (y - middle_y) / half
    at = zip(29 + 27 * across, 29 - 27 * up, strict=True)
    dots = "".join(f"M{a:.0f} {b:.0f}h0" for a, b in at)
    return _svg(58, 58, "dots", [Markup('<path stroke="{}" d="{}"/>').format(COLOURS[0], dots)])


def _letters(form: Form, value: str) -> Markup:
    return Markup('<span class="letters">{}</span>').format(text_of(value, LETTERS))


def _row(form: Form, value: Sequence[Any]) -> Markup:
    cells = [
        Markup("<tr><td>{}</td><td>{}</td></tr>").format(text_of(name), text_of(cell))
        for name, cell in zip(form.names[:CELLS], value, strict=False)
    ]
    if len(form.names) > CELLS:
        more = len(form.names) - CELLS
        cells.append(Markup("<tr><td>… {} more</td><td></td></tr>").format(more))
    return Markup('<table class="cells">{}</table>').format(Markup("").join(cells))


DRAW: dict[str, Callable[[Form, Any], Markup]] = {
    "image": _image,
    "spectrogram": _spectrogram,
    "volume": _volume,
    "curve": _curve,
    "points": _points,
    "letters": _letters,
    "row": _row,
}


def flat(points: Array, dims: int) -> tuple[Array, Array]:
    """Project points (points, C) on the plane; three coordinates are seen from a corner."""
    if dims == 1:
        return points[:, 0], points[:, 1] if points.shape[1] > 1 else np.zeros(len(points))
    if dims == 2:
        return points[:, 0], points[:, 1]
    x, y, z = points[:, :3].T
    return (x - y) * np.cos(np.pi / 6), z - (x + y) * np.sin(np.pi / 6)


def _svg(width: int, height: int, name: str, inner: list[Markup]) -> Markup:
    return Markup(
        '<svg class="thumb {}" viewBox="0 0 {} {}" width="{}" height="{}" aria-hidden="true">{}'
        "</svg>"
    ).format(name, width, height, width, height, Markup("").join(inner))


def _path(x: Array, y: Array) -> str:
    """Lines between known points, with a gap where there is none."""
    pieces, pen_is_down = [], False
    for across, down in zip(x, y, strict=True):
        if not np.isfinite(down):
            pen_is_down = False
            continue
        pieces.append(f"{'L' if pen_is_down else 'M'}{across:.0f} {down:.0f}")
        pen_is_down = True
    return "".join(pieces)


def _thinned(curve: Array) -> Array:
    """At most `STEPS` of a curve's points."""
    if len(curve) <= STEPS:
        return curve
    return curve[np.linspace(0, len(curve) - 1, STEPS).astype(np.int64)]


def _ends(values: Array) -> tuple[float, float]:
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
