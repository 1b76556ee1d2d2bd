"""Kinds of files that hold vectors, each written from rows on disk without holding them all."""

import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.data.records import Records, sample_names
from metamae.encoder.embedding import Vectors

HEADER = 128  # bytes of the header of an .npy file that holds float32 in up to three axes
VALUES = 2**22  # numbers that are brought into columns at once: the rows of a row group
NAMES = 2**16  # names of samples that are made at once


class TokenVectors(Sequence[Vectors]):
    """Vectors of the tokens of each sample, S arrays (N, D), from rows that may lie on disk.

    Args:
        rows: All of them, one sample behind the other, (T, D).
        offsets: Where each sample begins and the last one ends, (S + 1,).
    """

    def __init__(self, rows: Vectors, offsets: Index):
        self.rows, self.offsets = rows, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Vectors: ...

    @overload
    def __getitem__(self, index: slice) -> list[Vectors]: ...

    def __getitem__(self, index: int | slice) -> Vectors | list[Vectors]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        start, stop = self.offsets[index % len(self) :][:2].tolist()
        return self.rows[start:stop]


@dataclass(frozen=True)
class Held:
    """Vectors of all samples on disk, and the samples they belong to.

    Attributes:
        path: An .npy file of one row per sample (S, D) or per token (T, D).
        records: The samples.
        offsets: Where the rows of each sample begin and the last ones end, (S + 1,), if there is
            a row per token; None for a row per sample.
    """

    path: Path
    records: Records
    offsets: Index | None

    @property
    def rows(self) -> Vectors:
        """The rows, mapped from disk."""
        mapped: Vectors = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return mapped

    @property
    def vectors(self) -> "Vectors | TokenVectors":
        """(S, D) mapped from disk, or S arrays (N, D)."""
        return self.rows if self.offsets is None else TokenVectors(self.rows, self.offsets)


def npy_header(shape: tuple[int, ...], dtype: str = "<f4") -> bytes:
    """Return the header of an .npy file, `HEADER` bytes for up to three axes."""
    buffer = BytesIO()
    facts = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, facts)
    return buffer.getvalue()


def write_npz(path: Path, held: Held) -> None:
    """Write "X" and "sample", and for tokens "offsets"; nothing is packed."""
    with zipfile.ZipFile(path, "w") as archive:
        with held.path.open("rb") as rows, archive.open("X.npy", "w", force_zip64=True) as member:
            shutil.copyfileobj(rows, member, 2**20)
        with archive.open("sample.npy", "w", force_zip64=True) as member:
            # Twice, because the longest name decides how much room each takes.
            dtype = np.result_type(*{names.dtype for names in _names(held.records)})
            member.write(npy_header((len(held.records),), dtype.str))
            for names in _names(held.records):
                member.write(names.astype(dtype).tobytes())
        if held.offsets is not None:
            with archive.open("offsets.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, held.offsets, allow_pickle=False)


def write_parquet(path: Path, held: Held) -> None:
    """Write a column "sample", for tokens "token", and "e0", "e1", ..."""
    import pyarrow.parquet as pq

    tables = _tables(held)
    first = next(tables)
    with pq.ParquetWriter(path, first.schema, use_dictionary=False) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def write_csv(path: Path, held: Held) -> None:
    """Write the columns of `write_parquet` as text."""
    from pyarrow import csv

    tables = _tables(held)
    first = next(tables)
    with csv.CSVWriter(path, first.schema) as writer:
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


Writer = Callable[[Path, Held], None]
WRITERS: dict[str, Writer | None] = {
    ".npy": None,  # that is what rows are held in already
    ".npz": write_npz,
    ".parquet": write_parquet,
    ".csv": write_csv,
}


def _names(records: Records) -> Iterator[NDArray[Any]]:
    for start in range(0, len(records), NAMES):
        yield np.array(sample_names(records, start, start + NAMES))


def _tables(held: Held) -> Iterator[Any]:
    """Cut the rows into Arrow tables; where they are cut follows from their number alone."""
    import pyarrow as pa

    rows, offsets = held.rows, held.offsets
    most = max(1, VALUES // rows.shape[1])
    for start in range(0, len(rows), most):
        stop = min(start + most, len(rows))
        if offsets is None:
            columns: dict[str, Any] = {"sample": sample_names(held.records, start, stop)}
        else:
            owner = offsets.searchsorted(np.arange(start, stop), side="right") - 1
            first = int(owner[0])
            names = sample_names(held.records, first, int(owner[-1]) + 1)
            columns = {"sample": [names[i] for i in (owner - first).tolist()]}
            columns["token"] = np.arange(start, stop) - offsets[owner]
        turned = np.ascontiguousarray(rows[start:stop].T)
        yield pa.table(columns | {f"e{d}": numbers for d, numbers in enumerate(turned)})
