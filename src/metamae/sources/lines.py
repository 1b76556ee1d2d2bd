"""Text files, plain or packed with gzip: their bytes, their lines, and columns of their parts.

A plain file stays on disk, and what is kept of it are the positions of its samples; a packed one
is unpacked into memory, because nothing in it can be found without unpacking all before it.
"""

import codecs
import gzip
import io
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from metamae.aside import Aside
from metamae.columns import Index, positions
from metamae.errors import DataError
from metamae.files import UNPACKED_MOST, check_unpacked, legible

_log = logging.getLogger("metamae")

LINE = 2**26  # bytes of the longest line that is looked at in one piece
BLOCK = 2**22  # bytes that are looked at together
LARGE = 2**31  # bytes of text from which a table had better not be a text file
_BOM = codecs.BOM_UTF8

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class TextFile:
    """A text file, packed or not.

    Nothing is caught here: the reader turns what goes wrong into a DataError.

    Args:
        path: The file.
        source: What messages call it.
        most: Size in bytes above which a file that packs suspiciously well is refused.
        encoding: Of the text; a byte order mark is removed from UTF-8.
    """

    path: Path
    source: str
    most: int = UNPACKED_MOST
    encoding: str = "utf-8"

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Give the bytes of the text."""
        with self.path.open("rb") as raw:
            if not _packed(raw):
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as stream:
                size = self.path.stat().st_size
                yield io.BufferedReader(_Counted(stream, self.source, size, self.most))

    @contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        """Give the lines as they stand, none of them of unlimited length."""
        with (
            self.open() as stream,
            io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
        ):
            yield iter(lambda: text.readline(LINE), "")

    def warn_if_large(self) -> None:
        """Say that a table of this size is better kept in another format."""
        with self.path.open("rb") as raw:
            packed, size = _packed(raw), raw.seek(0, io.SEEK_END)
            if packed:
                # The last bytes tell the unpacked size modulo 2**32: enough for advice.
                raw.seek(max(0, size - 4))
                size = max(size, int.from_bytes(raw.read(4), "little"))
        if size > LARGE:
            _log.warning(
                "%s holds %.1f GiB of text, all of which has to fit into memory. Parquet is read a "
                "part at a time; to convert: pyarrow.dataset.write_dataset("
                "pyarrow.csv.open_csv(%r), 'converted', format='parquet')",
                *(self.source, size / 2**30, str(self.path)),
            )

    def encoding_error(self) -> DataError:
        """Return the error that names the first line that is not of the encoding."""
        number, reason = 0, "must be text; got bytes that are none."
        with self.open() as stream:
            for line in iter(lambda: stream.readline(LINE), b""):
                number += 1
                try:
                    line.decode(self.encoding)
                except UnicodeDecodeError as error:
                    reason = undecodable(error, line)
                    break
        return DataError(f"{self.source}, line {number}, {reason}")


def undecodable(error: UnicodeDecodeError, line: bytes) -> str:
    """Say which byte of a line is not of the encoding, and what would work."""
    name = error.encoding.upper().removesuffix("-SIG")
    return (
        f"must be {name} text; got the byte {line[error.start : error.start + 1]!r} at position "
        f"{error.start} of the line. Save the file with encoding UTF-8."
    )


class Content:
    """The bytes of a text file, on disk or, where they had to be unpacked, in memory.

    Threads and forked processes may share one: each use opens the file again.

    Attributes:
        file: The file.
        start: Position where the text begins: behind a byte order mark.
        size: Position where it ends.
    """

    def __init__(self, file: TextFile):
        self.file = file
        self.unpacked: bytes | None = None
        with file.path.open("rb") as raw:
            packed = _packed(raw)
        if packed:
            with file.open() as stream:
                self.unpacked = stream.read()
        self.stamp = self._stamp()
        self.size = self.stamp[0] if self.unpacked is None else len(self.unpacked)
        with self.reading() as read:
            self.start = 3 if file.encoding == "utf-8" and read(0, 3) == _BOM else 0

    @contextmanager
    def reading(self) -> Iterator[Read]:
        """Give a function (start, stop) -> bytes.

        Raises:
            DataError: If the file has changed since it was first read, or cannot be read.
        """
        unpacked, source = self.unpacked, self.file.source
        if unpacked is not None:
            yield lambda start, stop: unpacked[start:stop]
            return
        with legible(source, "must stay readable", "Restore the file."):
            # A large buffer would be filled anew for each short sample.
            stamp, raw = self._stamp(), self.file.path.open("rb", buffering=512)
        with raw:
            if stamp != self.stamp:
                raise DataError(
                    f"{source} must stay as it was when it was first read; got a changed file. "
                    "Read it again."
                )

            def read(start: int, stop: int) -> bytes:
                raw.seek(start)
                return raw.read(stop - start)

            yield read

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Give all of the text in pieces of `BLOCK` bytes, and the position of each."""
        with self.reading() as read:
            for position in range(self.start, self.size, BLOCK):
                yield position, read(position, min(position + BLOCK, self.size))

    def line_blocks(self) -> Iterator[tuple[int, bytes]]:
        """Give all of the text in pieces of whole lines, and the position of each.

        Raises:
            DataError: If a line is longer than `LINE` bytes.
        """
        rest, begun = b"", self.start
        for _, piece in self.pieces():
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield begun, rest + piece[:cut]
                begun += len(rest) + cut
                rest = piece[cut:]
            else:
                rest += piece
            if len(rest) > LINE:
                raise DataError(
                    f"{self.file.source} must hold lines of at most {LINE} bytes; got a longer "
                    f"one at position {begun}. Break it into lines."
                )
        if rest:
            yield begun, rest

    def _stamp(self) -> tuple[int, int]:
        status = self.file.path.stat()
        return status.st_size, status.st_mtime_ns


