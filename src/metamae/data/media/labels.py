"""Tables of labels: which row belongs to which file."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metamae.core.checks import check_one_of
from metamae.data.arrow import arrow_column
from metamae.data.columns.base import Column
from metamae.data.files import UNPACKED_MOST, check_names, check_unpacked, find_file, legible
from metamae.errors import ConfigError, DataError

_log = logging.getLogger("metamae")

_TABLES = (".csv", ".tsv")
_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NAN", "null", "Null", "NULL", "?"]


def _bare(name: str) -> str:
    head, _, end = name.rpartition(".")
    return head if head and "/" not in end else name


def _last(name: str) -> str:
    return name.rpartition("/")[2]


# Forms in which a table may name a file, the most telling one first.
_FORMS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    _bare,
    _last,
    lambda name: _last(_bare(name)),
)


def check_labels(name: str, labels: Any) -> str:
    """Return `labels` if it is "auto", "none" or a path as text, else raise ConfigError."""
    if not isinstance(labels, str) or not labels:
        raise ConfigError(
            f"{name} must be 'auto', 'none' or the path of a table; got {labels!r}. "
            "'labels.csv' would do."
        )
    if not labels.lower().endswith((*_TABLES, ".parquet")):
        check_one_of(name, labels, ["auto", "none", "<path>.csv", "<path>.tsv", "<path>.parquet"])
    return labels


def label_columns(
    labels: str, folder: Path | None, source: str, names: Sequence[str], taken: set[str]
) -> dict[str, Column]:
    """Return the fields that a table gives to files, in the order of the files.

    The column that names the files is the one whose values match most of them: by their path
    within the folder or by their name, with or without its extension. Files that the table does
    not name have missing values.

    Args:
        labels: Path of a CSV, TSV or Parquet file; "auto" takes the only CSV or TSV file that
            lies in the folder itself, if it names at least half of the files; "none" none.
        folder: Where the files lie; None if the data set is one file.
        source: What messages call the data set.
        names: Paths of the files within the folder.
        taken: Names of fields that exist already.

    Raises:
        DataError: If the table asked for cannot be read, or names none of the files.
    """
    if labels == "none" or (labels == "auto" and folder is None):
        return {}
    if labels != "auto":
        beside = folder / labels if folder is not None else Path(labels)
        path = beside if beside.is_file() and not Path(labels).is_file() else find_file(labels)
        return _columns(path, source, names, taken, least=1)
    assert folder is not None
    tables = sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(_TABLES) and path.name[0] != "." and path.is_file()
    )
    if len(tables) > 1:
        found = ", ".join(path.name for path in tables[:5])
        _log.info(
            "%s: several tables (%s); labels=<path> would take labels from one", source, found
        )
    if len(tables) != 1:
        return {}
    try:
        return _columns(tables[0], source, names, taken, least=(len(names) + 1) // 2)
    except DataError as error:
        _log.info("%s: no labels from %s: %s", source, tables[0].name, error)
        return {}


def _columns(
    path: Path, source: str, names: Sequence[str], taken: set[str], least: int
) -> dict[str, Column]:
    import pyarrow as pa

    with legible(str(path), "must be a complete table of labels", "Write it again."):
        texts, table = _table(path)
    key, rows = _match(path, texts, names, least)
    fields = [name for name in table.column_names if name != key and name not in taken]
    named = [row for row in rows if row is not None]
    unnamed = [name for name, row in zip(names, rows, strict=True) if row is None]
    _log.info(
        "%s: fields %s from %s, whose column %r names the files; labels=none leaves them out",
        *(source, ", ".join(map(repr, fields)) or "none", path.name, key),
    )
    if len(named) < table.num_rows:
        _log.info(
            "%s: %d rows name none of the files that were read",
            path.name,
            table.num_rows - len(named),
        )
    if unnamed:
        few = ", ".join(unnamed[:5]) + (", ..." if len(unnamed) > 5 else "")
        _log.info(
            "%s: no row for %d files, whose fields are missing: %s", path.name, len(unnamed), few
        )
    # A null among the positions gives a row of missing values.
    aligned = table.take(pa.array(rows, type=pa.int64()))
    return {name: arrow_column(f"{path}, column {name!r}", aligned[name]) for name in fields}


def _match(
    path: Path, texts: dict[str, list[str | None]], names: Sequence[str], least: int
) -> tuple[str, list[int | None]]:
    # The column that names the files, and the row of each file.
    best: tuple[int, str, list[int | None]] = (0, "", [])
    for form in _FORMS:
        wanted = [form(name) for name in names]
        if len(set(wanted)) < len(wanted):
            continue
        for column, values in texts.items():
            if best[0] == len(names):
                break
            rows = _rows(wanted, values, form)
            hits = sum(row is not None for row in rows)
            if hits > best[0]:
                best = (hits, column, rows)
    hits, column, rows = best
    if hits < least:
        raise DataError(
            f"{path} must have a column that names the files, such as {names[0]!r}; got "
            f"{hits} of {len(names)} named by any of {', '.join(map(repr, texts))}. Add one."
        )
    twice = [row for row in rows if row is not None and row < 0]
    if twice:
        raise DataError(
            f"{path} must have one row per file; got {texts[column][~twice[0]]!r} in several "
            f"rows of column {column!r}. Keep one of them."
        )
    return column, rows


def _rows(
    wanted: list[str], values: list[str | None], form: Callable[[str], str]
) -> list[int | None]:
    # Row of each wanted name; ~row where there are several.
    found: dict[str, int] = {}
    for row, value in enumerate(values):
        if value:
            name = form(value.replace("\\", "/").removeprefix("./"))
            found[name] = ~row if name in found else row
    return [found.get(name) for name in wanted]


def _table(path: Path) -> tuple[dict[str, list[str | None]], Any]:
    # The columns that may name files as text, since "007" would be a number; and the typed table.
    import pyarrow as pa

    read = _parquet if path.name.lower().endswith(".parquet") else _csv
    texts, table = read(path)
    check_names(str(path), table.column_names)
    if not table.num_rows:
        raise DataError(f"{path} must hold at least one row; got none. Add a row per file.")
    types = pa.types
    names = [
        column.name
        for column in table.schema
        if types.is_integer(column.type)
        or types.is_string(column.type)
        or types.is_large_string(column.type)
    ]
    return {name: texts[name].cast(pa.string()).to_pylist() for name in names}, table


def _csv(path: Path) -> tuple[Any, Any]:
    import pyarrow as pa
    from pyarrow import csv

    with path.open(encoding="utf-8-sig") as file:
        first = file.readline(2**20)
    parse = csv.ParseOptions(
        delimiter=max("\t,;" if path.name.lower().endswith(".tsv") else ",;\t", key=first.count),
        newlines_in_values=True,
    )
    convert = csv.ConvertOptions(null_values=_MISSING, strings_can_be_null=True)
    table = csv.read_csv(path, parse_options=parse, convert_options=convert)
    check_names(str(path), table.column_names)
    convert = csv.ConvertOptions(column_types=dict.fromkeys(table.column_names, pa.string()))
    return csv.read_csv(path, parse_options=parse, convert_options=convert), table


def _parquet(path: Path) -> tuple[Any, Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, memory_map=True) as file:
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        repeated = 8 * file.metadata.num_rows * file.metadata.num_columns
        unpacked = max(sum(group.total_byte_size for group in groups), repeated)
        check_unpacked(str(path), path.stat().st_size, unpacked, UNPACKED_MOST)
        table = file.read()
    table.validate(full=True)
    return table, table
