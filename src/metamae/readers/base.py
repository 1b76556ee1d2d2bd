"""What a reader is, and the steps that several formats share.

S is the number of samples. A table becomes columns here whatever it came from, so that a CSV
file and a data frame of the same values give the same records.
"""

import difflib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metamae.errors import DataError
from metamae.records import Records
from metamae.registry import did_you_mean

Array = NDArray[Any]

# Largest size in bytes to which a packed file may expand unless it is less than PACKED_MOST
# times its own size: real data seldom packs that well, a decompression bomb always does.
UNPACKED_MOST = 4 * 2**30
PACKED_MOST = 64

# numpy kind -> what would work, for types that no modality can take.
_REFUSED = {
    "c": "Split it into two real channels: np.stack([x.real, x.imag], axis=1).",
    "m": "Divide it by a unit to get numbers: x / np.timedelta64(1, 's').",
    "O": "Convert it with x.astype(float) or x.astype(str).",
    "S": "Decode it with x.astype(str).",
    "V": "Store each of its fields as an array of its own.",
}


class Reader(ABC):
    """Turns one kind of source into records. Its keyword-only arguments are its settings.

    Attributes:
        description: One line for a list of the readers.
        extensions: Ends of the file names it reads, in lower case.
    """

    description: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]] = ()

    def accepts(self, data: Any) -> bool:
        """Say whether this reader is the one for `data`, judging by its type and name only."""
        return (
            is_path(data)
            and str(data).lower().endswith(self.extensions)
            and not find_path(data).is_dir()
        )

    @abstractmethod
    def read(self, data: Any, field: str | None = None) -> Records:
        """Return the samples of `data`.

        Args:
            data: What a user has: a path or an object in memory.
            field: The one field to keep; None keeps all.

        Raises:
            DataError: If it cannot be read, is empty, or holds what cannot be a sample.
        """


def is_path(data: Any) -> bool:
    """Say whether `data` names a file or folder."""
    return isinstance(data, str | os.PathLike)


def find_path(data: Any) -> Path:
    """Return the file or folder that `data` names.

    Raises:
        DataError: If it is no path, or nothing is there; the message offers a near name.
    """
    if not is_path(data) or not os.fspath(data):
        raise DataError(
            f"data must be a path for this reader; got {_brief(data)}. "
            "The path of a file or folder would do."
        )
    try:
        path = Path(data).expanduser()
        if path.exists():
            return path
    except (OSError, ValueError, RuntimeError) as error:
        # The text of an OSError repeats the path, however long.
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"data must be the path of something that exists; got {_brief(data)} ({reason}). "
            "Text goes in a list, one string per sample."
        ) from error
    raise DataError(
        f"data must be the path of something that exists; got {_brief(data)}. {_beside(path)}"
    )


def find_file(data: Any) -> Path:
    """Return the file that `data` names, else raise DataError as `find_path` does."""
    path = find_path(data)
    # Opening a pipe or a device could wait for ever.
    if not path.is_file():
        got = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise DataError(f"{data} must be a file; got {got}. Give the path of a file.")
    return path


def _brief(data: Any) -> str:
    text = repr(os.fspath(data)) if is_path(data) else type(data).__name__
    return text if len(text) <= 200 else text[:200] + "..."


def _beside(path: Path) -> str:
    folder = path.parent
    try:
        # A folder may hold millions of files; the first thousand are enough for a hint.
        names = sorted(entry.name for entry in islice(folder.iterdir(), 1000))
    except OSError:
        return f"There is no readable folder {str(folder)!r} either."
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"Did you mean {str(folder / near[0])!r}? " if near else ""
    shown = ", ".join(names[:8]) or "nothing"
    return f"{hint}{str(folder)!r} holds: {shown}{', ...' if len(names) > 8 else ''}."