class Spans:
    """A column of strings that stand in a text file, each read when it is asked for.

    Args:
        content: The file.
        starts: Position of the first byte of each sample, (S,).
        stops: Position behind its last byte, or behind some bytes that `decode` leaves out, (S,).
        decode: Turns these bytes into the sample.
        sizes: Length of each in characters, (S,), where it is known.
    """

    def __init__(
        self,
        content: Content,
        starts: Index,
        stops: Index,
        decode: Callable[[bytes], str],
        *,
        sizes: Index | None = None,
    ):
        self.content, self.starts, self.stops, self.decode = content, starts, stops, decode
        self.lengths = sizes

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(object)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.starts),)

    @property
    def sizes(self) -> Index | None:
        """Length of every sample in characters, (S, 1), where that is known."""
        return None if self.lengths is None else self.lengths[:, None]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: Any) -> Any:
        chosen = positions(index, len(self.starts))
        flat = np.atleast_1d(chosen)
        values = np.empty(len(flat), dtype=object)
        with self.content.reading() as read:
            for row, position in enumerate(flat.tolist()):
                values[row] = self.one(read, position)
        return values if chosen.ndim else values[0]

    def one(self, read: Read, position: int) -> str:
        """Return one sample, given a function that reads bytes."""
        try:
            return self.decode(read(int(self.starts[position]), int(self.stops[position])))
        except (OSError, ValueError) as error:
            raise DataError(
                f"{self.content.file.source} must stay as it was when it was first read; got "
                f"{error}. Read it again.",
                sample=position,
            ) from error


