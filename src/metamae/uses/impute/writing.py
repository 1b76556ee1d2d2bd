"""Filled samples written in the form that they came in, everything else untouched."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metamae.data.columns.base import Array
from metamae.data.records import Records
from metamae.errors import ConfigError

KINDS = (".csv", ".tsv", ".parquet", ".npy", ".npz")
TEXTS = (".csv", ".tsv")
DELIMITERS = ",;\t|"


def write_filled(
    path: Path, kind: str, source: Any, records: Records, filled: Mapping[str, Array]
) -> None:
    """Write samples with some columns in place of others.

    A text table is written as it was, cell by cell, but for the cells that were filled; so is a
    Parquet file, with the types it had. From any other source the fields are written anew.

    Args:
        path: The file to make.
        kind: How it is to end: one of `KINDS`.
        source: What was read: a path, or an object in memory.
        records: All fields of it.
        filled: Columns to put in the place of those of the same name.

    Raises:
        ConfigError: If the kind of file cannot hold these samples.
    """
    origin = Path(source) if isinstance(source, str | Path) else None
    same = origin is not None and origin.is_file() and origin.suffix.lower() == kind
    if kind in TEXTS:
        if not (same and origin is not None and _patch_text(path, origin, records, filled)):
            _write_text(path, kind, records, filled)
    elif kind == ".parquet":
        if not (same and origin is not None and _patch_parquet(path, origin, records, filled)):
            _write_parquet(path, records, filled)
    else:
        _write_arrays(path, kind, records, filled)


def _patch_text(path: Path, origin: Path, records: Records, filled: Mapping[str, Array]) -> bool:
    """Change the missing cells of a text table; False if it is not laid out as it was read."""
    text = origin.read_text(encoding="utf-8-sig")
    header = next((line for line in text.splitlines() if line.strip()), "")
    bare = re.sub(r'"[^"]*"', "", header)
    delimiter = "\t" if origin.suffix.lower() == ".tsv" else max(DELIMITERS, key=bare.count)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    lines = [number for number, row in enumerate(rows) if any(cell.strip() for cell in row)]
    names = [cell.strip() for cell in rows[lines[0]]]
    if names != list(records) or len(lines) - 1 != len(records) or records.index is not None:
        return False
    for name, values in filled.items():
        at = names.index(name)
        missing = _missing(np.asarray(records[name][np.arange(len(records))]))
        for row in np.flatnonzero(missing).tolist():
            if not _missing(values[row : row + 1])[0]:
                rows[lines[row + 1]][at] = _shown(values[row])
    end = "\r\n" if "\r\n" in text else "\n"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(rows)
    return True


def _shown(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _missing(values: Array) -> Array:
    if values.dtype.kind in "fM":
        return np.asarray(values != values)
    flat = [value is None or value != value for value in values.tolist()]
    return np.array(flat, dtype=bool)


def _patch_parquet(path: Path, origin: Path, records: Records, filled: Mapping[str, Array]) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(origin)
    if table.num_rows != len(records) or records.index is not None:
        return False
    for name, values in filled.items():
        if name not in table.column_names:
            return False
        at = table.column_names.index(name)
        kind = table.schema.field(name).type
        if pa.types.is_integer(kind):
            whole = [
                None if gone else round(value)
                for value, gone in zip(values.tolist(), _missing(values), strict=True)
            ]
            column = pa.array(whole, kind)
        elif pa.types.is_boolean(kind):
            truth = {"True": True, "False": False, "1": True, "0": False, "1.0": True, "0.0": False}
            column = pa.array([truth.get(str(value)) for value in values.tolist()], kind)
        else:
            column = _arrow(values).cast(kind)
        table = table.set_column(at, table.schema.field(name), column)
    pq.write_table(table, path)
    return True


def _all(records: Records, filled: Mapping[str, Array]) -> dict[str, Array]:
    every = np.arange(len(records))
    return {
        name: filled[name] if name in filled else np.asarray(records[name][every])
        for name in records
    }


def _arrow(values: Array) -> Any:
    import pyarrow as pa

    if values.ndim > 1 or (values.dtype == object and any(np.ndim(v) for v in values.tolist())):
        return pa.array([None if v is None else np.asarray(v).tolist() for v in values])
    return pa.array(values, from_pandas=True)


def _write_parquet(path: Path, records: Records, filled: Mapping[str, Array]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {name: _arrow(values) for name, values in _all(records, filled).items()}
    pq.write_table(pa.table(columns), path)


def _write_text(path: Path, kind: str, records: Records, filled: Mapping[str, Array]) -> None:
    import pyarrow as pa
    from pyarrow import csv as arrow

    columns = {name: _arrow(values) for name, values in _all(records, filled).items()}
    nested = [name for name, column in columns.items() if pa.types.is_list(column.type)]
    if nested:
        raise ConfigError(
            f"Impute.out must be able to hold arrays; got {kind} for field {nested[0]!r}. "
            f".parquet or .npz would do."
        )
    options = arrow.WriteOptions(delimiter="\t" if kind == ".tsv" else ",")
    arrow.write_csv(pa.table(columns), path, options)


def _write_arrays(path: Path, kind: str, records: Records, filled: Mapping[str, Array]) -> None:
    arrays = _all(records, filled)
    for name, values in arrays.items():
        if values.dtype == object:
            # Strings fit an array of their own; arrays of different shapes would be pickled.
            if any(not isinstance(v, str) for v in values.tolist()):
                raise ConfigError(
                    f"Impute.out must be able to hold samples of different shapes; got {kind} "
                    f"for field {name!r}. .parquet would do."
                )
            arrays[name] = values.astype(str)
    with path.open("wb") as file:
        if kind == ".npz":
            np.savez(file, **arrays)  # type: ignore[arg-type]
            return
        if len(arrays) > 1:
            raise ConfigError(
                f"Impute.out must be able to hold {len(arrays)} fields; got .npy. .npz would do."
            )
        np.save(file, next(iter(arrays.values())))
