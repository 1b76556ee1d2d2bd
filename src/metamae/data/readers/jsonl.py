"""Objects in JSON: one per line, or all of them in an array."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array
from metamae.data.files import UNPACKED_MOST, check_field, find_file, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.text.file import TextFile
from metamae.data.text.lines import decoded_lines
from metamae.data.text.spans import Content
from metamae.data.text.spellings import convert, share
from metamae.errors import DataError

_KINDS = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list"}
# A table of more cells than this, of which fewer than one in `_SPARSE` is there, is none.
_CELLS = 2**22
_SPARSE = 64
_PEEK = 100  # strings that are looked at before all are compared with a date


class JsonlReader(Reader):
    """Reads the values of each object as fields: numbers, texts, dates, lists of numbers.

    Objects within objects become fields with a dot in their names; null is a missing value.

    Args:
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "JSON objects, one per line or in an array, a field per value"
    extensions: ClassVar[tuple[str, ...]] = tuple(
        f".{end}{packed}" for end in ("jsonl", "ndjson", "json") for packed in ("", ".gz")
    )

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("JsonlReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        file = TextFile(find_file(data), str(data), self.max_bytes)
        source = file.source
        with legible(source, "must be a JSON file", "Write it again."):
            file.warn_if_large()
            content = Content(file)
            is_array = _is_array(content)
            rows = _elements(content) if is_array else _lines(content, aside)
            word = "element" if is_array else "line"
            table = _Table(source, word)
            for number, row in rows:
                table.add(number, row, aside)
            if not table.names:
                raise DataError(
                    f"{source} must hold at least one good JSON object with a value; got none. "
                    'A line like {"text": "..."} per sample would do.'
                )
            check_field(source, field, table.names)
            index, columns = table.columns(list(table.names) if field is None else [field], aside)
        return Records(columns, source, row_word=word, first_row=1, index=index)


def _is_array(content: Content) -> bool:
    """Say whether a file holds one array; lines that are arrays are no objects."""
    source = content.file.source
    with content.reading() as read:
        opening = read(content.start, content.start + 4096).lstrip()
    if opening.split(b"\n")[0].strip() == b"{":
        raise DataError(
            f"{source} must hold one object per line, or an array of objects; got one object over "
            "several lines. Write the objects in it as an array."
        )
    return opening[:1] == b"[" and content.file.path.name.lower().endswith((".json", ".json.gz"))


def _elements(content: Content) -> Iterator[tuple[int, Any]]:
    source = content.file.source
    with content.reading() as read:
        raw = read(content.start, content.size)
    try:
        found = _DECODER.decode(raw.decode())
    except UnicodeDecodeError as error:
        raise content.file.encoding_error() from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source} must be legal JSON; got {error}. Write it again.") from error
    yield from enumerate(found, 1)


def _lines(content: Content, aside: Aside) -> Iterator[tuple[int, Any]]:
    number, source = 0, content.file.source
    for _, block in content.line_blocks():
        for line in decoded_lines(content.file, block, number + 1, aside):
            number += 1
            if line is None or not line.strip():
                continue
            try:
                yield number, _DECODER.decode(line)
            except (ValueError, RecursionError) as error:
                reason = f"must hold one JSON object; got {error}. Mend or remove the line."
                aside.add(f"{source}, line {number}", reason, source)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {name[:40]!r} twice in an object")
    return found


