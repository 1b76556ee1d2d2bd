"""Where the records of FASTA and FASTQ files stand: found in one pass, with little kept."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.data.text.spans import Content
from metamae.errors import DataError

Bytes = NDArray[np.uint8]

HEADER, READ, PLUS = b">@+"
_SPACE, RESIDUE, _ILLEGAL = 0, 1, 2
# Of the 16 numbers of a read (start, stop, first byte and length of four lines): start of the
# header; start, stop and length of the sequence; start and stop of the qualities.
_KEPT = [0, 4, 5, 7, 12, 13]
# Byte -> what it is in a sequence: white space, a residue or gap, or a mistake.
KINDS = np.full(256, _ILLEGAL, dtype=np.uint8)
KINDS[list(b" \t\r\n")] = _SPACE
KINDS[list(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*-.")] = RESIDUE


@dataclass
class Places:
    """Where the R records of a file stand, bad ones included.

    Attributes:
        headers: Position of the first byte of each record, (R,).
        starts: Position of the first byte of its sequence, or of its header line before it, (R,).
        stops: Position behind its sequence, (R,).
        sizes: Residues of its sequence, (R,).
        qualities: Where its line of qualities begins and ends in a FASTQ file, (R, 2).
        bad: Record -> what is wrong with it.
    """

    headers: Index
    starts: Index
    stops: Index
    sizes: Index
    qualities: Index | None = None
    bad: dict[int, str] = field(default_factory=dict)

    def without_bad(self) -> "Places":
        """Return the good ones alone."""
        if not self.bad:
            return self
        good = np.delete(np.arange(len(self.headers)), list(self.bad))
        return Places(
            self.headers[good],
            self.starts[good],
            self.stops[good],
            self.sizes[good],
            None if self.qualities is None else self.qualities[good],
        )


@dataclass(frozen=True)
class _Piece:
    """A piece of a text file and the K lines in it, of which the first and last may be cut off.

    Attributes:
        start: Position of the piece.
        block: Its bytes.
        starts: Position where each line begins; the first may begin before the piece, (K,).
        firsts: The first byte of each, (K,).
        stops: Position where each line that ends in the piece does, (K,) or (K - 1,).
        number: Number of the first line, from 0.
    """

    start: int
    block: Bytes
    starts: Index
    firsts: Bytes
    stops: Index
    number: int

    @property
    def begins(self) -> Index:
        """Where the part of each line that is in the block begins there, (K,)."""
        return np.maximum(self.starts - self.start, 0)

    def spread(self, lines: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Give each byte what is said of its line."""
        return np.repeat(lines, np.diff(self.begins, append=len(self.block)))

    def count(self, mask: NDArray[np.bool_]) -> Index:
        """Count the bytes of each line for which a mask is True, (K,)."""
        counts: Index = np.add.reduceat(mask.view(np.uint8), self.begins, dtype=np.int64)
        return counts


def _scan(content: Content) -> Iterator[_Piece]:
    begun, first, number = content.start, 0, 0
    for position, raw in content.pieces():
        block = np.frombuffer(raw, dtype=np.uint8)
        end = position + len(block)
        stops = np.flatnonzero(block == 10) + position
        starts = np.concatenate([[begun], stops + 1])
        starts = starts[starts < end]
        firsts = block[np.maximum(starts - position, 0)]
        if begun < position:
            firsts[0] = first
        if end == content.size and block[-1] != 10:
            stops = np.append(stops, end)
        yield _Piece(position, block, starts, firsts, stops, number)
        number += len(stops)
        begun, first = (end, 0) if block[-1] == 10 else (int(starts[-1]), int(firsts[-1]))


def first_byte(content: Content) -> int | None:
    """Return the first byte of a text that is no white space; None if there is none."""
    for _, piece in content.pieces():
        bare = piece.lstrip()
        if bare:
            return bare[0]
    return None


def find_fasta(content: Content) -> Places:
    """Find the records of a FASTA file, whose lines may have any length.

    Raises:
        DataError: If something stands before the first header.
    """
    headers, records, counts = [], [], []
    bad: dict[int, str] = {}
    last = -1
    for piece in _scan(content):
        is_header = piece.firsts == HEADER
        fresh = is_header & (piece.starts >= piece.start)
        record = last + np.cumsum(fresh)
        last = int(record[-1])
        headers.append(piece.starts[fresh])
        kinds = KINDS[piece.block]
        kinds[piece.spread(is_header)] = _SPACE
        changes = np.flatnonzero(np.diff(record, prepend=-2))
        records.append(record[changes])
        counts.append(np.add.reduceat(piece.count(kinds == RESIDUE), changes))
        _note_illegal(piece, kinds, record, bad)
    if -1 in bad:
        raise DataError(
            f"{content.file.source} must begin with a header, '>' and a name; got a sequence: "
            f"{bad[-1]} Add a header."
        )
    every = np.concatenate(headers)
    sizes = np.bincount(
        np.concatenate(records) + 1, weights=np.concatenate(counts), minlength=len(every) + 1
    )[1:].astype(np.int64)
    for empty in np.flatnonzero(sizes == 0).tolist():
        bad.setdefault(empty, "must have letters below its header; got none.")
    return Places(every, every, np.append(every[1:], content.size), sizes, bad=bad)