class Names(Sequence[str]):
    """Names of samples, made when they are asked for.

    Args:
        parts: Number of samples of each source, and what names one of them by its position there.
    """

    def __init__(self, *parts: tuple[int, Callable[[int], str]]):
        self.makers = [maker for _, maker in parts]
        self.starts = np.cumsum([0, *(num for num, _ in parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        position = range(len(self))[index]
        part = int(self.starts.searchsorted(position, side="right")) - 1
        return self.makers[part](position - int(self.starts[part]))


@dataclass(frozen=True)
class Lines:
    """Where those lines of a text file stand that are samples.

    Attributes:
        content: The file.
        starts: Position of the first byte of each, and of the end of the file, (S + 1,).
        numbers: The number of each, from 1, (S,).
        sizes: What was measured of each, (S,).
        blank: How many others are blank.
    """

    content: Content
    starts: Index
    numbers: Index
    sizes: Index
    blank: int

    def __len__(self) -> int:
        return len(self.numbers)

    def column(self, cut: Callable[[str], str]) -> Spans:
        """Return what `cut` makes of each line as a column, whose sizes are those measured."""
        encoding = self.content.file.encoding

        def decode(raw: bytes) -> str:
            # Behind a sample may stand blank lines, which belong to none.
            return cut(raw.partition(b"\n")[0].decode(encoding).removesuffix("\r"))

        return Spans(self.content, self.starts[:-1], self.starts[1:], decode, sizes=self.sizes)

    def name(self, position: int) -> str:
        """Name one of them by the number of its line."""
        return f"line {self.numbers[position]}"


def index_lines(file: TextFile, measure: Callable[[str], int], aside: Aside) -> Lines:
    """Find the lines of a file that are samples, and read nothing else of it into memory.

    Args:
        file: The file.
        measure: Length in characters of the sample in a line, 0 if it holds none; it raises
            DataError, whose text begins with "must", where it holds a bad one.
        aside: Where to note bad lines.

    Raises:
        DataError: If a line is too long to be one.
    """
    content = Content(file)
    starts, numbers, sizes = [], [], []
    number, blank = 1, 0
    for position, block in content.line_blocks():
        measured = []
        for offset, line in enumerate(decoded_lines(file, block, number, aside)):
            try:
                measured.append(-1 if line is None else measure(line))
            except DataError as error:
                aside.add(f"{file.source}, line {number + offset}", str(error), file.source)
                measured.append(-1)
        found = np.array(measured, dtype=np.int64)
        ends = np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10)
        begins = np.concatenate([[0], ends + 1])[: len(found)]
        good = found > 0
        starts.append(begins[good] + position)
        numbers.append(np.flatnonzero(good) + number)
        sizes.append(found[good])
        blank += int((found == 0).sum())
        number += len(found)
    end = np.array([content.size])
    none = np.empty(0, dtype=np.int64)
    return Lines(
        content,
        np.concatenate([*starts, end]),
        np.concatenate([none, *numbers]),
        np.concatenate([none, *sizes]),
        blank,
    )


def decoded_lines(file: TextFile, block: bytes, number: int, aside: Aside) -> list[str | None]:
    """Return the lines of a block, the first of them `number`; a bad one is noted and None."""
    raw = block.removesuffix(b"\n")
    try:
        if b"\0" not in block:
            return [line.removesuffix("\r") for line in raw.decode(file.encoding).split("\n")]
    except UnicodeDecodeError:
        pass
    lines: list[str | None] = []
    for offset, line in enumerate(raw.split(b"\n")):
        reason = "must be text; got a zero byte. If it is UTF-16, save it as UTF-8."
        try:
            good = None if b"\0" in line else line.decode(file.encoding).removesuffix("\r")
        except UnicodeDecodeError as error:
            good, reason = None, undecodable(error, line)
        if good is None:
            aside.add(f"{file.source}, line {number + offset}", reason, file.source)
        lines.append(good)
    return lines


def _packed(raw: IO[bytes]) -> bool:
    # The first bytes tell more than the name, which downloads often lose.
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return packed


class _Counted(io.RawIOBase):
    """A stream that stops a decompression bomb while it unpacks."""

    def __init__(self, stream: gzip.GzipFile, source: str, packed: int, most: int):
        self.stream, self.source, self.packed, self.most = stream, source, packed, most
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part = self.stream.read(len(buffer))
        self.count += len(part)
        check_unpacked(self.source, self.packed, self.count, self.most)
        buffer[: len(part)] = part
        return len(part)
