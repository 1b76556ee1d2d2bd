"""Arrow tables, in memory or in files of any size, as columns and records."""

from metamae.data.arrow.convert import arrow_column, arrow_values
from metamae.data.arrow.files import IN_MEMORY, TableFiles
from metamae.data.arrow.tables import annotated_records, frame_table, table_records

__all__ = [
    "IN_MEMORY",
    "TableFiles",
    "annotated_records",
    "arrow_column",
    "arrow_values",
    "frame_table",
    "table_records",
]