def find_fastq(content: Content) -> Places:
    """Find the records of a FASTQ file, four lines each.

    Raises:
        DataError: If the lines cannot be told apart.
    """
    source = content.file.source
    bad: dict[int, str] = {}
    spans, num = [], 0
    rest = np.empty((0, 4), dtype=np.int64)  # Start, stop, first byte and length of each line.
    begun = 0  # Bytes of a line that is cut off, in the pieces before.
    ended = False  # Whether there was a read without any character.
    for piece in _scan(content):
        lengths = piece.count(piece.block > 32)
        if ended and lengths.any():
            raise DataError(
                f"{source} must not hold blank lines before line {piece.number + 1}, but at its "
                "end; got some. Remove them."
            )
        lengths[0] += begun
        whole = len(piece.stops)
        begun = int(lengths[-1]) if whole < len(lengths) else 0
        row = piece.number + np.arange(len(lengths))
        kinds = KINDS[piece.block]
        kinds[piece.spread(row % 4 != 1)] = _SPACE
        _note_illegal(piece, kinds, row // 4, bad)
        parts = (piece.starts[:whole], piece.stops, piece.firsts[:whole], lengths[:whole])
        rest = np.concatenate([rest, np.stack(parts, axis=1)])
        cut = len(rest) // 4 * 4
        reads, rest = rest[:cut].reshape(-1, 4, 4), rest[cut:]
        _check_reads(source, reads, num, bad)
        there = reads[:, :, 3].any(axis=1)
        reads, ended = reads[there], ended or not there.all()
        spans.append(reads.reshape(-1, 16)[:, _KEPT])
        num += len(reads)
    if rest[:, 3].any():
        lines = int(np.flatnonzero(rest[:, 3])[-1]) + 1
        bad[num] = f"must have four lines; got {lines} at the end of a file that is cut off."
        spans.append(np.full((1, len(_KEPT)), rest[0, 0]))
    headers, starts, stops, sizes, *qualities = np.concatenate(spans).T.copy()
    return Places(headers, starts, stops, sizes, np.stack(qualities, axis=1), bad)


def _check_reads(source: str, reads: Any, num: int, bad: dict[int, str]) -> None:
    # Whether reads (R, line, what) of a FASTQ file begin with "@" and "+" and fit.
    there = reads[:, :, 3].any(axis=1)
    heads, pluses = reads[:, 0, 2] == READ, reads[:, 2, 2] == PLUS
    if not there.all():
        # What follows a read without any character must be as empty.
        there[there.argmin() :] = there[there.argmin() :].any()
    for record in np.flatnonzero(there & ~(heads & pluses))[:1].tolist():
        line, needed = (3, "+") if heads[record] else (1, "@")
        got = chr(reads[record, line - 1, 2])
        raise DataError(
            f"{source}, line {4 * (num + record) + line}, must begin with {needed!r}, as every "
            f"fourth line of a FASTQ file does; got {got!r}. Mend the read before it."
        )
    bases, qualities = reads[:, 1, 3], reads[:, 3, 3]
    for record in np.flatnonzero(there & ((bases != qualities) | (bases == 0))).tolist():
        bad.setdefault(
            num + record,
            f"must have a base at least and a quality for each; got {bases[record]} bases and "
            f"{qualities[record]} qualities.",
        )


def _note_illegal(piece: _Piece, kinds: Bytes, record: Index, bad: dict[int, str]) -> None:
    illegal = np.flatnonzero(kinds == _ILLEGAL)
    if not len(illegal):
        return
    line = piece.begins.searchsorted(illegal, side="right") - 1
    _, first = np.unique(record[line], return_index=True)
    for n in first.tolist():
        found = chr(piece.block[illegal[n]])
        bad.setdefault(
            int(record[line[n]]),
            f"must hold letters, '*', '-' and '.' only; got {found!r} in line "
            f"{piece.number + line[n] + 1}.",
        )
