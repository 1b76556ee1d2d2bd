"""DNA, RNA and protein sequences in FASTA and FASTQ files, whatever their size."""

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from metamae.core.checks import check_at_least, check_flag, check_one_of
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Chain, Column, Index
from metamae.data.files import (
    UNPACKED_MOST,
    check_field,
    find_file,
    find_in_folder,
    find_path,
    legible,
)
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.text.fasta import (
    HEADER,
    KINDS,
    READ,
    RESIDUE,
    Places,
    find_fasta,
    find_fastq,
    first_byte,
)
from metamae.data.text.file import TextFile
from metamae.data.text.spans import Content, Names, Read, Spans
from metamae.errors import DataError

_NAME = 4096  # bytes of a header that its name is looked for in
_PHRED = 33  # character of quality 0 in FASTQ files of today
_STEP = 2**22  # bytes of a long sequence that are looked at together


class FastaReader(Reader):
    """Reads sequences as field "sequence", without loading what is not packed.

    They are named by the first word of their headers. Several files are one data set, whose field
    "file" says where each sequence comes from.

    Args:
        case: "upper" turns lower-case letters, which often mark repeats, into upper-case ones;
            "keep" leaves them.
        quality: Whether the mean quality of a read's bases (Phred) is a field, "quality"; FASTQ
            only.
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "DNA, RNA or protein sequences in FASTA or FASTQ files"
    extensions: ClassVar[tuple[str, ...]] = tuple(
        f".{end}{packed}"
        for end in ("fasta", "fa", "fas", "fsa", "fna", "faa", "ffn", "frn", "fastq", "fq")
        for packed in ("", ".gz")
    )
    folders: ClassVar[bool] = True

    def __init__(
        self, *, case: str = "upper", quality: bool = False, max_bytes: int = UNPACKED_MOST
    ):
        self.case = check_one_of("FastaReader.case", case, ["upper", "keep"])
        self.quality = check_flag("FastaReader.quality", quality)
        self.max_bytes = check_at_least("FastaReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        root, source = find_path(data), str(data)
        if not root.is_dir():
            found = self._file(TextFile(find_file(data), source, self.max_bytes), aside)
            columns, names = found.columns, Names((len(found), found.name))
            if self.parts > 1:
                columns["file"] = np.repeat(np.array([root.name], dtype=object), len(found))
        else:
            paths = find_in_folder(root, source, self.extensions, "file of sequences")
            files = [path.relative_to(root).as_posix() for path in paths]
            parts = [
                self._file(TextFile(path, f"{source}, {file}", self.max_bytes), aside)
                for path, file in zip(paths, files, strict=True)
            ]
            num = [len(part) for part in parts]
            columns = {
                key: Chain([part.columns[key] for part in parts], source)
                for key in parts[0].columns
            }
            columns["file"] = np.repeat(np.array(files, dtype=object), num)
            names = Names(*((len(part), part.name) for part in parts))
        if not len(names):
            raise DataError(
                f"{source} must hold at least one good sequence; got none. A line '>name' and a "
                "line of letters would do."
            )
        check_field(source, field, columns)
        records = Records(columns, source, row_word="sequence", names=names)
        return records if field is None else records.only([field])

    def _file(self, file: TextFile, aside: Aside) -> "_Found":
        with legible(file.source, "must be a FASTA or FASTQ file", "Write it again."):
            content = Content(file)
            first = first_byte(content)
            if first not in (HEADER, READ):
                got = "an empty file" if first is None else repr(chr(first))
                raise DataError(
                    f"{file.source} must begin with '>' (FASTA) or '@' (FASTQ); got {got}. "
                    "Plain sequences, one per line, belong in a .txt file."
                )
            if self.quality and first != READ:
                raise DataError(
                    f"{file.source} must be a FASTQ file to have qualities; got a FASTA file. "
                    "quality=False would do."
                )
            places = find_fasta(content) if first == HEADER else find_fastq(content)
            found = _Found(content, places, self.case == "upper", self.quality)
            for record, reason in sorted(places.bad.items()):
                name = found.name_at(int(places.headers[record]))
                aside.add(f"{file.source}, {name}", reason, file.source)
        return found


class _Found:
    """The good records of a file."""

    def __init__(self, content: Content, places: Places, upper: bool, quality: bool):
        self.content = content
        good = places.without_bad()
        self.headers = good.headers
        self.columns: dict[str, Column] = {
            "sequence": Sequences(content, good.starts, good.stops, good.sizes, upper)
        }
        if quality and good.qualities is not None:
            self.columns["quality"] = _mean_qualities(content, good.qualities)

    def __len__(self) -> int:
        return len(self.headers)

    def name(self, position: int) -> str:
        """Name a good record."""
        return self.name_at(int(self.headers[position]))

    def name_at(self, header: int) -> str:
        """Return the first word of the header that begins at a position."""
        with self.content.reading() as read:
            words = read(header + 1, header + _NAME).partition(b"\n")[0].split(None, 1)
        return words[0].decode("utf-8", "replace") if words else "a sequence without a name"


def _mean_qualities(content: Content, spans: Index) -> NDArray[np.float64]:
    means = np.empty(len(spans))
    with content.reading() as read:
        for row, (start, stop) in enumerate(spans.tolist()):
            line = np.frombuffer(read(start, stop).rstrip(), dtype=np.uint8)
            means[row] = line.mean() - _PHRED
    return means


class Sequences(Spans):
    """A column of sequences in a file. A span may open with the record's header line.

    Args:
        content: The file.
        starts: Position of each record's first byte, (S,).
        stops: Position behind it, (S,).
        sizes: Residues of each, (S,).
        upper: Whether lower-case letters become upper-case ones.
    """

    def __init__(self, content: Content, starts: Index, stops: Index, sizes: Index, upper: bool):
        super().__init__(content, starts, stops, self._residues, sizes=sizes)
        self.residues, self.upper = sizes, upper
        # Position of a sample -> first byte of its sequence, residues and bytes of a line; no
        # residues if its lines differ. Threads may find the same thing twice.
        self.layouts: dict[int, tuple[int, int, int]] = {}

    def stretch(self, position: int, start: int, stop: int) -> str:
        """Read a part of one sequence, alone if its lines are equally long, as they should be."""
        position = range(len(self))[position]
        start, stop, _ = slice(start, stop).indices(int(self.residues[position]))
        if stop <= start:
            return ""
        with self.content.reading() as read:
            if position not in self.layouts:
                self.layouts[position] = self._layout(read, position)
            begin, width, stride = self.layouts[position]
            if not width:
                return self.one(read, position)[start:stop]
            first, last = (n // width * stride + n % width for n in (start, stop - 1))
            return self._residues(read(begin + first, begin + last + 1))

    def _residues(self, raw: bytes) -> str:
        if raw.startswith(b">"):
            raw = raw.partition(b"\n")[2]
        text = raw.translate(None, b" \t\r\n").decode("ascii")
        return text.upper() if self.upper else text

    def _layout(self, read: Read, position: int) -> tuple[int, int, int]:
        begin, end = int(self.starts[position]), int(self.stops[position])
        if read(begin, begin + 1) == b">":
            begin = _behind_line(read, begin, end)
        behind = _behind_line(read, begin, end)
        tail = read(max(begin, behind - 2), behind)
        stride = behind - begin
        width = stride - len(tail) + len(tail.rstrip())
        last = int(self.residues[position]) - 1
        extent = last // width * stride + last % width + 1 if width else end
        if not width or begin + extent > end:
            return begin, 0, 0
        for at in range(0, extent, _STEP):
            stop = min(at + _STEP, extent)
            block = np.frombuffer(read(begin + at, begin + stop), dtype=np.uint8)
            if not np.array_equal(KINDS[block] == RESIDUE, np.arange(at, stop) % stride < width):
                return begin, 0, 0
        return begin, width, stride


def _behind_line(read: Read, begin: int, end: int) -> int:
    for at in range(begin, end, _NAME):
        found = read(at, min(at + _NAME, end)).find(b"\n")
        if found >= 0:
            return at + found + 1
    return end
