"""What the layout of a published data set is, and what several of them need."""

import csv
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from metamae.benchmark.dataset import Challenge
from metamae.data.columns.base import Array, Chain, Column, Index
from metamae.data.files import legible
from metamae.data.readers import read
from metamae.data.records import Records
from metamae.errors import DataError

SHARE = 0.9
"""Of the samples that DABS and MetaMAE learn from, wherever they draw a split themselves."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published data set as it lies on disk.

    Attributes:
        pretrain: Samples to learn from, without labels among the inputs; None to learn from the
            training part of the one challenge.
        challenges: What encoders are judged on.
        settings: How the samples to learn from are read: settings of `pretrain` by name.
    """

    pretrain: Records | None
    challenges: Sequence[Challenge]
    settings: Mapping[str, Any] = field(default_factory=dict)


class Layout(ABC):
    """Reads a data set from the files in which its authors distribute it.

    Its keyword-only arguments are its settings, such as which of several published splits.

    Attributes:
        description: One line: what the files are.
    """

    description: ClassVar[str]

    @abstractmethod
    def read(self, folder: Path) -> Published:
        """Read the data set from the folder that holds its files as they were unpacked.

        Raises:
            DataError: If files are missing or not in that layout; it names the first of them.
        """


def asking(challenge: Challenge, *inputs: str) -> Published:
    """Return a data set that asks for one thing, and whose training samples are learnt from."""
    return Published(
        pretrain=challenge.records.only(inputs),
        challenges=[challenge],
        settings=challenge.settings,
    )


def find(folder: Path, *names: str) -> Path:
    """Return the first of some files or folders that is there.

    Args:
        folder: Where the data set was unpacked.
        names: Paths within the folder, with "/"; the one to be named in the message comes first.

    Raises:
        DataError: If there is none.
    """
    for name in names:
        if (folder / name).exists():
            return folder / name
    if not folder.is_dir():
        raise DataError(f"{folder} must be the folder of the data set; got no folder of that name.")
    held = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    shown = ", ".join(held[:8]) + (", ..." if len(held) > 8 else "")
    raise DataError(
        f"{folder} must hold {names[0]} as the data set is distributed; it holds "
        f"{shown or 'nothing'}. Unpack all of its archives there."
    )


def shuffled(num: int, seed: int = 42) -> Index:
    """Return the positions 0 to num - 1 in the order in which DABS and MetaMAE draw them.

    They shuffle with `DataFrame.sample(frac=1, random_state=42)` of pandas, which draws from
    numpy's old generator; the new one gives another order.
    """
    return np.random.RandomState(seed).permutation(num)


def cut(order: Index, share: float = SHARE) -> tuple[Index, Index]:
    """Divide positions into the first `share` of them, rounded up, and the rest.

    MetaMAE judges a probe on one sample less of the rest, since it rounds 1 - 0.9 down.
    """
    first = math.ceil(share * len(order))
    return order[:first], order[first:]


def chosen(records: Records, names: Iterable[str], table: Path) -> Records:
    """Return the samples of some names, in that order.

    Args:
        records: Samples that are a file each.
        names: Paths of files within the folder that was read.
        table: What names them, for the message.

    Raises:
        DataError: If there is no such file, or no name at all.
    """
    places = {name: place for place, name in enumerate(records.names or ())}
    index = []
    for name in names:
        if name not in places:
            raise DataError(
                f"{records.source} must hold every file that {table} names; {name} is not there. "
                "Unpack the data set again."
            )
        index.append(places[name])
    if not index:
        raise DataError(f"{table} must name at least one file; got none. Unpack it again.")
    return records.subset(np.array(index, dtype=np.int64))


def images(folder: Path, *, size: int, mode: str = "RGB") -> Records:
    """Read the images below a folder as field "image" (C, size, size), decoded on demand.

    Raises:
        DataError: If there is none or one is damaged.
    """
    side = (size, size)
    found = read(folder, reader="images", resize=side, mode=mode, labels="none")
    return found.only(["image"])


def sounds(folder: Path) -> Records:
    """Read the recordings below a folder as fields "audio" (1, L) and "rate", on demand.

    Raises:
        DataError: If there is none or one is damaged.
    """
    return read(folder, reader="audio", labels="none").only(["audio", "rate"])


def resized(pixels: Array, size: int) -> Array:
    """Bring one image (C, H, W) of bytes to (C, size, size), between pixels with straight lines."""
    from PIL import Image

    bands = [
        Image.fromarray(band).resize((size, size), Image.Resampling.BILINEAR) for band in pixels
    ]
    return np.stack([np.asarray(band) for band in bands])


def joined(parts: Mapping[str, Records], source: Path) -> Records:
    """Return the samples of several folders as one data set; nothing is copied.

    Args:
        parts: Name of a folder -> its samples, which are a file each, with the same fields.
        source: What messages call the data set.
    """
    first = next(iter(parts.values()))
    columns = {
        name: Chain([part[name] for part in parts.values()], f"{source}, field {name!r}")
        for name in first
    }
    names = [f"{folder}/{name}" for folder, part in parts.items() for name in part.names or ()]
    return Records(columns, str(source), row_word=first.row_word, names=names)


