"""Tables in Parquet or Arrow IPC (Feather) files, of any size."""

from typing import Any, ClassVar

from metamae.core.checks import check_at_least
from metamae.data.arrow import IN_MEMORY, TableFiles
from metamae.data.bad_samples import Aside
from metamae.data.files import UNPACKED_MOST, find_file
from metamae.data.readers.base import Reader
from metamae.data.records import Records


class ParquetReader(Reader):
    """Reads every column of a table as a field of its own.

    A file beyond `in_memory` stays where it is: row groups of Parquet and record batches of
    compressed Arrow files are decoded when they are asked for, and a few are kept; uncompressed
    Arrow files are mapped.

    Args:
        in_memory: Size in bytes up to which a file, or all shards together, is loaded as a whole.
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "a table in Parquet or Arrow (Feather) format, a field per column"
    extensions: ClassVar[tuple[str, ...]] = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
    local: ClassVar[tuple[str, ...]] = ("in_memory", "max_bytes")

    def __init__(self, *, in_memory: int = IN_MEMORY, max_bytes: int = UNPACKED_MOST):
        self.in_memory = check_at_least("ParquetReader.in_memory", in_memory, 0)
        self.max_bytes = check_at_least("ParquetReader.max_bytes", max_bytes, 1)
        self._files: TableFiles | None = None

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        if self._files is None:
            # Shards share one, because they share the memory that it keeps.
            self._files = TableFiles(self.in_memory // self.parts, self.max_bytes)
        return self._files.read(find_file(data), str(data), field)
