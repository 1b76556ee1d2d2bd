"""Parquet and Arrow IPC files of any size: loaded if they are small, else left where they are."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metamae.data.arrow.convert import arrow_column
from metamae.data.arrow.lazy import Parts, mapped_column, packed_column
from metamae.data.arrow.tables import check_table, kept_names
from metamae.data.columns.base import Column
from metamae.data.columns.blocks import KEPT, Recent
from metamae.data.files import check_unpacked, legible
from metamae.data.records import Records

IN_MEMORY = 256 * 2**20  # bytes up to which a table is loaded as a whole
_MUCH = 2 * 2**30  # bytes of decoded row groups that a user should know of
_TEXT_BYTES = 64  # rough size of a string in memory

_log = logging.getLogger("metamae")


class TableFiles:
    """Reads the tables of one data set: one file, or several shards.

    Args:
        in_memory: Bytes up to which a file is loaded as a whole.
        max_bytes: Bytes above which what packs suspiciously well is refused.
    """

    def __init__(self, in_memory: int, max_bytes: int):
        self.in_memory, self.max_bytes = in_memory, max_bytes
        self._recent: dict[str, Recent] = {}

    def read(self, path: Path, source: str, field: str | None) -> Records:
        """Return the columns of a file.

        Raises:
            DataError: If it is no complete Parquet or Arrow file, or a column has an unfit type.
        """
        rule = "must be a complete Parquet or Arrow file"
        with legible(source, rule, "Write it again."):
            with path.open("rb") as file:
                magic = file.read(4)
            load = self._parquet if magic == b"PAR1" else self._arrow
            columns = load(path, source, field)
        return Records(columns, source, row_word="row")

    def _parquet(self, path: Path, source: str, field: str | None) -> dict[str, Column]:
        import pyarrow.parquet as pq

        # Not pq.read_table, which takes folder names such as "a=1" for columns.
        with pq.ParquetFile(path, memory_map=True) as file:
            schema, metadata = file.schema_arrow, file.metadata
            names = kept_names(source, schema.names, field)
            check_table(source, schema.names, metadata.num_rows)
            groups = RowGroups(path, source, schema, metadata)
            sizes = [groups.sizes(number, names) for number in range(metadata.num_row_groups)]
            unpacked = sum(size for size, _ in sizes)
            if unpacked <= self.in_memory:
                check_unpacked(source, path.stat().st_size, unpacked, self.max_bytes)
                return _loaded(source, file.read(columns=names), names)
        for size, packed in sizes:
            check_unpacked(source, packed, size, self.max_bytes)
        _warn(source, max(size for size, _ in sizes))
        return self._packed(groups, names)

    def _arrow(self, path: Path, source: str, field: str | None) -> dict[str, Column]:
        import pyarrow as pa

        whole = pa.memory_map(str(path)).read_buffer()
        try:
            reader, jumps = pa.ipc.open_file(whole), True
        except pa.ArrowInvalid:
            reader, jumps = pa.ipc.open_stream(whole), False
        names = kept_names(source, reader.schema.names, field)
        kept, unpacked, mapped = [], 0, True
        for batch in _batches(reader, jumps):
            kept.append(batch.select(names))
            unpacked += batch.get_total_buffer_size()
            mapped = mapped and _lies_within(whole, kept[-1])
            check_unpacked(source, whole.size, unpacked, self.max_bytes)
            if unpacked > self.in_memory and not mapped and jumps:
                return self._packed(PackedBatches(whole, source, reader, names), names)
        check_table(source, reader.schema.names, sum(batch.num_rows for batch in kept))
        schema = pa.schema([reader.schema.field(name) for name in names])
        if unpacked > self.in_memory and mapped:
            parts = MappedBatches(source, schema, kept)
            return {name: mapped_column(parts, name) for name in names}
        return _loaded(source, pa.Table.from_batches(kept, schema=schema), names)

    def _packed(self, parts: Parts, names: Sequence[str]) -> dict[str, Column]:
        return {
            name: packed_column(parts, name, self._recent.setdefault(name, Recent()))
            for name in names
        }


class RowGroups:
    """The row groups of a Parquet file, which is opened anew for each that is read."""

    word = "row group"

    def __init__(self, path: Path, source: str, schema: Any, metadata: Any):
        self.path, self.source, self.schema, self.metadata = path, source, schema, metadata
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        self.starts = np.cumsum([0, *(group.num_rows for group in groups)])
        self._leaves: dict[str, list[int]] = {}
        for leaf in range(metadata.num_columns if groups else 0):
            path_in_schema = groups[0].column(leaf).path_in_schema
            top = path_in_schema.split(".")[0]
            known = path_in_schema if path_in_schema in schema.names else top
            self._leaves.setdefault(known, []).append(leaf)

    def read(self, name: str, number: int) -> Any:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self.path, metadata=self.metadata, memory_map=True) as file:
            # One thread, so that forked processes can read too.
            return file.read_row_group(number, columns=[name], use_threads=False).column(0)

    def gaps(self, name: str) -> bool | None:
        if not self.schema.field(name).nullable:
            return False
        found = False
        for number in range(self.metadata.num_row_groups):
            for leaf in self._leaves.get(name, ()):
                statistics = self.metadata.row_group(number).column(leaf).statistics
                if statistics is None or not statistics.has_null_count:
                    return None
                found = found or statistics.null_count > 0
        return found

    def counts(self, name: str) -> list[int] | None:
        leaves = self._leaves.get(name, [])
        if len(leaves) != 1:
            return None
        groups = range(self.metadata.num_row_groups)
        return [self.metadata.row_group(n).column(leaves[0]).num_values for n in groups]

    def sizes(self, number: int, names: Sequence[str]) -> tuple[int, int]:
        """Return the bytes of some columns of a row group, in memory and in the file."""
        unpacked, packed, group = 0, 0, self.metadata.row_group(number)
        for name in names:
            width = _width(self.schema.field(name).type)
            for leaf in self._leaves.get(name, ()):
                column = group.column(leaf)
                # Runs of one value take next to nothing in the file, but not in memory.
                unpacked += max(column.total_uncompressed_size, width * column.num_values)
                packed += column.total_compressed_size
        return unpacked, packed


class MappedBatches:
    """Record batches in mapped memory."""

    word = "record batch"

    def __init__(self, source: str, schema: Any, batches: Sequence[Any]):
        self.source, self.schema, self.batches = source, schema, [b for b in batches if b.num_rows]
        self.starts = np.cumsum([0, *(batch.num_rows for batch in self.batches)])
        for batch in self.batches:
            batch.validate(full=True)

    def read(self, name: str, number: int) -> Any:
        import pyarrow as pa

        return pa.chunked_array([self.batches[number].column(name)])

    def gaps(self, name: str) -> bool | None:
        return any(batch.column(name).null_count for batch in self.batches)

    def counts(self, name: str) -> list[int] | None:
        return None


class PackedBatches:
    """Compressed record batches of a file; each is unpacked anew, and only the column asked for."""

    word = "record batch"

    def __init__(self, whole: Any, source: str, reader: Any, names: Sequence[str]):
        self.whole, self.source, self.schema = whole, source, reader.schema
        # A batch tells its length only once a column is unpacked; a narrow one is soon done.
        narrow = min(names, key=lambda name: _width(self.schema.field(name).type))
        numbers = range(reader.num_record_batches)
        self.starts = np.cumsum([0, *(len(self.read(narrow, number)) for number in numbers)])

    def read(self, name: str, number: int) -> Any:
        import pyarrow as pa

        options = pa.ipc.IpcReadOptions(
            included_fields=[self.schema.get_field_index(name)], use_threads=False
        )
        with pa.ipc.open_file(self.whole, options=options) as reader:
            return pa.chunked_array([reader.get_batch(number).column(0)])

    def gaps(self, name: str) -> bool | None:
        return None

    def counts(self, name: str) -> list[int] | None:
        return None


def _loaded(source: str, table: Any, names: Sequence[str]) -> dict[str, Column]:
    # Before any value is touched: damaged offsets, once followed, can end the process.
    table.validate(full=True)
    check_table(source, table.column_names, table.num_rows)
    return {name: arrow_column(f"{source}, column {name!r}", table.column(name)) for name in names}


def _batches(reader: Any, jumps: bool) -> Iterator[Any]:
    if jumps:
        return (reader.get_batch(number) for number in range(reader.num_record_batches))
    return iter(reader)


def _lies_within(whole: Any, batch: Any) -> bool:
    """Say whether nothing of a batch was unpacked or copied."""
    end = whole.address + whole.size
    buffers = (buffer for column in batch.columns for buffer in column.buffers())
    return all(whole.address <= b.address <= end for b in buffers if b is not None and b.size)


def _width(kind: Any) -> int:
    """Return the bytes that one element of a column takes in memory."""
    if hasattr(kind, "index_type"):
        return _TEXT_BYTES  # categories become strings
    while hasattr(kind, "value_type"):
        kind = kind.value_type
    try:
        return max(1, int(kind.bit_width) // 8)
    except ValueError:
        return _TEXT_BYTES  # strings have no fixed width


def _warn(source: str, largest: int) -> None:
    if KEPT * largest > _MUCH:
        _log.warning(
            "%s: its row groups take up to %d MB each, and up to %d are kept in memory; writing it "
            "with smaller ones (row_group_size=...) would need less",
            source,
            largest // 2**20,
            KEPT,
        )
