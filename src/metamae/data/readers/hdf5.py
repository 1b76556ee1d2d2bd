"""The datasets of an HDF5 file."""

from typing import Any, ClassVar

from metamae.core.checks import check_at_least
from metamae.data.bad_samples import Aside
from metamae.data.columns.blocks import Recent
from metamae.data.files import UNPACKED_MOST, find_file
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.stores import columns_of
from metamae.data.stores.hdf5 import stored_datasets


class Hdf5Reader(Reader):
    """Reads every dataset (S, ...) of the file as a field of its own, "group/name" in groups.

    Datasets are read when they are asked for: mapped where they are stored in one piece, else
    some chunks at a time.

    Args:
        max_bytes: Size in memory above which a dataset that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "an HDF5 file, a field per dataset"
    extensions: ClassVar[tuple[str, ...]] = (".h5", ".hdf5", ".hdf", ".he5")

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("Hdf5Reader.max_bytes", max_bytes, 1)
        self._recent: dict[str, Recent] = {}

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        path, source = find_file(data), str(data)
        arrays, left_out = stored_datasets(source, path, field, self.max_bytes)
        columns = columns_of(source, arrays, left_out, field, self.max_bytes, self._recent)
        return Records(columns, source, row_word="row")
