"""What a method made of the hidden part of a sample, as HTML in the form that suits the data.

Pictures stand beside each other, curves lie over each other, letters carry their probabilities,
rows are tables, sets of points are scatters.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from metamae.pages import raster
from metamae.pages.charts import draw_curve, draw_points
from metamae.pages.figure import Chart
from metamae.pages.form import Guess, Seen
from metamae.pages.thumb import text_of

Array = NDArray[Any]

LETTERS = 240  # symbols of a sequence that are shown
CELLS = 24  # of a row
SLICES = raster.SLICES


def draw(seen: Seen, name: str) -> Markup:
    """Draw one part of a sample: what was hidden, and the predictions for it."""
    title = f"{name}, {seen.form.part}" if seen.form.part else name
    return DRAW[seen.form.kind](seen, title)


def show_chart(chart: Chart, kind: str = "chart") -> Markup:
    """Write a chart as a figure."""
    below = Markup("<figcaption>{}</figcaption>").format(chart.caption) if chart.caption else ""
    return Markup(
        '<figure class="{}"><img src="{}" alt="{}" width="{}" height="{}">{}</figure>'
    ).format(kind, chart.source, chart.alt, chart.width, chart.height, below)


def _curve(seen: Seen, name: str) -> Markup:
    return show_chart(draw_curve(seen, name)) + _errors(seen)


def _points(seen: Seen, name: str) -> Markup:
    panels = [show_chart(chart, "panel") for chart in draw_points(seen, name)]
    return _panels(name, panels)


def _image(seen: Seen, name: str) -> Markup:
    return _pictures(seen, name, raster.paint, lambda values: values)


def _spectrogram(seen: Seen, name: str) -> Markup:
    return _pictures(seen, name, raster.paint_heat, lambda values: values)


def _volume(seen: Seen, name: str) -> Markup:
    return _pictures(seen, name, raster.paint, raster.montage)


def _pictures(
    seen: Seen,
    name: str,
    paint: Callable[..., raster.Pixels],
    flatten: Callable[[Array], Array],
) -> Markup:
    original, hidden = (flatten(np.asarray(v)) for v in (seen.original, seen.hidden))
    scale = raster.limits(original)
    painted = [
        ("original", paint(original, scale)),
        ("visible part", paint(original, scale, hidden)),
    ]
    for title, guess in seen.guesses:
        completed = np.where(hidden, flatten(np.asarray(guess.values)), original)
        painted.append((title, paint(completed, scale)))
    panels = [
        Markup(
            '<figure class="panel"><img class="pixels" src="{}" alt="{}">'
            "<figcaption>{}</figcaption></figure>"
        ).format(raster.to_uri(raster.enlarged(pixels)), f"{name}, {title}", title)
        for title, pixels in painted
    ]
    return _panels(name, panels) + _errors(seen)


def _panels(name: str, panels: list[Markup]) -> Markup:
    inner = Markup("").join(panels)
    return Markup('<h3>{}</h3><div class="panels">{}</div>').format(name, inner)


def _errors(seen: Seen) -> Markup:
    """Say how far the predictions are off, in the user's units."""
    original = np.asarray(seen.original, dtype=np.float64)
    judged = np.asarray(seen.hidden, dtype=bool) & np.isfinite(original)
    if not judged.any():
        return Markup("")
    parts = []
    for title, guess in seen.guesses:
        off = np.asarray(guess.values, dtype=np.float64)[judged] - original[judged]
        parts.append(f"{np.sqrt(np.mean(off**2)):.4g} {title}")
    spread = float(original[np.isfinite(original)].std())
    return Markup(
        '<p class="small">Root mean square error of the hidden part: {} (spread of the sample: '
        "{}).</p>"
    ).format(", ".join(parts), f"{spread:.4g}")


