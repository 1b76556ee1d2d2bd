"""Molecules as SMILES strings, a line each, with or without a name."""

import re
from typing import Any, ClassVar

from metamae.core.checks import check_at_least
from metamae.data.bad_samples import Aside
from metamae.data.files import UNPACKED_MOST, check_field, find_file, legible
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.data.text.file import TextFile
from metamae.data.text.lines import index_lines
from metamae.data.text.spans import Names
from metamae.errors import DataError

# OpenSMILES, and what its dialects add: "~" for any bond, "->" for a dative one, ">" in reactions.
_ILLEGAL = re.compile(r"[^A-Za-z0-9\[\]()=#$:/\\.@+%*~<>-]")


class SmilesReader(Reader):
    """Reads lines "SMILES name" as field "smiles", without loading what is not packed.

    What stands behind the first white space of a line is the molecule's name. A first line whose
    first word holds "SMILES" is taken for a header; lines that begin with "//" or "#" are comments.

    Args:
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = "molecules as SMILES strings, a line each"
    extensions: ClassVar[tuple[str, ...]] = (".smi", ".smiles", ".smi.gz", ".smiles.gz")

    def __init__(self, *, max_bytes: int = UNPACKED_MOST):
        self.max_bytes = check_at_least("SmilesReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        source = str(data)
        check_field(source, field, ["smiles"])
        file = TextFile(find_file(data), source, self.max_bytes)
        header, named, first = False, False, True

        def measure(line: str) -> int:
            nonlocal header, named, first
            smiles = _smiles(line)
            if smiles and first:
                first, header = False, "smiles" in smiles.lower()
                if header:
                    return 0
            illegal = _ILLEGAL.search(smiles)
            if illegal:
                raise DataError(_reason(smiles, illegal))
            named = named or len(line.split(None, 1)) > 1
            return len(smiles)

        with legible(source, "must be a text file", "Write it again."):
            lines = index_lines(file, measure, aside)
        if not len(lines):
            raise DataError(
                f"{source} must hold at least one good SMILES string; got "
                f"{'a header only' if header else 'none'}. A line per molecule would do."
            )
        columns = {"smiles": lines.column(_smiles)}
        if not named and int(lines.numbers[-1]) == len(lines):
            return Records(columns, source, row_word="line", first_row=1)
        names = lines.column(_name)

        def name(position: int) -> str:
            return (names[position] if named else "") or lines.name(position)

        return Records(columns, source, row_word="molecule", names=Names((len(lines), name)))


def _smiles(line: str) -> str:
    # The first word of a line; none where that begins a comment.
    word = next(iter(line.split(None, 1)), "")
    return "" if word.startswith(("//", "#")) else word


def _name(line: str) -> str:
    return "".join(line.split(None, 1)[1:]).strip()


def _reason(smiles: str, illegal: re.Match[str]) -> str:
    remedy = "A table belongs in a .csv file." if illegal[0] in ",;" else "Mend or remove the line."
    return (
        f"must begin with a SMILES string; got {illegal[0]!r} at position {illegal.start()} of "
        f"{smiles[:60]!r}. {remedy}"
    )
