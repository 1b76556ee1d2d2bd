"""Text files as columns of their parts: the places of the samples, and the bytes found there.

A plain file stays on disk, and what is kept of it are the positions of its samples; a packed one
is unpacked into memory, because nothing in it can be found without unpacking all before it.
"""

import codecs
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from metamae.data.columns.base import Index
from metamae.data.columns.indexing import positions
from metamae.data.files import legible
from metamae.data.text.file import LINE, TextFile, is_packed
from metamae.errors import DataError

BLOCK = 2**22  # bytes that are looked at together
_BOM = codecs.BOM_UTF8

Read = Callable[[int, int], bytes]


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
            packed = is_packed(raw)
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