def _letters(seen: Seen, name: str) -> Markup:
    symbols, hidden = list(seen.original)[:LETTERS], np.asarray(seen.hidden, dtype=bool)
    lines = [_line("original", symbols, hidden, None, symbols)]
    lines += [_line(title, symbols, hidden, guess, symbols) for title, guess in seen.guesses]
    hits = []
    for title, guess in seen.guesses:
        right = [guess.values[n] == symbols[n] for n in np.flatnonzero(hidden[: len(symbols)])]
        hits.append(f"{sum(right)} of {len(right)} {title}")
    cut = len(seen.original) - len(symbols)
    more = f" The last {cut} symbols are not shown." if cut else ""
    return Markup(
        '<h3>{}</h3>{}<p class="small">Hidden symbols guessed: {}. Below each guess stands its '
        "probability in percent.{}</p>"
    ).format(name, Markup("").join(lines), ", ".join(hits), more)


def _line(
    title: str,
    symbols: list[Any],
    hidden: NDArray[np.bool_],
    guess: Guess | None,
    truth: list[Any],
) -> Markup:
    """One line of symbols; a guess has its probability in percent below it."""
    boxes = []
    for at, symbol in enumerate(symbols):
        if not hidden[at]:
            boxes.append(Markup("<span>{}</span>").format(visible(symbol)))
        elif guess is None:
            boxes.append(Markup('<span class="hid">{}</span>').format(visible(symbol)))
        else:
            kind = "hit" if guess.values[at] == truth[at] else "miss"
            chance = guess.chances[at] if guess.chances else None
            below = "" if chance is None else f"{100 * chance:.0f}"
            boxes.append(
                Markup('<span class="{}">{}<small>{}</small></span>').format(
                    kind, visible(guess.values[at]), below
                )
            )
    return Markup('<p class="line"><b>{}</b> {}</p>').format(title, Markup("").join(boxes))


def visible(symbol: Any) -> str:
    """Show blanks as a sign, for a box with nothing in it says nothing."""
    text = str(symbol)
    return text.replace(" ", "␣").replace("\n", "↵").replace("\t", "⇥") or "∅"


def _row(seen: Seen, name: str) -> Markup:
    hidden = np.asarray(seen.hidden, dtype=bool)
    # What was hidden is what the table is for.
    order = np.concatenate([np.flatnonzero(hidden), np.flatnonzero(~hidden)])[:CELLS]
    titles = [title for title, _ in seen.guesses]
    head = Markup("").join(
        Markup('<th scope="col">{}</th>').format(t) for t in ["column", "value", *titles]
    )
    body = [_cells(seen, int(at), bool(hidden[at])) for at in order]
    left = len(hidden) - len(order)
    more = f" {left} more columns are not shown." if left else ""
    return Markup(
        '<h3>{}</h3><div class="wide" tabindex="0" role="region" aria-label="{}"><table><thead>'
        '<tr>{}</tr></thead><tbody>{}</tbody></table></div><p class="small">{} of {} cells were '
        "hidden.{}</p>"
    ).format(name, name, head, Markup("").join(body), int(hidden.sum()), len(hidden), more)


def _cells(seen: Seen, at: int, is_hidden: bool) -> Markup:
    cells = [Markup("<td>{}</td>").format(text_of(seen.original[at]))]
    for _, guess in seen.guesses:
        if not is_hidden:
            gone = text_of(seen.original[at]) == text_of(None)
            cells.append(
                Markup('<td class="known">{}</td>').format("missing" if gone else "visible")
            )
            continue
        chance = guess.chances[at] if guess.chances else None
        sure = "" if chance is None else f" ({100 * chance:.0f} %)"
        cells.append(Markup("<td>{}{}</td>").format(text_of(guess.values[at]), sure))
    return Markup('<tr{}><th scope="row">{}</th>{}</tr>').format(
        Markup(' class="hid"') if is_hidden else "", seen.form.names[at], Markup("").join(cells)
    )


DRAW: dict[str, Callable[[Seen, str], Markup]] = {
    "image": _image,
    "spectrogram": _spectrogram,
    "volume": _volume,
    "curve": _curve,
    "points": _points,
    "letters": _letters,
    "row": _row,
}
