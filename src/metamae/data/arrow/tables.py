"""Arrow tables, from whatever file or library, as records.

A table becomes columns here whatever it came from, so that a CSV file and a data frame of the
same values give the same records.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any

from metamae.data.arrow.convert import arrow_column
from metamae.data.columns.base import Column
from metamae.data.files import check_field, check_names, legible
from metamae.data.records import Records
from metamae.errors import DataError

_log = logging.getLogger("metamae")


def table_records(
    table: Any, source: str, *, field: str | None = None, row_word: str = "row", first_row: int = 0
) -> Records:
    """Turn an Arrow table into records.

    Raises:
        DataError: If it is empty, or a column has no legal name or an unfit type.
    """
    names = [str(name) for name in table.column_names]
    check_table(source, names, table.num_rows)
    check_field(source, field, names)
    columns = {
        name: arrow_column(f"{source}, column {name!r}", table.column(position))
        for position, name in enumerate(names)
        if field in (None, name)
    }
    return Records(columns, source, row_word=row_word, first_row=first_row)


def frame_table(frame: Any, source: str) -> Any:
    """Return a data frame of pandas as an Arrow table, without its index.

    Raises:
        DataError: If a column has no name of its own, or holds values of several types.
    """
    import pyarrow as pa

    check_names(source, map(str, frame.columns))
    remedy = "Convert the column that it names to numbers or strings, or drop it."
    with legible(source, "must hold columns of one type each", remedy):
        return pa.Table.from_pandas(frame, preserve_index=False)


def annotated_records(matrix: Column, frame: Any, source: str, field: str | None) -> Records:
    """Return a matrix as field "X", and the columns of a data frame on its rows as further fields.

    Args:
        matrix: (S, F).
        frame: S rows; its index names the samples.
        source: What messages call the data set.
        field: The one field to keep; None keeps all.

    Raises:
        DataError: If their lengths differ, or there is no such field.
    """
    columns, left_out = {"X": matrix}, []
    check_field(source, field, ["X", *map(str, frame.columns)])
    for name in frame.columns:
        if str(name) in columns or field not in (None, str(name)):
            left_out += [str(name)] * (str(name) in columns)
            continue
        try:
            columns |= table_records(frame_table(frame[[name]], source), source).columns
        except DataError:
            if field is not None:
                raise
            left_out.append(str(name))
    if left_out:
        _log.info("%s: left out %s, which cannot be fields", source, ", ".join(left_out))
    kept = columns if field is None else {field: columns[field]}
    return Records(kept, source, row_word="row", names=[str(name) for name in frame.index])


def check_table(source: str, names: Sequence[str], num_rows: int) -> None:
    """Raise DataError if a table has no rows, no columns, or one without a name of its own."""
    check_names(source, names)
    if not num_rows or not names:
        raise DataError(
            f"{source} must hold at least one row; got {num_rows} rows of {len(names)} "
            "columns. A table with a row per sample would do."
        )


def kept_names(source: str, names: Sequence[str], field: str | None) -> list[str]:
    """Return the columns to keep: the field asked for, or all but the index that pandas stores.

    Raises:
        DataError: If there is no such field.
    """
    check_field(source, field, names)
    if field is not None:
        return [field]
    kept = [name for name in names if not re.fullmatch(r"__index_level_\d+__", name)]
    if len(kept) < len(names):
        _log.info("%s: left out the index that pandas stored", source)
    return kept
