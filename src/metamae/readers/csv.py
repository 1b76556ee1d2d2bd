"""Tables in text files: .csv and .tsv, also packed with gzip."""

import csv
import gzip
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, ClassVar

from metamae.arrow import table_records
from metamae.aside import Aside
from metamae.checks import check_at_least, check_flag, check_one_of
from metamae.errors import ConfigError, DataError
from metamae.files import (
    UNPACKED_MOST,
    check_field,
    check_names,
    check_unpacked,
    find_file,
    legible,
)
from metamae.readers.base import Reader
from metamae.records import Records
from metamae.registry import did_you_mean

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "Null", "NULL", "?"]
# Share of a column's cells above which the rest is taken for slips and not for categories.
_MOSTLY = 0.9
# Longest line that is looked at in one piece, in characters.
_LINE = 2**26
# Bytes that Arrow parses at a time; no row may be longer.
_BLOCK = 2**24


@dataclass(frozen=True)
class _Layout:
    """What the first line tells: how to split the others, and the names of the columns."""

    delimiter: str
    names: tuple[str, ...]
    skipped: int  # Lines before the first sample, blank ones included.


class CsvReader(Reader):
    """Reads every column as a field of its own; the types are inferred.

    Args:
        delimiter: What separates the columns; "auto" finds it in the first line.
        header: Whether the first line names the columns; else they are named "0", "1", ...
        decimal: The decimal point, "." or ",".
        text_columns: Columns to read as text although they look like numbers.
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "a table in a text file, a field per column"
    extensions: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".csv.gz", ".tsv.gz")

    def __init__(
        self,
        *,
        delimiter: str = "auto",
        header: bool = True,
        decimal: str = ".",
        text_columns: Sequence[str] = (),
        max_bytes: int = UNPACKED_MOST,
    ):
        if delimiter != "auto" and (
            not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'
        ):
            raise ConfigError(
                f"CsvReader.delimiter must be one character or 'auto'; got {delimiter!r}. "
                "';' would do."
            )
        if not isinstance(text_columns, list | tuple) or not all(
            isinstance(name, str) for name in text_columns
        ):
            raise ConfigError(
                f"CsvReader.text_columns must be a list of names; got {text_columns!r}. "
                "['id'] would do."
            )
        self.delimiter = delimiter
        self.header = check_flag("CsvReader.header", header)
        self.decimal = check_one_of("CsvReader.decimal", decimal, [".", ","])
        self.text_columns = tuple(text_columns)
        self.max_bytes = check_at_least("CsvReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        file = _TextFile(find_file(data), str(data), self.max_bytes)
        with legible(file.source, "must be a table in a text file", "Write it again."):
            try:
                layout = self._layout(file)
                table = self._table(file, layout, field)
            except UnicodeDecodeError as error:
                raise file.encoding_error() from error
        return table_records(table, file.source, field=field, first_row=layout.skipped + 1)

    def _table(self, file: "_TextFile", layout: _Layout, field: str | None) -> Any:
        check_field(file.source, field, layout.names)
        for name in self.text_columns:
            if name not in layout.names:
                raise DataError(
                    f"{file.source} must hold every text column; got text_columns with {name!r}."
                    f"{did_you_mean(name, layout.names)}"
                )
        table = self._parse(file, layout, field)
        self._check_quotes(file, table)
        if field is not None:
            table = table.select([field])
        for name in table.column_names:
            self._check_text(file, layout, table[name], name)
        return table

    def _layout(self, file: "_TextFile") -> _Layout:
        blank, first = 0, ""
        with file.lines() as lines:
            for line in lines:
                if line.strip():
                    first = line
                    break
                blank += 1
            delimiter = self._sniff(first, file.path)
            rows = csv.reader(chain([first], lines), delimiter=delimiter)
            cells = next(rows, [])
        if not first or "\0" in first:
            got = "one with zero bytes" if first else "an empty file"
            raise DataError(
                f"{file.source} must be a text file with a header line; got {got}. "
                "A line of column names and a line per sample would do."
            )
        if not self.header:
            return _Layout(delimiter, tuple(str(i) for i in range(len(cells))), blank)
        names = tuple(cell.strip() for cell in cells)
        if any(names) and all(_is_number(name) for name in names if name):
            raise DataError(
                f"{file.source} must have a header line that names the columns; got only numbers "
                f"in its first line: {first.strip()[:80]}. Add a line of names, or use "
                "header=False."
            )
        check_names(file.source, names)
        return _Layout(delimiter, names, blank + rows.line_num)

    def _sniff(self, line: str, path: Path) -> str:
        if self.delimiter != "auto":
            return self.delimiter
        bare = re.sub(r'"[^"]*"', "", line)
        if ".tsv" in path.name.lower() and "\t" in bare:
            return "\t"
        # max keeps the first of equals, and a comma is as good as any for a single column.
        return max(_DELIMITERS, key=bare.count)

    def _parse(self, file: "_TextFile", layout: _Layout, field: str | None) -> Any:
        import pyarrow as pa
        from pyarrow import csv as arrow

        options = {
            "read_options": arrow.ReadOptions(
                column_names=layout.names, skip_rows=layout.skipped, block_size=_BLOCK
            ),
            "parse_options": arrow.ParseOptions(
                delimiter=layout.delimiter,
                newlines_in_values=True,
                # In a single column an empty line is a missing value, not a blank line.
                ignore_empty_lines=len(layout.names) > 1,
            ),
            "convert_options": arrow.ConvertOptions(
                null_values=_MISSING,
                strings_can_be_null=True,
                decimal_point=self.decimal,
                column_types={name: pa.string() for name in self.text_columns},
                # The last column shows whether a quote was left open; see _check_quotes.
                include_columns=None
                if field is None
                else [*dict.fromkeys((field, layout.names[-1]))],
            ),
        }
        try:
            with file.open() as stream:
                table = arrow.read_csv(stream, **options)
        except pa.ArrowInvalid:
            file.check_widths(layout)
            if next(file.rows(layout), None) is not None:
                raise
            table = None
        if table is None or not table.num_rows:
            raise DataError(
                f"{file.source} must hold a line per sample; got only a header. "
                "Add a line below it."
            )
        return table

    def _check_quotes(self, file: "_TextFile", table: Any) -> None:
        # An open quote swallows the rest of the file into the last cell, and no parser minds.
        last = table.column(table.num_columns - 1)[-1].as_py()
        if not isinstance(last, str) or "\n" not in last:
            return
        with file.open() as stream:
            quotes = sum(part.count(b'"') for part in iter(lambda: stream.read(_BLOCK), b""))
        if quotes % 2:
            raise DataError(
                f"{file.source}, row {table.num_rows + self.header}, must close every quote; got "
                'one that is still open at the end of the file. Add the missing ".'
            )

    def _check_text(self, file: "_TextFile", layout: _Layout, values: Any, name: str) -> None:
        import pyarrow as pa

        if pa.types.is_binary(values.type):
            raise file.encoding_error()
        if not pa.types.is_string(values.type) or name in self.text_columns:
            return
        offender = _offender(values, self.decimal)
        if offender is not None:
            raise DataError(
                f"{file.source}, line {file.line(layout, offender)}, column {name!r} must be a "
                f"number as most of the column is; got {values[offender].as_py()[:80]!r}. Leave "
                "the cell empty if the value is missing, or read the column as text: "
                f"text_columns=[{name!r}]."
            )
        if self.decimal == "." and layout.delimiter != "," and _share(values, ",") >= _MOSTLY:
            raise DataError(
                f"{file.source}, column {name!r} must be written with the decimal point that is "
                f"set, '.'; got {values.drop_null()[0].as_py()[:80]!r}. decimal=',' would do, or "
                f"text_columns=[{name!r}]."
            )


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _matches(values: Any, decimal: str) -> Any:
    import pyarrow.compute as pc

    point = re.escape(decimal)
    digits = rf"(\d+({point}\d*)?|{point}\d+)"
    pattern = rf"^\s*[+-]?({digits}([eE][+-]?\d+)?|(?i:inf|infinity))\s*$"
    return pc.match_substring_regex(values, pattern)


def _share(values: Any, decimal: str) -> float:
    import pyarrow.compute as pc

    return pc.mean(_matches(values, decimal)).as_py() or 0.0


def _offender(values: Any, decimal: str) -> int | None:
    # Position of the first cell that is no number, in a column that mostly is.
    import pyarrow.compute as pc

    if not _MOSTLY <= _share(values, decimal) < 1:
        return None
    position: int = pc.index(_matches(values, decimal), False).as_py()
    return position


@dataclass(frozen=True)
class _TextFile:
    """A text file, packed or not, and where its mistakes are.

    Nothing is caught here: the reader turns what goes wrong into a DataError.
    """

    path: Path
    source: str
    most: int

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Give the bytes of the text."""
        with self.path.open("rb") as raw:
            # The first bytes tell more than the name, which downloads often lose.
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if not packed:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as stream:
                size = self.path.stat().st_size
                yield io.BufferedReader(_Counted(stream, self.source, size, self.most))

    @contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        """Give the lines as they stand, none of them of unlimited length."""
        with (
            self.open() as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
        ):
            yield iter(lambda: text.readline(_LINE), "")

    def rows(self, layout: _Layout) -> Iterator[tuple[int, list[str]]]:
        """Yield the line number and the cells of every sample; slow, for messages only."""
        with self.lines() as lines:
            rows = csv.reader(islice(lines, layout.skipped, None), delimiter=layout.delimiter)
            for cells in rows:
                if cells or len(layout.names) == 1:
                    yield rows.line_num + layout.skipped, cells or [""]

    def line(self, layout: _Layout, position: int) -> int:
        """Return the number of the line that holds a sample."""
        try:
            for row, (line, _) in enumerate(self.rows(layout)):
                if row == position:
                    return line
        except csv.Error:
            pass  # A cell too long for this parser; the count of rows is nearly as good.
        return position + layout.skipped + 1

    def check_widths(self, layout: _Layout) -> None:
        """Raise DataError if a line has more or fewer columns than the first."""
        width = len(layout.names)
        for line, cells in self.rows(layout):
            if len(cells) != width:
                word = _DELIMITERS.get(layout.delimiter, repr(layout.delimiter))
                raise DataError(
                    f"{self.source}, line {line}, must have {width} columns as the first line "
                    f"has; got {len(cells)}. Mend the line, or quote cells that contain {word}."
                )

    def encoding_error(self) -> DataError:
        """Return the error that names the first line that is not UTF-8."""
        number, bad = 0, b""
        with self.open() as stream:
            for line in iter(lambda: stream.readline(_LINE), b""):
                number += 1
                try:
                    line.decode()
                except UnicodeDecodeError as error:
                    bad = line[error.start : error.start + 1]
                    break
        return DataError(
            f"{self.source}, line {number}, must be UTF-8 text; got the byte {bad!r}. "
            "Save the file with encoding UTF-8."
        )


class _Counted(io.RawIOBase):
    """A stream that stops a decompression bomb while it unpacks."""

    def __init__(self, stream: gzip.GzipFile, source: str, packed: int, most: int):
        self.stream, self.source, self.packed, self.most = stream, source, packed, most
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.stream.read(len(buffer))
        self.count += len(part)
        check_unpacked(self.source, self.packed, self.count, self.most)
        buffer[: len(part)] = part
        return len(part)
