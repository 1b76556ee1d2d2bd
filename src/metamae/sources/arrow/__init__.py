"""Arrow tables, in memory or in files of any size, as columns and records."""

from metamae.sources.arrow.convert import arrow_column, arrow_values
from metamae.sources.arrow.files import IN_MEMORY, TableFiles
from metamae.sources.arrow.tables import annotated_records, frame_table, table_records

__all__ = [
    "IN_MEMORY",
    "TableFiles",
    "annotated_records",
    "arrow_column",
    "arrow_values",
    "frame_table",
    "table_records",
]
