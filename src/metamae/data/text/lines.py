"""Text files of a sample per line."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Index
from metamae.data.text.file import TextFile, undecodable
from metamae.data.text.spans import Content, Spans
from metamae.errors import DataError


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
