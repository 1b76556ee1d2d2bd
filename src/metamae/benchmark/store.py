"""The folder of a benchmark: a file per cell, so that it can go on where it was stopped."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metamae.benchmark.cell import Cell, Row
from metamae.core.atomic import make_folder, write_atomically, write_text_atomically
from metamae.errors import ArtifactError

ASKED = "asked.json"
CELLS = "cells"


class Store:
    """Results of cells on disk.

    Args:
        folder: Where; it is made.
        asked: What makes cells comparable: suite, settings, version. A folder with other ones is
            refused.

    Raises:
        ArtifactError: If the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, asked: Mapping[str, Any]):
        self.folder = folder
        path = folder / ASKED
        if path.exists():
            found = _read(path)
            other = [key for key in asked if found.get(key) != _plain(asked[key])]
            if other:
                raise ArtifactError(
                    f"{folder} must hold results of the same benchmark; got {other[0]} = "
                    f"{found.get(other[0])!r} there and {asked[other[0]]!r} here. Another --out "
                    f"keeps both."
                )
        elif folder.exists() and any(folder.iterdir()):
            raise ArtifactError(
                f"{folder} must be an empty folder or one of a benchmark; it holds other files. "
                f"Another --out would do."
            )
        make_folder(folder)
        write_text_atomically(path, json.dumps(_plain(asked), indent=1))

    def path(self, cell: Cell) -> Path:
        """Return the file of a cell."""
        return self.folder / CELLS / cell.problem / f"{cell.method}-{cell.seed}.json"

    def has(self, cell: Cell) -> bool:
        """Whether a cell is there."""
        return self.path(cell).exists()

    def put(self, cell: Cell, rows: list[Row]) -> None:
        """Write a cell, in the place of an older one."""
        path = self.path(cell)
        make_folder(path.parent)
        write_text_atomically(path, json.dumps(rows, indent=1))

    def rows(self) -> list[Row]:
        """Return the rows of all cells that are there.

        Raises:
            ArtifactError: If a file is damaged.
        """
        paths = sorted((self.folder / CELLS).glob("*/*.json"))
        return [row for path in paths for row in _read(path)]

    def write_parquet(self, rows: list[Row]) -> Path:
        """Write rows as `results.parquet`; return the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        path = self.folder / "results.parquet"
        table = pa.Table.from_pylist(rows)
        write_atomically(path, lambda temporary: pq.write_table(table, temporary))
        return path

    def write_text(self, name: str, text: str) -> Path:
        """Write a text file; return it."""
        path = self.folder / name
        write_text_atomically(path, text)
        return path


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} must hold results of a benchmark; got {error}. Remove it and run again."
        ) from error
