"""Files that are a sample each: found, judged by their headers, and made columns and records."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array, Column
from metamae.data.columns.decoded import Decoded
from metamae.data.files import check_field, class_folders, find_file, find_in_folder, find_path
from metamae.data.media.labels import label_columns
from metamae.data.records import Records
from metamae.errors import DataError

_log = logging.getLogger("metamae")

Header = TypeVar("Header")
Shape = tuple[int, ...]


@dataclass(frozen=True)
class SampleFiles:
    """The files of a data set, of which each is a sample.

    Attributes:
        source: What a user calls the data set.
        what: What one sample is called, e.g. "image".
        folder: The folder they lie in; None if the data set is one file.
        paths: The files.
        names: Their paths within the folder, with "/".
    """

    source: str
    what: str
    folder: Path | None
    paths: list[Path]
    names: list[str]

    @classmethod
    def find(cls, data: Any, extensions: tuple[str, ...], what: str) -> "SampleFiles":
        """Find one file, or all below a folder that have one of some extensions.

        Raises:
            DataError: If there is none.
        """
        root, source = find_path(data), str(data)
        if not root.is_dir():
            path = find_file(data)
            return cls(source, what, None, [path], [path.name])
        paths = find_in_folder(root, source, extensions, what)
        names = [path.relative_to(root).as_posix() for path in paths]
        return cls(source, what, root, paths, names)

    def probe(
        self, header: Callable[[Path], Header], aside: Aside
    ) -> tuple["SampleFiles", list[Header]]:
        """Look at every file, and set aside those that `header` refuses.

        Args:
            header: Path -> what is to be known of a file; DataError where it cannot be a sample.
            aside: Where bad files are noted.

        Raises:
            DataError: If no file is left, or far too many are bad.
        """
        good, headers = [], []
        for position, path in enumerate(self.paths):
            try:
                headers.append(header(path))
                good.append(position)
            except DataError as error:
                # The list of bad samples names the file in front of the reason.
                aside.add(str(path), str(error).removeprefix(f"{path} "), self.source)
        return self._only(good), headers

    def agreeing(
        self, headers: list[Header], key: Callable[[Header], Any], rule: str, aside: Aside
    ) -> tuple["SampleFiles", list[Header]]:
        """Keep the files that agree with most others, and set the rest aside.

        Args:
            headers: What is known of each file.
            key: Header -> what has to agree, e.g. the number of channels.
            rule: With places for the usual key and for the one received, e.g. "must have {usual}
                channels like most; got {got}. mono=True would do."
            aside: Where the others are noted.
        """
        keys = [key(header) for header in headers]
        ((usual, _),) = Counter(keys).most_common(1)
        for path, got in zip(self.paths, keys, strict=True):
            if got != usual:
                aside.add(str(path), rule.format(usual=usual, got=got), self.source)
        good = [position for position, got in enumerate(keys) if got == usual]
        return self._only(good), [headers[position] for position in good]

    def _only(self, positions: list[int]) -> "SampleFiles":
        if not positions:
            raise DataError(
                f"{self.source} must hold at least one legal {self.what}; got none among "
                f"{len(self.paths)} files. Repair them or leave them out."
            )
        return replace(
            self,
            paths=[self.paths[position] for position in positions],
            names=[self.names[position] for position in positions],
        )

    def column(
        self,
        shapes: Sequence[Shape],
        dtype: Any,
        decode: Callable[[Path], Array],
        *,
        decode_part: Callable[[Path, int, int], Array] | None = None,
        remedy: str = "",
    ) -> Decoded:
        """Return the column of the decoded files: dense if their shapes agree, else ragged.

        A file that does not decode to the shape promised raises DataError, so that nobody who
        planned with the shapes meets another one.

        Args:
            shapes: What the headers promise, one per file, with equally many axes.
            dtype: Of the decoded values.
            decode: Path -> value.
            decode_part: (path, start, stop) -> part along the last axis.
            remedy: What would make the shapes equal, for the log.
        """
        promised = dict(zip(self.paths, shapes, strict=True))

        def whole(path: Path) -> Array:
            return _kept(path, decode(path), promised[path])

        def part(path: Path, start: int, stop: int) -> Array:
            *rest, length = promised[path]
            start, stop, _ = slice(start, stop).indices(length)
            assert decode_part is not None
            return _kept(path, decode_part(path, start, stop), (*rest, max(stop - start, 0)))

        sizes = np.array(shapes, dtype=np.int64)
        ragged = bool((sizes != sizes[0]).any())
        if ragged:
            low, high = tuple(sizes.min(axis=0).tolist()), tuple(sizes.max(axis=0).tolist())
            _log.info(
                "%s: %ss of different shapes, from %s to %s, and each keeps its own.%s",
                *(self.source, self.what, low, high, f" {remedy}" if remedy else ""),
            )
        return Decoded(
            self.paths,
            whole,
            np.dtype(dtype),
            None if ragged else tuple(shapes[0]),
            sizes=sizes,
            decode_part=None if decode_part is None else part,
        )

    def records(
        self, columns: Mapping[str, Column], field: str | None, labels: str = "none"
    ) -> Records:
        """Return the records: the columns, the fields of a table of labels, and class folders.

        Args:
            columns: What the files hold.
            field: The one field to keep; None keeps all.
            labels: A table of labels; "auto" looks for one in the folder, "none" does not.

        Raises:
            DataError: If the table cannot be read or says nothing about the files.
        """
        every = dict(columns)
        every |= label_columns(labels, self.folder, self.source, self.names, taken=set(columns))
        folders = class_folders(self.names)
        if folders is not None and "label" not in every:
            every["label"] = np.array(folders, dtype=object)
        check_field(self.source, field, every)
        records = Records(every, self.source, row_word=self.what, names=self.names)
        return records if field is None else records.only([field])


def _kept(path: Path, value: Array, promised: Shape) -> Array:
    if value.shape != promised:
        raise DataError(
            f"{path} must hold values of shape {promised}, as its header said when the folder was "
            f"read; got {value.shape}. Repair the file, or read the folder again if it changed."
        )
    return value
