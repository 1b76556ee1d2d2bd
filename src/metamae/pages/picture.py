"""A picture of what a method makes of samples that it saw in part.

One row per sample: the original, what was left visible, and the same completed with what the
method predicts for the hidden part, before and after the inner step. Images are drawn as images,
series as curves, rows of a table as strips of coloured cells.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.atomic import write_atomically
from metamae.errors import DataError

Values = NDArray[Any]
MOST_SAMPLES = 8


@dataclass(frozen=True)
class Panel:
    """One column of the picture.

    Attributes:
        title: What it shows.
        values: (B, ...) in the user's units.
        blank: True where nothing is shown, the shape of `values`; None to show all.
    """

    title: str
    values: Values
    blank: NDArray[np.bool_] | None = None


def draw_reconstruction(
    path: Path,
    *,
    original: Values,
    hidden: NDArray[np.bool_],
    before: Values,
    after: Values | None,
    title: str,
) -> None:
    """Draw a picture and write it as PNG.

    Args:
        path: The file.
        original: Samples: images (B, C, H, W), series (B, C, L), or rows of numbers (B, N).
        hidden: True where a value was hidden from the encoder, the shape of `original`.
        before: Reconstruction before the inner step.
        after: The same after it; None for a method that has none.
        title: Of the picture.

    Raises:
        DataError: If the samples are of a kind that cannot be drawn.
        ArtifactError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        Panel("original", original),
        Panel("visible part", original, hidden),
        Panel(
            "completed" if after is None else "completed before the inner step",
            np.where(hidden, before, original),
        ),
    ]
    if after is not None:
        panels.append(Panel("completed after the inner step", np.where(hidden, after, original)))
    draw = _painter(original)
    rows = min(len(original), MOST_SAMPLES)
    tall = 1.3 if original.ndim == 4 else 0.8
    figure = Figure(figsize=(2.4 * len(panels), tall * rows + 0.9), layout="constrained")
    axes = figure.subplots(rows, len(panels), squeeze=False)
    for row in range(rows):
        for column, panel in enumerate(panels):
            axis = axes[row][column]
            axis.set_xticks([])
            axis.set_yticks([])
            draw(axis, panel, row, original)
            if row == 0:
                axis.set_title(panel.title, fontsize=9)
    figure.suptitle(title, fontsize=10)
    FigureCanvasAgg(figure)
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=120))


Painter = Callable[[Any, Panel, int, Values], None]


def _painter(original: Values) -> Painter:
    if original.ndim == 4:
        return _image
    if original.ndim == 3:
        return _series
    if original.ndim == 2 and all(isinstance(v, int | float | None) for v in original.flat):
        return _strip
    raise DataError(
        f"Picture.original must be images, series or rows of numbers; got shape {original.shape} "
        f"of {original.dtype}. Leave other columns out to draw the rest."
    )


def _image(axis: Any, panel: Panel, row: int, original: Values) -> None:
    """Channels 0 to 2 as colours if there are three, else the first as grey."""
    colour = original.shape[1] == 3
    shown, scale = (v[:, :3] if colour else v[:, :1] for v in (panel.values, original))
    low, high = _limits(scale)
    unit = np.clip((shown[row] - low) / (high - low), 0, 1).transpose(1, 2, 0)
    pixels = np.repeat(unit, 1 if colour else 3, axis=2)
    if panel.blank is not None:
        pixels[panel.blank[row, 0]] = (0.55, 0.65, 0.85)
    axis.imshow(pixels, interpolation="nearest")


def _series(axis: Any, panel: Panel, row: int, original: Values) -> None:
    for channel in range(min(3, original.shape[1])):
        curve = panel.values[row, channel].astype(float)
        if panel.blank is not None:
            curve = np.where(panel.blank[row, channel], np.nan, curve)
        axis.plot(curve, linewidth=0.9)
    low, high = _limits(original[row, :3])
    axis.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))


def _strip(axis: Any, panel: Panel, row: int, original: Values) -> None:
    """Cells in standard deviations from their column's mean, from blue over white to red."""
    numbers, scale = (v.astype(float) for v in (panel.values, original))
    there = ~np.isnan(scale)
    count = there.sum(axis=0).clip(min=1)
    mean = np.where(there, scale, 0).sum(axis=0) / count
    std = np.sqrt((np.where(there, scale - mean, 0) ** 2).sum(axis=0) / count)
    cells = (numbers[row] - mean) / np.maximum(std, 1e-12)
    if panel.blank is not None:
        cells = np.where(panel.blank[row], np.nan, cells)
    axis.set_facecolor("0.75")
    axis.imshow(cells[None], aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5)


def _limits(values: Values) -> tuple[float, float]:
    """Least and greatest of the known values, a little apart even where all are equal."""
    known = values[~np.isnan(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = float(known.min()), float(known.max())
    return (low, high) if high > low else (low - 0.5, high + 0.5)
