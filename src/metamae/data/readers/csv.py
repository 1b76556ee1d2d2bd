"""Tables in text files: .csv and .tsv, also packed with gzip."""

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least, check_flag, check_one_of
from metamae.core.registry import did_you_mean
from metamae.data.arrow import table_records
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Index
from metamae.data.files import UNPACKED_MOST, check_field, check_names, find_file, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.text.file import TextFile
from metamae.data.text.spellings import MOSTLY, NEEDED, convert, fitting, share
from metamae.errors import ConfigError, DataError

_DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
# What a shell makes hard to type.
_NAMED = {"tab": "\t", "\\t": "\t"}
_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "Null", "NULL", "?"]
# Bytes that Arrow parses at a time; no row may be longer.
_BLOCK = 2**24
_TYPES = ("number", "date", "text", "category")


@dataclass(frozen=True)
class _Layout:
    """What the first line tells: how to split the others, and the names of the columns."""

    delimiter: str
    names: tuple[str, ...]
    skipped: int  # Lines before the first sample, blank ones included.


@dataclass(frozen=True)
class _Survey:
    """Where the rows of a file are: slow to find, and needed only where some are bad."""

    lines: Index  # Number of the last line of each, (R,).
    widths: Index  # Its cells, (R,).


class CsvReader(Reader):
    """Reads every column as a field of its own; the types are inferred.

    Args:
        delimiter: What separates the columns, a character or "tab"; "auto" finds it in the first
            line.
        header: Whether the first line names the columns; else they are named "0", "1", ...
        decimal: The decimal point, "." or ",".
        types: What columns are where the guess is wrong, by their names: "number", "date" (as in
            2020-01-31 or 2020-01-31T10:30:00), "text", or "category", a text of few values, each
            of them kept once.
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
        types: Mapping[str, str] | None = None,
        max_bytes: int = UNPACKED_MOST,
    ):
        delimiter = _NAMED.get(delimiter, delimiter)
        if delimiter != "auto" and (
            not isinstance(delimiter, str) or len(delimiter) != 1 or delimiter in '"\r\n'
        ):
            raise ConfigError(
                f"CsvReader.delimiter must be one character, 'tab' or 'auto'; got {delimiter!r}. "
                "';' would do."
            )
        if types is not None and not isinstance(types, Mapping):
            raise ConfigError(
                f"CsvReader.types must say what each of some columns is; got {types!r}. "
                "{'zip': 'text'} would do."
            )
        self.delimiter = delimiter
        self.header = check_flag("CsvReader.header", header)
        self.decimal = check_one_of("CsvReader.decimal", decimal, [".", ","])
        self.types = {
            str(name): check_one_of(f"CsvReader.types[{name!r}]", kind, _TYPES)
            for name, kind in (types or {}).items()
        }
        self.max_bytes = check_at_least("CsvReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        file = TextFile(find_file(data), str(data), self.max_bytes)
        with legible(file.source, "must be a table in a text file", "Write it again."):
            file.warn_if_large()
            try:
                layout = self._layout(file)
                self._check_names(file, layout, field)
                table, survey = self._parse(file, layout, field, aside)
                _check_quotes(file, table, self.header)
                if field is not None:
                    table = table.select([field])
                table, index = self._fit(file, layout, table, survey, aside)
            except UnicodeDecodeError as error:
                raise file.encoding_error() from error
        records = table_records(table, file.source, field=field, first_row=layout.skipped + 1)
        return records if index is None else replace(records, index=index)

    def _check_names(self, file: TextFile, layout: _Layout, field: str | None) -> None:
        check_field(file.source, field, layout.names)
        for name in self.types:
            if name not in layout.names:
                raise DataError(
                    f"{file.source} must hold every column of `types`; got {name!r}."
                    f"{did_you_mean(name, layout.names)}"
                )

    def _layout(self, file: TextFile) -> _Layout:
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

    def _parse(
        self, file: TextFile, layout: _Layout, field: str | None, aside: Aside
    ) -> tuple[Any, _Survey | None]:
        """Return the rows that have all cells, and where they are if there are others."""
        import pyarrow as pa

        survey = None
        try:
            table = self._read(file, layout, field)
        except pa.ArrowInvalid:
            survey = _survey(file, layout)
            if survey is None:
                raise
            width, num = len(layout.names), len(survey.widths)
            odd = np.flatnonzero(survey.widths != width)
            if num and not len(odd):
                raise
            word = _DELIMITERS.get(layout.delimiter, repr(layout.delimiter))
            for row in odd.tolist():
                aside.add(
                    f"{file.source}, line {survey.lines[row]}",
                    f"must have {width} columns as the first line has; got {survey.widths[row]}. "
                    f"Mend the line, or quote cells that contain {word}.",
                    file.source,
                )
            table = self._read(file, layout, field, skip=True) if len(odd) < num else None
            if table is not None and table.num_rows != num - len(odd):
                aside.settle(file.source)
                raise
        if table is None or not table.num_rows:
            raise DataError(
                f"{file.source} must hold a good line per sample; got only a header. "
                "Add a line below it."
            )
        return table, survey

    def _read(
        self, file: TextFile, layout: _Layout, field: str | None, *, skip: bool = False
    ) -> Any:
        import pyarrow as pa
        from pyarrow import csv as arrow

        category = pa.dictionary(pa.int32(), pa.string())
        with file.open() as stream:
            return arrow.read_csv(
                stream,
                arrow.ReadOptions(
                    column_names=layout.names, skip_rows=layout.skipped, block_size=_BLOCK
                ),
                arrow.ParseOptions(
                    delimiter=layout.delimiter,
                    newlines_in_values=True,
                    # In a single column an empty line is a missing value, not a blank line.
                    ignore_empty_lines=len(layout.names) > 1,
                    invalid_row_handler=(lambda row: "skip") if skip else None,
                ),
                arrow.ConvertOptions(
                    null_values=_MISSING,
                    strings_can_be_null=True,
                    decimal_point=self.decimal,
                    column_types={
                        name: category if kind == "category" else pa.string()
                        for name, kind in self.types.items()
                    },
                    # The last column shows whether a quote was left open; see _check_quotes.
                    include_columns=None
                    if field is None
                    else [*dict.fromkeys((field, layout.names[-1]))],
                ),
            )

    def _fit(
        self, file: TextFile, layout: _Layout, table: Any, survey: _Survey | None, aside: Aside
    ) -> tuple[Any, Index | None]:
        """Make columns what they mostly are, without the rows that do not fit.

        Returns:
            The table, and the position of its rows in the file where some are missing.
        """
        kinds, bad = {}, dict[int, str]()
        for name in table.column_names:
            kind = self._kind(file, layout, table, name)
            if kind is not None:
                kinds[name] = kind
                for row in np.flatnonzero(~fitting(table[name], kind, self.decimal)).tolist():
                    bad.setdefault(row, name)
        if bad and survey is None:
            survey = _survey(file, layout)
        lines, index = _places(layout, table.num_rows, survey)
        for row, name in sorted(bad.items()):
            aside.add(
                f"{file.source}, line {lines[row]}, column {name!r}",
                f"must be {NEEDED[kinds[name]]} as most of the column is; got "
                f"{table[name][row].as_py()[:80]!r}. Leave the cell empty if the value is missing, "
                f"or read the column as text: types={{{name!r}: 'text'}}.",
                file.source,
            )
        good = np.ones(table.num_rows, dtype=bool)
        good[list(bad)] = False
        if bad:
            table = table.filter(good)
        for name, kind in kinds.items():
            position = table.column_names.index(name)
            table = table.set_column(position, name, convert(table[name], kind, self.decimal))
        return table, index[good] if bad or survey is not None else None

    def _kind(self, file: TextFile, layout: _Layout, table: Any, name: str) -> str | None:
        # What a column read as text has to become; None if it stays as it is.
        import pyarrow as pa

        values, kind = table[name], self.types.get(name)
        if pa.types.is_binary(values.type):
            raise file.encoding_error()
        if not pa.types.is_string(values.type) or kind == "text":
            return None
        found = {needed: share(values, needed, self.decimal) for needed in NEEDED}
        if kind is not None:
            if found[kind] < 0.5 and values.null_count < len(values):
                odd = values.filter(~fitting(values, kind, self.decimal))[0].as_py()
                raise DataError(
                    f"{file.source}, column {name!r} must hold {NEEDED[kind]} in its cells; got "
                    f"{odd[:80]!r} and the like in most. types={{{name!r}: 'text'}} would do."
                )
            return kind
        for needed, part in found.items():
            if part >= MOSTLY:
                return needed
        comma = self.decimal == "." and layout.delimiter != ","
        if comma and share(values, "number", ",") >= MOSTLY:
            raise DataError(
                f"{file.source}, column {name!r} must be written with the decimal point that is "
                f"set, '.'; got {values.drop_null()[0].as_py()[:80]!r}. decimal=',' would do, or "
                f"types={{{name!r}: 'text'}}."
            )
        return None


def _survey(file: TextFile, layout: _Layout) -> _Survey | None:
    """Find the rows of a file; None if it has a cell too long for this parser."""
    lines, widths = [], []
    with file.lines() as text:
        rows = csv.reader(islice(text, layout.skipped, None), delimiter=layout.delimiter)
        try:
            for cells in rows:
                if cells or len(layout.names) == 1:
                    lines.append(rows.line_num + layout.skipped)
                    widths.append(len(cells) or 1)
        except csv.Error:
            return None
    return _Survey(np.array(lines, dtype=np.int64), np.array(widths, dtype=np.int64))


def _places(layout: _Layout, num: int, survey: _Survey | None) -> tuple[Index, Index]:
    """Return the line and the position in the file of each of `num` good rows."""
    index = np.arange(num)
    if survey is not None:
        good = np.flatnonzero(survey.widths == len(layout.names))
        # The two parsers read some odd quotes differently; then positions are the best guess.
        if len(good) == num:
            return survey.lines[good], good
    return index + layout.skipped + 1, index


def _check_quotes(file: TextFile, table: Any, header: bool) -> None:
    # An open quote swallows the rest of the file into the last cell, and no parser minds.
    last = table.column(table.num_columns - 1)[-1].as_py()
    if not isinstance(last, str) or "\n" not in last:
        return
    with file.open() as stream:
        quotes = sum(part.count(b'"') for part in iter(lambda: stream.read(_BLOCK), b""))
    if quotes % 2:
        raise DataError(
            f"{file.source}, row {table.num_rows + header}, must close every quote; got "
            'one that is still open at the end of the file. Add the missing ".'
        )


def _is_number(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True
