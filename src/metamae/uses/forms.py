"""In which form samples of each modality are drawn."""

from metamae.modalities.base import Modality
from metamae.modalities.grid.grid import Grid
from metamae.modalities.points.points import Points
from metamae.modalities.table.table import Table
from metamae.pages.form import Form

LATTICES = {1: "curve", 2: "image", 3: "volume"}


def form_of(spec: Modality, part: str = "") -> Form:
    """Say how samples of a modality are shown."""
    if isinstance(spec, Grid):
        sound = spec.preparation is not None and spec.preparation.name == "log_mel"
        return Form("spectrogram" if sound else LATTICES[len(spec.size)], part)
    if isinstance(spec, Table):
        return Form("row", part, names=tuple(column.name for column in spec.measured))
    if isinstance(spec, Points):
        return Form("points", part, dims=spec.dims)
    return Form("letters", part)
