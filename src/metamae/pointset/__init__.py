"""Sets of points: checked, put in order, measured, and cut into groups."""