def _constant(name: str) -> float | None:
    if name == "NaN":
        return None
    raise ValueError(f"{name}, which is no JSON number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_constant)


def _flat(row: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


class _Table:
    """Values of R objects by the names of their fields."""

    def __init__(self, source: str, word: str):
        self.source, self.word = source, word
        self.numbers: list[int] = []  # Of the line or element of each object, from 1.
        self.names: dict[str, list[Any]] = {}
        self.num_values = 0

    def add(self, number: int, row: Any, aside: Aside) -> None:
        """Add one object, or note that it is none."""
        if not isinstance(row, dict):
            got = json.dumps(row)[:40]
            self._refuse(number, f"must hold one JSON object; got {got}.", aside)
            return
        try:
            nested = dict in map(type, row.values())
            values = _unique(list(_flat(row))) if nested else row
        except (ValueError, RecursionError) as error:
            self._refuse(number, f"must name its fields differently; got {error}.", aside)
            return
        for name, value in values.items():
            column = self.names.setdefault(name, [])
            # Objects before this one did not have the field.
            column.extend([None] * (len(self.numbers) - len(column)))
            column.append(value)
        self.numbers.append(number)
        self.num_values += len(values)
        cells = len(self.numbers) * len(self.names)
        if cells > max(_CELLS, _SPARSE * self.num_values):
            raise DataError(
                f"{self.source} must hold objects with the same fields; got {len(self.names)} "
                f"different names in {len(self.numbers)} objects. Make the names values."
            )

    def columns(self, names: list[str], aside: Aside) -> tuple[Any, dict[str, Array]]:
        """Return where the good objects stand in the file, and the fields that are asked for."""
        bad: set[int] = set()
        found: dict[str, list[Any]] = {}
        for name in names:
            column = self.names[name]
            column.extend([None] * (len(self.numbers) - len(column)))
            found[name], odd = self._alike(name, column)
            for row, reason in odd.items():
                if row not in bad:
                    self._refuse(self.numbers[row], f"field {name!r} must be {reason}", aside)
            bad |= odd.keys()
        good = np.delete(np.arange(len(self.numbers)), sorted(bad))
        columns = {
            name: _column([column[row] for row in good.tolist()]) for name, column in found.items()
        }
        return np.array(self.numbers, dtype=np.int64)[good] - 1, columns

    def _refuse(self, number: int, reason: str, aside: Aside) -> None:
        where = f"{self.source}, {self.word} {number}"
        aside.add(where, f"{reason} Mend or remove it.", self.source)

    def _alike(self, name: str, column: list[Any]) -> tuple[list[Any], dict[int, str]]:
        """Return the values of a field, lists as arrays, and which are not what most are."""
        kinds = [_KINDS.get(type(value)) for value in column]
        usual = _usual(kind for kind in kinds if kind)
        odd = {
            row: f"{usual} as in most; got {json.dumps(column[row])[:40]}."
            for row, kind in enumerate(kinds)
            if kind not in (None, usual)
        }
        if usual != "a list":
            return column, odd
        arrays = [_array(value) if isinstance(value, list) else None for value in column]
        axes = _usual(array.ndim for array in arrays if array is not None)
        if axes is None:
            raise DataError(
                f"{self.source}, field {name!r}, must hold numbers in its lists; got others. "
                "Join a list of strings into one string, or read one other field with field=..."
            )
        for row, array in enumerate(arrays):
            if kinds[row] == usual and (array is None or array.ndim != axes):
                got = json.dumps(column[row])[:40]
                odd[row] = f"a rectangular list of numbers with {axes} axes; got {got}."
        return arrays, odd


def _usual(values: Iterator[Any]) -> Any:
    commonest = Counter(values).most_common(1)
    return commonest[0][0] if commonest else None


def _array(value: list[Any]) -> Array | None:
    # Numbers of a list of any depth; None if it is not rectangular or holds something else.
    try:
        array = np.array(value if value else [], dtype=None if value else np.float64)
    except ValueError:
        return None
    if array.dtype == object and all(v is None or type(v) in (int, float) for v in array.flat):
        return array.astype(np.float64)
    return array if array.dtype.kind in "iufb" else None


def _column(values: list[Any]) -> Array:
    there = [value for value in values if value is not None]
    first = there[0] if there else np.nan
    if isinstance(first, str):
        return _texts(values, there)
    if isinstance(first, np.ndarray):
        kind = np.result_type(*{array.dtype for array in there})
        if len(there) == len(values) and len({array.shape for array in there}) == 1:
            return np.array(values, dtype=kind)
        ragged = np.empty(len(values), dtype=object)
        for row, array in enumerate(values):
            ragged[row] = None if array is None else array.astype(kind)
        return ragged
    if len(there) < len(values):
        return np.array(values, dtype=np.float64)
    found = np.array(values)
    # Whole numbers beyond 64 bits are kept as nearly as they can be.
    return found if found.dtype.kind in "bif" else found.astype(np.float64)


def _texts(values: list[Any], there: list[str]) -> Array:
    import pyarrow as pa

    # A look at some spares the rest where they are no dates, as most are not.
    if share(pa.chunked_array([there[:_PEEK]]), "date") == 1:
        cells = pa.chunked_array([values], type=pa.string())
        if share(cells, "date") == 1:
            return np.asarray(convert(cells, "date").to_numpy())
    return np.array(values, dtype=object)
