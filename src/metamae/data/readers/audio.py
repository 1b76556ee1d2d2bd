"""Recordings in audio files, decoded when they are asked for."""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.core.checks import check_at_least, check_flag
from metamae.core.extras import require
from metamae.data.bad_samples import Aside
from metamae.data.columns.base import Array
from metamae.data.files import UNPACKED_MOST, check_unpacked, legible
from metamae.data.media.labels import check_labels
from metamae.data.media.samples import SampleFiles
from metamae.data.readers.base import Reader
from metamae.data.records import Records
from metamae.errors import DataError

_log = logging.getLogger("metamae")

_BLOCK = 2**20  # Samples that are decoded at a time, since a header's length may be a lie.
_START = 4096  # Bytes of an MP3 file in which its first frame lies, behind its ID3 tags.


@dataclass(frozen=True)
class _Recording:
    """What a header says, corrected by the size of the file.

    Attributes:
        channels: Number of channels.
        samples: Number of samples per channel.
        rate: Samples per second.
        cut: Whether the header promises more samples than there are.
    """

    channels: int
    samples: int
    rate: int
    cut: bool


class AudioReader(Reader):
    """Reads every recording below a folder as field "audio" (channels, samples) in [-1, 1].

    Values are of float32; a file of floating numbers keeps those beyond this range. Field "rate"
    is the sampling rate in Hz. Class folders become field "label", a table of labels its columns.

    The length of an MP3 file that does not state it is found by decoding the file once. A window
    of a long MP3 or Vorbis recording is found by decoding all before it; WAV, FLAC and Opus are
    read at the window only.

    Args:
        mono: Whether to average the channels into one; else all files must have equally many.
        labels: Path of a CSV, TSV or Parquet table with a column that names the files; "auto"
            takes the only CSV or TSV file in the folder, "none" none.
        max_bytes: Size in memory above which a file that packs suspiciously well is refused.
    """

    description: ClassVar[str] = (
        "a folder of WAV, FLAC, OGG, MP3, AIFF or Opus files, or one of them"
    )
    extensions: ClassVar[tuple[str, ...]] = (
        ".wav",
        ".flac",
        ".ogg",
        ".oga",
        ".opus",
        ".mp3",
        ".aif",
        ".aiff",
        ".au",
    )
    folders: ClassVar[bool] = True
    local: ClassVar[tuple[str, ...]] = ("labels", "max_bytes")

    def __init__(self, *, mono: bool = True, labels: str = "auto", max_bytes: int = UNPACKED_MOST):
        self.mono = check_flag("AudioReader.mono", mono)
        self.labels = check_labels("AudioReader.labels", labels)
        self.max_bytes = check_at_least("AudioReader.max_bytes", max_bytes, 1)

    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        files = SampleFiles.find(data, self.extensions, "recording")
        files, found = files.probe(self._header, aside)
        if not self.mono:
            rule = "must have {usual} channels like most; got {got}. mono=True would do."
            files, found = files.agreeing(found, lambda header: header.channels, rule, aside)
        cut = [name for name, header in zip(files.names, found, strict=True) if header.cut]
        if cut:
            few = ", ".join(cut[:5]) + (", ..." if len(cut) > 5 else "")
            _log.info("%s: %d recordings end before their headers say: %s", data, len(cut), few)
        rates = np.array([header.rate for header in found], dtype=np.int64)
        if len(set(rates.tolist())) > 1:
            _log.info(
                "%s: sampling rates from %d to %d Hz; field 'rate' tells each, and none is changed",
                *(files.source, rates.min(), rates.max()),
            )
        audio = files.column(
            [(1 if self.mono else header.channels, header.samples) for header in found],
            np.float32,
            partial(_decode, mono=self.mono, start=0, stop=None),
            decode_part=lambda path, start, stop: _decode(path, self.mono, start, stop),
        )
        return files.records({"audio": audio, "rate": rates}, field, self.labels)

    def _header(self, path: Path) -> _Recording:
        with _opened(path) as file:
            channels, rate, samples = file.channels, file.samplerate, file.frames
            check_unpacked(str(path), path.stat().st_size, 4 * channels * samples, self.max_bytes)
            # The library reads what is there, and notes what it found to be wrong.
            cut = re.search(r"(data|SSND) .*\(should be", file.extra_info) is not None
            if file.format == "MP3" and not _states_length(path):
                samples = sum(len(block) for block in _blocks(file))
        if not samples:
            raise DataError(f"{path} must hold at least one sample; got none. Remove it.")
        return _Recording(channels, samples, rate, cut)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    soundfile = require("soundfile", "audio", "Reading audio files")
    with legible(str(path), "must be a complete audio file", "Repair or remove it."):
        with soundfile.SoundFile(path) as file:
            yield file


def _decode(path: Path, mono: bool, start: int, stop: int | None) -> Array:
    with _opened(path) as file:
        # Seeking lands elsewhere in MP3, and in Vorbis near the end: all before is decoded too.
        dropped = start if file.format == "MP3" or file.subtype == "VORBIS" else 0
        file.seek(start - dropped)
        num = None if stop is None else stop - start + dropped
        parts = [np.empty((0, 1 if mono else file.channels), dtype=np.float32)]
        for block in _blocks(file, num):
            parts.append(block.mean(axis=1, keepdims=True) if mono else block)
    samples = parts[1] if len(parts) == 2 else np.concatenate(parts)
    return np.ascontiguousarray(samples[dropped:].T)


def _blocks(file: Any, num: int | None = None) -> Iterator[Array]:
    # The next samples (samples, channels), to the end of the file if no number is given.
    while num is None or num > 0:
        block = file.read(_BLOCK if num is None else min(_BLOCK, num), "float32", always_2d=True)
        if not len(block):
            return
        yield block
        num = None if num is None else num - len(block)


def _states_length(path: Path) -> bool:
    # Encoders state the number of frames in a frame of its own at the start, if at all.
    with path.open("rb") as file:
        head = file.read(10)
        tags = 0
        if head[:3] == b"ID3" and len(head) == 10:
            # Four bytes of 7 bits each.
            tags = 10 + sum(byte << (7 * (3 - i)) for i, byte in enumerate(head[6:10]))
        file.seek(tags)
        start = file.read(_START)
    return any(mark in start for mark in (b"Xing", b"Info", b"VBRI"))
