"""Single-cell data in the .h5ad files of the library anndata."""

import warnings
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.core.extras import require
from metamae.data.arrow import IN_MEMORY, annotated_records
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Column
from metamae.data.columns.blocks import Recent
from metamae.data.files import UNPACKED_MOST, find_file, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.stores.fields import check_stored, column_of
from metamae.data.stores.hdf5 import check_group, check_heaps, opened, stored
from metamae.data.stores.sparse import SparseRows, sparse_column
from metamae.errors import ConfigError, DataError

_REMEDY = "Write it again with write_h5ad."


class AnndataReader(Reader):
    """Reads the matrix of cells and genes as field "X", and each column of `obs` as a field.

    Rows of a sparse matrix become dense when they are asked for.

    Args:
        layer: Name of the layer to read in the place of X.
        in_memory: Size in bytes up to which a matrix that is stored gene by gene is loaded.
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "a .h5ad file: a matrix of cells and genes, and columns on cells"
    extensions: ClassVar[tuple[str, ...]] = (".h5ad",)
    local: ClassVar[tuple[str, ...]] = ("in_memory", "max_bytes")

    def __init__(
        self,
        *,
        layer: str | None = None,
        in_memory: int = IN_MEMORY,
        max_bytes: int = UNPACKED_MOST,
    ):
        if layer is not None and (not isinstance(layer, str) or not layer):
            raise ConfigError(
                f"AnndataReader.layer must be the name of a layer; got {layer!r}. "
                "'counts' would do if there is one."
            )
        self.layer = layer
        self.in_memory = check_at_least("AnndataReader.in_memory", in_memory, 0)
        self.max_bytes = check_at_least("AnndataReader.max_bytes", max_bytes, 1)
        self._recent = Recent()

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        anndata = require("anndata", "anndata", "Reading .h5ad files")
        path, source = find_file(data), str(data)
        with (
            legible(source, "must be a complete .h5ad file", _REMEDY),
            warnings.catch_warnings(action="ignore"),  # about older forms of the format
            path.open("rb"),  # says what is wrong with permissions
            opened(path) as file,
        ):
            check_heaps(source, path)
            matrix = self._matrix(source, path, file)
            if hasattr(file["obs"], "shape"):
                frame = _old_frame(source, path, file)
            else:
                check_group(f"{source}, obs", path, file["obs"], self.max_bytes)
                frame = anndata.io.read_elem(file["obs"])
            if len(frame) != len(matrix):
                raise DataError(
                    f"{source} must describe each row of its matrix; got {len(matrix)} rows and "
                    f"{len(frame)} in obs. {_REMEDY}"
                )
        return annotated_records(matrix, frame, source, field)

    def _matrix(self, source: str, path: Path, file: Any) -> Column:
        name = "X" if self.layer is None else f"layers/{self.layer}"
        owner = f"{source}, {name!r}"
        if name not in file:
            raise DataError(
                f"{source} must hold a matrix {name!r}; got none. Its layers are: "
                f"{', '.join(file.get('layers', ())) or 'none'}."
            )
        item = file[name]
        if not hasattr(item, "shape"):
            check_group(owner, path, item, self.max_bytes)
        if hasattr(item, "shape"):
            array = stored(owner, path, item)
            if len(array.shape) != 2 or array.dtype.kind not in "biuf":
                raise DataError(
                    f"{owner} must be a matrix of numbers; got shape {array.shape} of "
                    f"{array.dtype}. {_REMEDY}"
                )
            check_stored(owner, array, self.max_bytes)
            return column_of(owner, array, self._recent)
        return self._sparse(owner, path, item)

    def _sparse(self, owner: str, path: Path, group: Any) -> Column:
        # Versions before 0.8 called it otherwise.
        kind = str(group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", "")))
        shape = group.attrs.get("shape", group.attrs.get("h5sparse_shape", ()))
        if kind[:3] not in ("csr", "csc") or len(shape) != 2:
            raise DataError(f"{owner} must be a matrix; got {kind or 'a group'!r}. {_REMEDY}")
        parts = {
            name: stored(f"{owner}, {name}", path, group[name])
            for name in ("indptr", "indices", "data")
        }
        for name, part in parts.items():
            check_stored(f"{owner}, {name}", part, self.max_bytes)
        starts = parts["indptr"].read(0, parts["indptr"].shape[0]).astype(np.int64)
        width, by_rows = int(shape[1]), kind.startswith("csr")
        if len(starts) != int(shape[0] if by_rows else shape[1]) + 1:
            raise DataError(
                f"{owner} must be a complete sparse matrix; got {len(starts) - 1} rows in a matrix "
                f"of shape {tuple(int(side) for side in shape)}. {_REMEDY}"
            )
        if not by_rows:
            return self._turned(owner, starts, parts, shape)
        return sparse_column(owner, width, starts, parts["indices"], parts["data"], self._recent)

    def _turned(self, owner: str, starts: Any, parts: Any, shape: Any) -> Column:
        """Load a matrix that is stored column by column."""
        from scipy.sparse import csc_array

        count = parts["data"].shape[0]
        size = count * (parts["data"].row_bytes + parts["indices"].row_bytes)
        if size > self.in_memory // self.parts:
            raise DataError(
                f"{owner} must be stored cell by cell (CSR) to be read in parts; got gene by gene "
                f"(CSC), {size} bytes. Save it after adata.X = adata.X.tocsr(), or allow "
                f"in_memory={size * self.parts}."
            )
        rows, values = (parts[name].read(0, parts[name].shape[0]) for name in ("indices", "data"))
        matrix = csc_array((values, rows, starts), shape=tuple(int(side) for side in shape))
        matrix.check_format(full_check=True)
        return SparseRows(matrix.tocsr())


def _old_frame(source: str, path: Path, file: Any) -> Any:
    """Return obs as anndata wrote it before 0.7: one compound dataset, its categories elsewhere."""
    pd = require("pandas", "anndata", "Reading .h5ad files")
    rows = file["obs"]
    kinds = [rows.dtype[name].kind for name in rows.dtype.names or ()]
    if not kinds or set(kinds) - set("biufS"):
        raise DataError(
            f"{source}, obs must have columns of numbers or strings of fixed length; got "
            f"{rows.dtype}. {_REMEDY}"
        )
    stored(f"{source}, obs", path, rows)  # refuses what does not lie within the file
    columns = {name: _decoded(rows[name]) for name in rows.dtype.names}
    for name, values in columns.items():
        words = file.get(f"uns/{name}_categories")
        if words is not None and values.dtype.kind in "iu":
            owner = f"{source}, uns/{name}_categories"
            if not hasattr(words, "shape") or words.ndim != 1 or words.dtype.kind not in "biufS":
                raise DataError(f"{owner} must be a list of numbers or strings. {_REMEDY}")
            stored(owner, path, words)
            columns[name] = pd.Categorical.from_codes(values, _decoded(words[:]))
    index, *names = columns
    return pd.DataFrame({name: columns[name] for name in names}, index=columns[index])


def _decoded(values: Any) -> Any:
    return np.char.decode(values, "utf-8").astype(object) if values.dtype.kind == "S" else values
