"""Numbers on regular lattices: read from columns, prepared, scaled, and cut into cells."""
