"""Sets of points: checked, put in order, measured, and cut into groups."""

from metamae.modalities.points.points import Points as Points