def image_settings(size: int) -> dict[str, Any]:
    """Return how images are read: settings of `pretrain` by name.

    Args:
        size: Pixels along both axes; the cells are those of DABS and MetaMAE for 32, 64 and 224.
    """
    return {"modality": "image", "layout": "first", "cell": max(1, min(16, size // 8))}


def sound_settings() -> dict[str, Any]:
    """Return how sound is read, as near as it gets to DABS: settings of `pretrain` by name.

    There a recording is cut or filled up with silence to 9.4 s, and is an image of 224 bands and
    224 frames of 42 ms with 16 x 16 a token. Here it keeps its length, and is cut into windows of
    9.4 s if it is longer.
    """
    return {
        "modality": "audio",
        "rate": 16000.0,
        "rate_field": "rate",
        "prepare": {"name": "log_mel", "mels": 224, "frame": 0.128, "hop": 0.042},
        "cell": [16, 16],
        "window": "9.4 s",
    }


def caption_settings() -> dict[str, Any]:
    """Return how fields "image" and "caption" are read: settings of `pretrain` by name.

    DABS and MetaMAE cut captions to 32 of the subwords of BERT; here subwords are learnt from the
    captions, and none is cut.
    """
    pixels = {"axes": 2, "layout": "first", "cell": 16}
    image = {"name": "image", "kind": "grid", "columns": ["image"], "settings": pixels}
    words = {"unit": "bpe"}
    caption = {"name": "caption", "kind": "symbols", "columns": ["caption"], "settings": words}
    return {"modality": "mixture", "modality.parts": [image, caption]}


def entries(path: Path, key: str, names: Sequence[str]) -> list[list[Any]]:
    """Return some values of each object in a list that stands in a JSON file.

    Args:
        path: The file, which holds one object.
        key: Where the list stands in it.
        names: What each object of the list has to hold.

    Raises:
        DataError: If the file is no JSON, or the list or a value is missing.
    """
    rule = f"must be a JSON object with a list {key!r} of objects with {', '.join(names)}"
    with legible(str(path), rule, "Unpack it again."), path.open("rb") as file:
        found = json.load(file)[key]
        values = [[one[name] for name in names] for one in found]
    if not values:
        raise DataError(f"{path} must hold something in {key!r}; got an empty list.")
    return values


def labelled(records: Records, columns: Mapping[str, Sequence[Any] | Array]) -> Records:
    """Return the same samples with more fields; texts become a column of strings."""
    more: dict[str, Column] = {}
    for name, values in columns.items():
        array = np.asarray(values)
        more[name] = array.astype(object) if array.dtype.kind == "U" else array
    return replace(records, columns={**records.columns, **more})


def lines(path: Path) -> list[str]:
    """Return the lines of a text file that hold something, without white space around them.

    Raises:
        DataError: If it is missing or no text.
    """
    with legible(str(path), "must be a text file", "Unpack it again."):
        text = path.read_text(encoding="utf-8-sig")
    return [line.strip() for line in text.splitlines() if line.strip()]


def pairs(path: Path) -> dict[str, str]:
    """Return what each line of a text file says: its first word -> the rest of the line.

    Raises:
        DataError: If it is missing, no text, or a line is one word.
    """
    found = {}
    for number, line in enumerate(lines(path), 1):
        word, _, rest = line.partition(" ")
        if not rest:
            raise DataError(
                f"{path}, line {number} must be a name, a space and a value; got {line[:80]!r}. "
                "Unpack the file again."
            )
        found[word] = rest.strip()
    return found


def table(path: Path, columns: Sequence[str]) -> dict[str, list[str]]:
    """Return some columns of a table with commas, as texts; others may have any names.

    Args:
        path: The file; its first line names the columns.
        columns: What is wanted.

    Raises:
        DataError: If it is missing or no text, or a column or a cell is not there.
    """
    with (
        legible(str(path), "must be a table with commas", "Unpack it again."),
        path.open(encoding="utf-8-sig", newline="") as file,
    ):
        header, *rows = [row for row in csv.reader(file) if row] or [[]]
    if missing := [name for name in columns if name not in header]:
        raise DataError(
            f"{path} must have the columns {', '.join(columns)}; {missing[0]!r} is not among "
            f"{', '.join(header[:20]) or 'none'}. Unpack the file again."
        )
    places = [header.index(name) for name in columns]
    for number, row in enumerate(rows, 1):
        if len(row) <= max(places):
            raise DataError(
                f"{path}, row {number} below the header must have {len(header)} cells; got "
                f"{len(row)}. Unpack the file again."
            )
    return {n: [row[p] for row in rows] for n, p in zip(columns, places, strict=True)}
