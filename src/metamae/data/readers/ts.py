"""Series in the .ts files of the UEA and UCR archives, as aeon and sktime write them.

A header of lines "@name values" ends with "@data". Below it, each line is a sample: its channels,
separated by ":", and last its class or target. Values are separated by ","; "?" is a missing one.
"""

from collections import Counter
from dataclasses import dataclass, replace
from typing import IO, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_at_least
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Column
from metamae.data.files import UNPACKED_MOST, check_field, find_file, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.text.file import LINE, TextFile
from metamae.errors import DataError

Series = NDArray[np.float64]


@dataclass(frozen=True)
class _Header:
    """What the header of a file says of its samples; None where it is silent."""

    classes: tuple[str, ...] = ()
    labelled: bool = False
    channels: int | None = None
    length: int | None = None
    equal: bool = False
    number: int = 0  # Of its last line.


class TsReader(Reader):
    """Reads series as field "X" and their classes or targets as field "y".

    X is (S, C, L) where all are equally long, else an array (C, L) per sample.

    Args:
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "series of the UEA and UCR archives, as aeon and sktime write them"
    extensions: ClassVar[tuple[str, ...]] = (".ts", ".ts.gz")

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("TsReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        file = TextFile(find_file(data), str(data), self.max_bytes)
        source = file.source
        samples: list[Series] = []
        labels: list[Any] = []
        lines: list[int] = []
        with legible(source, "must be a .ts file", "Write it again."), file.open() as stream:
            header = _header(source, stream)
            number = header.number
            for raw in iter(lambda: stream.readline(LINE), b""):
                number += 1
                if not raw.strip() or raw.lstrip()[:1] in b"#%":
                    continue
                try:
                    sample, label = _sample(raw, header)
                except DataError as error:
                    aside.add(f"{source}, line {number}", str(error), source)
                    continue
                samples.append(sample)
                labels.append(label)
                lines.append(number)
        good = _alike(source, header, samples, lines, aside)
        if not good:
            raise DataError(
                f"{source} must hold at least one good sample; got {number - header.number} lines "
                "below @data. A line per sample would do."
            )
        columns: dict[str, Column] = {"X": _stacked([samples[n] for n in good])}
        if header.labelled:
            kind = object if header.classes else np.float64
            columns["y"] = np.array([labels[n] for n in good], dtype=kind)
        check_field(source, field, columns)
        index = np.array([lines[n] for n in good], dtype=np.int64) - 1
        records = Records(columns, source, row_word="line", first_row=1, index=index)
        return records if field is None else records.only([field])


def _header(source: str, stream: IO[bytes]) -> _Header:
    header = _Header()
    for number, raw in enumerate(iter(lambda: stream.readline(LINE), b""), 1):
        # Comments may be written in any encoding.
        words = raw.decode("utf-8", "replace").split()
        if not words or words[0][0] in "#%":
            continue
        tag, values = words[0].lower(), words[1:]
        if tag == "@data":
            return replace(header, number=number)
        if not tag.startswith("@"):
            raise DataError(
                f"{source}, line {number}, must begin with '@' above the line @data; got "
                f"{words[0][:40]!r}. A header of aeon or sktime would do."
            )
        header = _read_tag(f"{source}, line {number}, {words[0]}", header, tag[1:], values)
    raise DataError(f"{source} must have a line @data above its samples; got none. Add it.")


def _read_tag(owner: str, header: _Header, tag: str, values: list[str]) -> _Header:
    true = values[:1] != [] and values[0].lower() == "true"
    match tag:
        case "timestamps" if true:
            raise DataError(
                f"{owner} must be false; got true: each value has a time stamp. Resample the "
                "series to equal steps and write the values alone."
            )
        case "univariate" if true:
            return replace(header, channels=1)
        case "dimension" | "dimensions":
            return replace(header, channels=_count(owner, values))
        case "equallength":
            return replace(header, equal=true)
        case "serieslength":
            return replace(header, length=_count(owner, values))
        case "targetlabel":
            return replace(header, labelled=header.labelled or true)
        case "classlabel" if true:
            if len(values) < 2:
                raise DataError(f"{owner} must name the classes; got none. Name them behind true.")
            return replace(header, labelled=True, classes=tuple(values[1:]))
    return header


def _count(owner: str, values: list[str]) -> int:
    if len(values) != 1 or not values[0].isdecimal() or len(values[0]) > 18 or not int(values[0]):
        raise DataError(
            f"{owner} must be a whole number of at least 1; got {' '.join(values)[:40]!r}. "
            "Remove the line if it is unknown."
        )
    return int(values[0])


def _sample(raw: bytes, header: _Header) -> tuple[Series, Any]:
    """Read one line; a DataError says what it must be."""
    if b"(" in raw:
        raise DataError(
            "must hold values alone; got time stamps, '(time,value)'. Resample the series to equal "
            "steps."
        )
    channels = raw.strip().split(b":")
    label: Any = None
    if header.labelled:
        label = _label(channels.pop(), header)
    if header.channels not in (None, len(channels)):
        raise DataError(
            f"must have {header.channels} channels as the header says; got {len(channels)}. "
            "Mend the line or the header."
        )
    values = [_numbers(channel) for channel in channels]
    lengths = {len(channel) for channel in values}
    if len(lengths) != 1:
        raise DataError(
            f"must have channels of one length; got {sorted(lengths)[:5]}. Fill the shorter ones "
            "with '?'."
        )
    return np.array(values), label


def _numbers(channel: bytes) -> list[float]:
    cells = channel.replace(b"?", b"nan").split(b",")
    try:
        return list(map(float, cells))
    except ValueError as error:
        odd = next(cell for cell in cells if not _is_number(cell))
        raise DataError(
            f"must hold numbers separated by ','; got {odd[:40].decode('utf-8', 'replace')!r}. "
            "Write '?' for a missing value."
        ) from error


def _is_number(cell: bytes) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label(raw: bytes, header: _Header) -> Any:
    if header.classes:
        label = raw.decode("utf-8", "replace").strip()
        if label in header.classes:
            return label
        raise DataError(
            f"must end with ':' and one of the classes in the header; got {label[:40]!r}. "
            "Mend the line or the header."
        )
    (target, *others) = _numbers(raw)
    if others:
        raise DataError("must end with ':' and one number, its target; got several. Add it.")
    return target


def _alike(
    source: str, header: _Header, samples: list[Series], lines: list[int], aside: Aside
) -> list[int]:
    """Return the positions of the samples that have as many channels, and values, as they must."""
    channels, length = header.channels, header.length if header.equal else None
    if channels is None:
        channels = _commonest([len(sample) for sample in samples])
    if header.equal and length is None:
        length = _commonest([sample.shape[1] for sample in samples if len(sample) == channels])
    good = []
    for position, sample in enumerate(samples):
        if len(sample) == channels and length in (None, sample.shape[1]):
            good.append(position)
            continue
        must = f"{channels} channels" + (f" of {length} values" if length else "")
        aside.add(
            f"{source}, line {lines[position]}",
            f"must have {must} as the header or most lines say; got {sample.shape[0]} of "
            f"{sample.shape[1]}. Mend the line, or the header: @equalLength false.",
            source,
        )
    return good


def _commonest(values: list[int]) -> int | None:
    return Counter(values).most_common(1)[0][0] if values else None


def _stacked(samples: list[Series]) -> NDArray[Any]:
    if len({sample.shape for sample in samples}) == 1:
        return np.stack(samples)
    ragged = np.empty(len(samples), dtype=object)
    for row, sample in enumerate(samples):
        ragged[row] = sample
    return ragged
