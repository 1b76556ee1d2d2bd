"""Rows of a table: columns are measured once on the training data, scaled by that ever after."""

from metamae.modalities.table.table import Table as Table
