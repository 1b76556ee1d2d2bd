"""One numpy array in a .npy file, mapped and not loaded."""

from typing import Any, ClassVar

import numpy as np

from metamae.aside import Aside
from metamae.errors import DataError
from metamae.files import check_field, find_file, legible
from metamae.readers.base import Reader
from metamae.records import Records
from metamae.values import as_column, as_samples

_REMEDY = "Write an array of numbers or of strings again with np.save."


class NpyReader(Reader):
    """Reads an array (S, ...) as field "X"."""

    description: ClassVar[str] = "a numpy array, samples along its first axis"
    extensions: ClassVar[tuple[str, ...]] = (".npy",)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        path, source = find_file(data), str(data)
        check_field(source, field, ["X"])
        # open_memmap and not np.load, because it knows neither pickles nor archives.
        with legible(source, "must be a complete .npy file", _REMEDY):
            array = np.lib.format.open_memmap(path, mode="r")
            size = path.stat().st_size
        expected = array.offset + array.nbytes
        # np.save twice into one file is legal, but would lose all but the first array here.
        if size != expected:
            raise DataError(
                f"{source} must hold exactly one array; got {size} bytes where its header says "
                f"{expected}. Write one array per file, or several into an .npz file."
            )
        return Records({"X": as_samples(source, as_column(source, array))}, source)
