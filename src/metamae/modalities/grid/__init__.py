"""Numbers on regular grids (series, images, volumes): read, prepared, scaled, cut into cells."""

from metamae.modalities.grid.grid import Grid as Grid