@contextmanager
def legible(owner: str, rule: str, remedy: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a DataError.

    Decoders of damaged files raise far more than OSError (struct.error, zlib.error, SyntaxError,
    IndexError, ...), which is why everything is caught. Keep the block to the decoder's call.

    Args:
        owner: File, or file and column, that opens the message.
        rule: What it must be, e.g. "must be a complete .npy file".
        remedy: What would work.

    Raises:
        DataError: If the block raises anything.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise DataError(
            f"{owner} {rule}; got an error on reading it: {reason}. {remedy}"
        ) from error


def check_unpacked(source: str, packed: int, unpacked: int, most: int) -> None:
    """Refuse a file that would fill the memory, all sizes in bytes.

    Raises:
        DataError: If it expands both to more than `most` and by more than a factor of 64.
    """
    if unpacked > most and unpacked > PACKED_MOST * packed:
        raise DataError(
            f"{source} must not expand beyond {most} bytes; got {unpacked} bytes from "
            f"{packed} packed ones. If that is meant, max_bytes={unpacked} would do."
        )


def check_field(source: str, field: str | None, names: Iterable[str]) -> None:
    """Raise DataError if `field` is asked for and is not one of `names`."""
    if field is not None and field not in (names := list(names)):
        raise DataError(
            f"{source} must hold the field asked for; got field={field!r}."
            f"{did_you_mean(str(field), names)}"
        )


def check_names(source: str, names: Iterable[str]) -> None:
    """Raise DataError if a column's name is empty or occurs twice."""
    seen: set[str] = set()
    for position, name in enumerate(names):
        if not name.strip():
            raise DataError(
                f"{source} must name every column; got no name for column {position + 1}. "
                "Name it or remove it (pandas writes its index so; index=False leaves it out)."
            )
        if name in seen:
            raise DataError(
                f"{source} must name every column differently; got {name!r} twice. Rename one."
            )
        seen.add(name)


def as_column(owner: str, array: Array) -> Array:
    """Return an array as a column: numbers, dates or strings, one value per sample.

    Args:
        owner: What messages call the array.
        array: Any array, (S, ...). It is copied only if torch could not hold its type.

    Raises:
        DataError: If it is empty or of a type that cannot be a column.
    """
    kind = array.dtype.kind
    if array.ndim == 0:
        raise DataError(
            f"{owner} must hold one value per sample; got a single value. "
            "An array with an axis for the samples would do."
        )
    if array.size == 0:
        raise DataError(
            f"{owner} must hold at least one value; got shape {array.shape}. "
            "Any array without an axis of length 0 would do."
        )
    if kind in _REFUSED:
        raise DataError(
            f"{owner} must hold numbers or strings; got {array.dtype}. {_REFUSED[kind]}"
        )
    if kind in "UTM" and array.ndim > 1:
        raise DataError(
            f"{owner} must hold one {'date' if kind == 'M' else 'string'} per sample; got shape "
            f"{array.shape}. Store each column as an array of its own."
        )
    if kind in "UT":
        return np.asarray(array).astype(object)
    if kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def as_samples(owner: str, column: Array) -> Array:
    """Return a column that has no name, and so must be the samples themselves.

    Raises:
        DataError: If it has one number per sample, which is a field of a table or a mistake.
    """
    if column.ndim == 1 and column.dtype != object:
        raise DataError(
            f"{owner} must have an axis for the samples and one for their values; got shape "
            f"{column.shape}, one number per sample. Reshape it to (S, 1) if S samples of one "
            "number are meant, or to (1, S) for one series."
        )
    return column


def table_records(
    table: Any, source: str, *, field: str | None = None, row_word: str = "row", first_row: int = 0
) -> Records:
    """Turn an Arrow table into records.

    Raises:
        DataError: If it is empty, or a column has no legal name or an unfit type.
    """
    names = [str(name) for name in table.column_names]
    check_names(source, names)
    check_field(source, field, names)
    if not table.num_rows or not names:
        raise DataError(
            f"{source} must hold at least one row; got {table.num_rows} rows of {len(names)} "
            "columns. A table with a row per sample would do."
        )
    columns = {
        name: arrow_column(f"{source}, column {name!r}", table.column(position))
        for position, name in enumerate(names)
        if field in (None, name)
    }
    return Records(columns, source, row_word=row_word, first_row=first_row)


def arrow_column(owner: str, values: Any) -> Array:
    """Turn a chunked Arrow array of S values into a numpy column.

    Numbers stay as they are, or become floating with NaN where some are missing; strings and
    dictionaries become an object array with None; times of day and durations become seconds;
    lists of equal shapes become (S, ...), others an object array of arrays.

    Raises:
        DataError: If the type cannot be a column.
    """
    import pyarrow as pa

    convert: Callable[[str, Any], Array] | None = None
    if isinstance(values.type, pa.FixedShapeTensorType):
        convert = _tensors
    for call, names in _CONVERTERS:
        tests = (getattr(pa.types, f"is_{name}", None) for name in names)
        if any(test(values.type) for test in tests if test):
            convert = call
    if convert is None:
        raise DataError(
            f"{owner} must hold numbers, dates, strings or lists of numbers; got {values.type}. "
            "Drop the column, or read one other with field=..."
        )
    with legible(owner, f"must hold legal values of type {values.type}", "Rewrite the column."):
        return convert(owner, values)


def _numbers(owner: str, values: Any) -> Array:
    import pyarrow as pa

    types, kind = pa.types, values.type
    # numpy knows a missing value among floating numbers and dates only.
    holds_gaps = types.is_floating(kind) or types.is_date(kind) or types.is_timestamp(kind)
    if types.is_decimal(kind) or (values.null_count and not holds_gaps):
        values = values.cast(pa.float64())
    return np.asarray(values.to_numpy())


def _strings(owner: str, values: Any) -> Array:
    import pyarrow as pa

    if not pa.types.is_dictionary(values.type):
        return np.asarray(values.cast(pa.large_string()).to_numpy(), dtype=object)
    parts = [np.empty(0, dtype=object)]
    for chunk in values.chunks:
        # By hand, because Arrow decodes only some types of dictionary. Position -1 is None.
        words = [*chunk.dictionary.cast(pa.large_string()).to_pylist(), None]
        codes = chunk.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        parts.append(np.array(words, dtype=object)[codes])
    return np.concatenate(parts)


def _seconds(owner: str, values: Any) -> Array:
    import pyarrow as pa

    unit = pa.duration("ns") if pa.types.is_duration(values.type) else pa.time64("ns")
    return _numbers(owner, values.cast(unit).cast(pa.int64())) / 1e9


def _tensors(owner: str, values: Any) -> Array:
    if values.null_count:
        raise DataError(f"{owner} must hold a tensor in every row; got none in some. Drop those.")
    return np.concatenate([c.to_numpy_ndarray() for c in values.chunks if len(c)])


def _lists(owner: str, values: Any) -> Array:
    import pyarrow as pa

    whole = pa.concat_arrays(values.chunks)
    if whole.null_count:
        row = int(np.flatnonzero(whole.is_null().to_numpy(zero_copy_only=False))[0])
        raise DataError(
            f"{owner} must hold a list in every row; got a missing one at position {row}. "
            "Drop the row, or make it an empty list."
        )
    equal = _dense(owner, whole)
    if equal is not None:
        return as_column(owner, equal)
    ragged = np.empty(len(whole), dtype=object)
    inner = _dense(owner, whole.flatten())
    if inner is not None:
        ends = np.cumsum(whole.value_lengths().to_numpy())
        ragged[:] = np.split(inner, ends[:-1])
        return ragged
    for row in range(len(whole)):
        one = _dense(owner, whole.slice(row, 1))
        if one is None:
            raise DataError(
                f"{owner} must hold a rectangular array in every row; got lists of different "
                f"lengths within the one at position {row}. Pad them to one length."
            )
        ragged[row] = one[0]
    return ragged


def _dense(owner: str, array: Any) -> Array | None:
    # Values of an Arrow array as (len, ...), or None if lists in it differ in length.
    import pyarrow as pa

    types = pa.types
    if types.is_list(array.type) or types.is_large_list(array.type):
        lengths = np.unique(array.value_lengths().fill_null(0).to_numpy())
        if len(lengths) > 1:
            return None
        length = int(lengths[0]) if len(lengths) else 0
    elif types.is_fixed_size_list(array.type):
        length = array.type.list_size
    elif types.is_primitive(array.type) and not types.is_temporal(array.type):
        return _numbers(owner, pa.chunked_array([array]))
    else:
        raise DataError(
            f"{owner} must hold numbers in its lists; got {array.type}. "
            "Join a list of strings into one string, or drop the column."
        )
    if array.null_count:
        raise DataError(f"{owner} must not miss an inner list; got a null. Fill or drop its row.")
    inner = _dense(owner, array.flatten())
    return None if inner is None else inner.reshape(len(array), length, *inner.shape[1:])


# Names of the Arrow types, as in pyarrow.types.is_<name>; older versions lack string_view.
_CONVERTERS: tuple[tuple[Callable[[str, Any], Array], tuple[str, ...]], ...] = (
    (_numbers, ("null", "boolean", "integer", "floating", "decimal", "date", "timestamp")),
    (_strings, ("string", "large_string", "string_view", "dictionary")),
    (_seconds, ("time", "duration")),
    (_lists, ("list", "large_list", "fixed_size_list")),
)
