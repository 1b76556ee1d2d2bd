"""Numpy arrays in .npy files, mapped and not loaded."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_one_of
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array, Column
from metamae.data.columns.decoded import Decoded
from metamae.data.columns.values import as_column, as_samples
from metamae.data.files import (
    check_field,
    class_folders,
    find_file,
    find_in_folder,
    find_path,
    is_path,
    legible,
    peek,
)
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import DataError

_REMEDY = "Write an array of numbers or of strings again with np.save."


class NpyReader(Reader):
    """Reads an array (S, ...) as field "X"; or a folder of arrays, each of them one sample.

    Args:
        each_file: What one of several files is: "shard" for a part of the samples, "sample" for a
            folder whose files are one sample each, of any lengths.
    """

    description: ClassVar[str] = "a numpy array, samples along its first axis"
    extensions: ClassVar[tuple[str, ...]] = (".npy",)
    uniform: ClassVar[bool] = True

    def __init__(self, *, each_file: str = "shard"):
        self.each_file = check_one_of("NpyReader.each_file", each_file, ("shard", "sample"))

    def accepts(self, data: Any) -> bool:
        if self.each_file == "sample" and is_path(data) and find_path(data).is_dir():
            return any(name.endswith(self.extensions) for name in peek(find_path(data)))
        return super().accepts(data)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        if self.each_file == "sample" and find_path(data).is_dir():
            return _samples(find_path(data), str(data), field, aside)
        path, source = find_file(data), str(data)
        check_field(source, field, ["X"])
        return Records({"X": as_samples(source, as_column(source, _mapped(path, source)))}, source)


def _mapped(path: Path, source: str) -> Array:
    # open_memmap and not np.load, because it knows neither pickles nor archives.
    _refuse_objects(path, source)
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
    return array


def _refuse_objects(path: Path, source: str) -> None:
    with legible(source, "must be a complete .npy file", _REMEDY), path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        _, _, dtype = read(file)
    if dtype.hasobject:
        raise DataError(
            f"{source} must hold numbers or strings; got pickled objects, which are never "
            "unpickled: they may run any code. Where you trust them, write arrays of different "
            "lengths as Parquet or as a .npy file each, and texts with array.astype(str)."
        )


def _samples(root: Path, source: str, field: str | None, aside: Aside) -> Records:
    """Return the arrays below a folder as samples, and their first folders as labels."""
    paths: list[Path] = []
    shapes: list[tuple[int, ...]] = []
    dtypes: list[np.dtype[Any]] = []
    for path in find_in_folder(root, source, (".npy",), "array"):
        try:
            array = _sample(path)
            if shapes and array.ndim != len(shapes[0]):
                raise DataError(
                    f"{path} must have {len(shapes[0])} axes like the others; got shape "
                    f"{array.shape}. Reshape it."
                )
        except DataError as error:
            aside.add(str(path), str(error).removeprefix(f"{path} "), source)
            continue
        paths.append(path)
        shapes.append(array.shape)
        dtypes.append(array.dtype)
    if not paths:
        raise DataError(f"{source} must hold at least one array that can be read; got none.")
    dtype = np.result_type(*set(dtypes))
    columns: dict[str, Column] = {
        "X": Decoded(
            paths,
            lambda path: np.array(_sample(path), dtype=dtype),
            dtype,
            shapes[0] if len(set(shapes)) == 1 else None,
            sizes=np.array(shapes, dtype=np.int64),
            decode_part=lambda path, start, stop: np.array(
                _sample(path)[..., start:stop], dtype=dtype
            ),
        )
    }
    names = [path.relative_to(root).as_posix() for path in paths]
    labels = class_folders(names)
    if labels is not None:
        columns["label"] = np.array(labels, dtype=object)
    check_field(source, field, columns)
    kept = columns if field is None else {field: columns[field]}
    return Records(kept, source, row_word="file", names=names)


def _sample(path: Path) -> Array:
    array = _mapped(find_file(path), str(path))
    if array.ndim == 0 or array.dtype.kind not in "biuf":
        raise DataError(
            f"{path} must hold an array of numbers with at least one axis; got shape "
            f"{array.shape} of {array.dtype}. {_REMEDY}"
        )
    return as_column(str(path), array)
