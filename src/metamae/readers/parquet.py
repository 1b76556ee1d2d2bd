"""Tables in Parquet or Arrow IPC (Feather) files."""

import logging
import re
from pathlib import Path
from typing import Any, ClassVar

from metamae.arrow import table_records
from metamae.aside import Aside
from metamae.checks import check_at_least
from metamae.files import UNPACKED_MOST, check_field, check_unpacked, find_file, legible
from metamae.readers.base import Reader
from metamae.records import Records

_log = logging.getLogger("metamae")


class ParquetReader(Reader):
    """Reads every column of a table as a field of its own.

    Args:
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "a table in Parquet or Arrow (Feather) format, a field per column"
    extensions: ClassVar[tuple[str, ...]] = (".parquet", ".pq", ".arrow", ".feather", ".ipc")

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("ParquetReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        path, source = find_file(data), str(data)
        rule = "must be a complete Parquet or Arrow file"
        with legible(source, rule, "Write it again."):
            with path.open("rb") as file:
                magic = file.read(4)
            load = self._parquet if magic == b"PAR1" else self._arrow
            table = load(path, source, field)
            # Before any value is touched: damaged offsets, once followed, can end the process.
            table.validate(full=True)
        index = [name for name in table.column_names if re.fullmatch(r"__index_level_\d+__", name)]
        if index and field not in index:
            _log.info("%s: left out the index that pandas stored", source)
            table = table.drop_columns(index)
        return table_records(table, source, field=field)

    def _parquet(self, path: Path, source: str, field: str | None) -> Any:
        import pyarrow.parquet as pq

        # Not pq.read_table, which takes folder names such as "a=1" for columns.
        with pq.ParquetFile(path, memory_map=True) as file:
            names = file.schema_arrow.names
            check_field(source, field, names)
            groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
            # Runs of one value take next to nothing in the file, but 8 bytes each in memory.
            repeated = 8 * file.metadata.num_rows * (1 if field else len(names))
            unpacked = max(sum(group.total_byte_size for group in groups), repeated)
            check_unpacked(source, path.stat().st_size, unpacked, self.max_bytes)
            return file.read(columns=None if field is None else [field])

    def _arrow(self, path: Path, source: str, field: str | None) -> Any:
        import pyarrow as pa

        with pa.memory_map(str(path)) as file:
            try:
                reader = pa.ipc.open_file(file)
                batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
            except pa.ArrowInvalid:
                file.seek(0)
                reader = pa.ipc.open_stream(file)
                batches = iter(reader)
            check_field(source, field, reader.schema.names)
            names = reader.schema.names if field is None else [field]
            schema = pa.schema([reader.schema.field(name) for name in names])
            kept, unpacked = [], 0
            for batch in batches:
                kept.append(batch.select(names))
                unpacked += batch.get_total_buffer_size()
                check_unpacked(source, path.stat().st_size, unpacked, self.max_bytes)
            return pa.Table.from_batches(kept, schema=schema)
