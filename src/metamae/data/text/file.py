"""Text files, plain or packed with gzip, as streams of bytes and of lines."""

import gzip
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from metamae.data.files import UNPACKED_MOST, check_unpacked
from metamae.errors import DataError

_log = logging.getLogger("metamae")

LINE = 2**26  # bytes of the longest line that is looked at in one piece
LARGE = 2**31  # bytes of text from which a table had better not be a text file


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
            if not is_packed(raw):
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
            packed, size = is_packed(raw), raw.seek(0, io.SEEK_END)
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


def is_packed(raw: IO[bytes]) -> bool:
    """Say whether a stream is packed with gzip, and go back to its beginning."""
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
