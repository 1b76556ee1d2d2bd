"""A figure of matplotlib, and how it becomes a picture in a page.

Colours are those of Okabe & Ito, which most people tell apart.
"""

import base64
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[Any]

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
WIDTH = 4.0  # inches
CHANNELS = 4  # of a curve that are drawn


@dataclass(frozen=True)
class Chart:
    """A picture in a page.

    Attributes:
        source: The picture as a data URI.
        alt: What it shows, for who cannot see it.
        caption: What stands below it.
        width: In CSS pixels.
        height: In CSS pixels.
    """

    source: str
    alt: str
    caption: str
    width: int
    height: int


@contextmanager
def new_figure(width: float, height: float) -> Iterator["Figure"]:
    """Yield a figure with settings of our own, whatever a user's matplotlib is set to."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        **matplotlib.rcParamsDefault,
        "backend": "agg",
        "font.size": 9,
        # The salt makes the same chart the same text every time.
        "svg.hashsalt": "metamae",
        "svg.fonttype": "path",
        # A name with a dollar in it is a name and no formula.
        "text.parse_math": False,
    }
    with matplotlib.rc_context(settings), warnings.catch_warnings():
        # A sign that the font does not have is drawn as a box.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield Figure(figsize=(width, height), layout="constrained")


def plain(axis: "Axes", along: str = "y") -> None:
    """Take away what says nothing, and add a faint grid."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis=along, color="#e3e3e3", linewidth=0.6)  # type: ignore[arg-type]
    axis.set_axisbelow(True)


def to_chart(figure: "Figure", alt: str, caption: str, *, vector: bool = True) -> Chart:
    """Turn a figure into a picture in a page."""
    buffer = BytesIO()
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    if vector:
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing)
    else:
        figure.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    kind = "image/svg+xml" if vector else "image/png"
    content = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Chart(f"data:{kind};base64,{content}", alt, caption, width, height)


def square(places: tuple[Array, Array]) -> list[tuple[float, float]]:
    """Ends of both axes of a square that holds all places with some space around them."""
    ends = []
    for values in places:
        known = values[np.isfinite(values)]
        ends.append((float(known.min()), float(known.max())) if known.size else (0.0, 1.0))
    half = 0.55 * max(high - low for low, high in ends) or 0.5
    return [((low + high) / 2 - half, (low + high) / 2 + half) for low, high in ends]
