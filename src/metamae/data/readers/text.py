"""Plain text: a sample per line of a file, or a sample per file of a folder."""

import codecs
import logging
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least, check_one_of
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Chain, Column
from metamae.data.columns.decoded import Decoded
from metamae.data.files import (
    UNPACKED_MOST,
    check_field,
    class_folders,
    find_file,
    find_in_folder,
    find_path,
    legible,
)
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.text.file import TextFile
from metamae.data.text.lines import Lines, index_lines
from metamae.data.text.spans import Names
from metamae.errors import ConfigError, DataError

_log = logging.getLogger("metamae")


class TextReader(Reader):
    """Reads text as field "text", without loading what is not packed.

    Folders whose samples are sorted into folders of classes have a field "label" too.

    Args:
        each: What one sample is: "line", "file", or "auto": a line of a file, a file of a folder.
        encoding: How the text is written, e.g. "utf-8" or "latin-1".
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "text, a sample per line of a file or per file of a folder"
    extensions: ClassVar[tuple[str, ...]] = (".txt", ".txt.gz")
    folders: ClassVar[bool] = True

    def __init__(
        self, *, each: str = "auto", encoding: str = "utf-8", max_bytes: int = UNPACKED_MOST
    ):
        self.each = check_one_of("TextReader.each", each, ["auto", "line", "file"])
        self.encoding = _check_encoding(encoding)
        self.max_bytes = check_at_least("TextReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        root, source = find_path(data), str(data)
        is_folder = root.is_dir()
        if is_folder:
            paths = find_in_folder(root, source, self.extensions, "text file")
            names = [path.relative_to(root).as_posix() for path in paths]
        else:
            paths, names = [find_file(data)], [root.name]
        # The text of one file is named by the path that the user gave, and not below it.
        sources = [f"{source}, {name}" if is_folder else source for name in names]
        files = [
            TextFile(path, owner, self.max_bytes, self.encoding)
            for path, owner in zip(paths, sources, strict=True)
        ]
        labels = class_folders(names)
        if self.each == "file" or (self.each == "auto" and is_folder):
            records = self._files(files, names, labels, source, aside)
        else:
            records = self._lines(files, names if is_folder else None, labels, source, aside)
        check_field(source, field, records)
        return records if field is None else records.only([field])

    def _lines(
        self,
        files: list[TextFile],
        names: list[str] | None,
        labels: list[str] | None,
        source: str,
        aside: Aside,
    ) -> Records:
        parts = []
        for file in files:
            with legible(file.source, "must be a text file", "Write it again."):
                parts.append(index_lines(file, _length, aside))
        num, blank = [len(part) for part in parts], sum(part.blank for part in parts)
        if not sum(num):
            raise DataError(
                f"{source} must hold at least one good line of text; got {blank} blank ones. "
                "A line per sample would do."
            )
        if blank:
            _log.info("%s: left out %d blank lines", source, blank)
        columns: dict[str, Column] = {
            "text": Chain([part.column(str) for part in parts], source)
            if len(parts) > 1
            else parts[0].column(str)
        }
        if labels is not None:
            columns["label"] = np.repeat(np.array(labels, dtype=object), num)
        if names is None and int(parts[0].numbers[-1]) == num[0]:
            return Records(columns, source, row_word="line", first_row=1)
        prefixes = [""] if names is None else [f"{name}, " for name in names]
        return Records(columns, source, names=Names(*map(_namer, parts, prefixes)))

    def _files(
        self,
        files: list[TextFile],
        names: list[str],
        labels: list[str] | None,
        source: str,
        aside: Aside,
    ) -> Records:
        good = []
        for position, file in enumerate(files):
            with legible(file.source, "must be a file that can be read", "Check it."):
                size = file.path.stat().st_size
            if size:
                good.append(position)
            else:
                aside.add(file.source, "must hold text; got an empty file.", source)
        if not good:
            raise DataError(f"{source} must hold at least one file with text; got empty ones only.")
        by_path = {files[i].path: files[i] for i in good}
        column = Decoded(list(by_path), lambda path: _whole(by_path[path]), np.dtype(object), None)
        columns: dict[str, Column] = {"text": column}
        if labels is not None:
            columns["label"] = np.array(labels, dtype=object)[good]
        return Records(columns, source, row_word="file", names=[names[i] for i in good])


def _length(line: str) -> int:
    return 0 if line.isspace() else len(line)


def _namer(part: Lines, prefix: str) -> tuple[int, Callable[[int], str]]:
    return len(part), lambda position: prefix + part.name(position)


def _whole(file: TextFile) -> Any:
    # All text of a file; a DataError if it is of another encoding, or blank.
    with legible(file.source, "must be a text file", "Write it again."):
        with file.open() as stream:
            raw = stream.read()
        try:
            text = raw.decode(file.encoding)
        except UnicodeDecodeError as error:
            raise file.encoding_error() from error
    if "\0" in text:
        raise DataError(
            f"{file.source} must be text; got a zero byte. If it is UTF-16, save it as UTF-8."
        )
    if not text.strip():
        raise DataError(f"{file.source} must hold text; got blank lines only. Remove the file.")
    return text.removeprefix("\ufeff").replace("\r\n", "\n")


def _check_encoding(value: Any) -> str:
    try:
        encoding = codecs.lookup(value).name
        # UTF-8 with a mark is UTF-8, whose mark is removed anyway.
        encoding = "utf-8" if encoding == "utf-8-sig" else encoding
        legal = "\n".encode(encoding) == b"\n"
    except (LookupError, TypeError, ValueError):
        legal = False
    if not legal:
        raise ConfigError(
            "TextReader.encoding must be a known encoding in which a line ends with one byte; "
            f"got {value!r}. 'utf-8' or 'latin-1' would do; iconv -t UTF-8 converts others."
        )
    return encoding
