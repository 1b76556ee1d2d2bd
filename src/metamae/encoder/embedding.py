"""Records in, one vector per sample or per token out: nothing hidden, nothing drawn.

Matrix products of different sizes may round differently, so a sample's last digits would depend
on its companions. Here they do not: where lengths differ, samples are sorted by length, rounded
up to a multiple of 8, and each is computed in a micro-batch whose shape follows from that alone.

Samples are taken in sections, in the order that they stand in. Only the samples of one section are
sorted, and only its vectors are held, so that memory does not grow with the number of samples.
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.modalities.base import Modality
from metamae.model.backbone import Backbone, pool, pool_regions
from metamae.model.tokens import Batch
from metamae.training.batches import to_device
from metamae.training.device import autocast
from metamae.training.order import MIXED, blocks_of_records

Vectors = NDArray[np.float32]
MULTIPLE = 8
# Tokens of a micro-batch: a table and no trial of the machine, whose outcome could differ from
# run to run, and with it the last digits. On a CPU few, since one sample costs as much as a full
# micro-batch; networks from "tiny" to "paper" are within a tenth of their best speed there
# (`benchmarks/embedding.py`).
TOKENS = {"cpu": 2048, "cuda": 65536}
# Where lengths differ, so many times fewer: the last micro-batch of each length is filled up with
# copies, which cost a few samples of many lengths a quarter of their time.
FEWER = 2
# Tokens that are read at once: calls of a reader cost more than small samples do.
READ = 8192
AHEAD = 2  # readings under way while one is computed
# Tokens of a section: what a stop can cost is the time that these take. Where lengths differ,
# more, because each length that occurs costs up to a micro-batch of its own in each section.
SECTION, SORTED = 2**19, 2**22
MOST_SAMPLES = 2**14  # of a section
HELD = 2**26  # bytes of the vectors of a section, unless one sample alone has more
Progress = Callable[[int, int], None]
"""Called with the number of samples done and the number of all."""

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Vectors of some samples that stand one behind the other.

    Attributes:
        start: Position of the first.
        stop: Position behind the last.
        rows: One per sample, (stop - start, D), or one per token, (T, D), float32.
        counts: Tokens of each sample, (stop - start,); None where there is one row per sample.
    """

    start: int
    stop: int
    rows: Vectors
    counts: Index | None = None


@dataclass(frozen=True)
class _Section:
    """Samples from `start` to `stop`: their pieces, and the sample that each piece belongs to."""

    start: int
    stop: int
    pieces: Records
    owner: Index | None


@dataclass(frozen=True)
class _Reading:
    """Micro-batches of one shape: positions of their pieces, and the rows to compute each in."""

    section: _Section
    index: Index
    rows: int
    batches: list[Batch]


def embed_samples(
    backbone: Backbone,
    spec: Modality,
    records: Records,
    progress: Progress | None = None,
    *,
    precision: str = "float32",
) -> Vectors:
    """Embed samples: the mean over each one's encoded tokens, (S, D) float32.

    Where the modality has regions, the mean over each of them, (S, R D). A sample in several
    pieces gets the mean over the tokens of all of them.

    Raises:
        DataError: If a sample does not fit the spec.
    """
    width = spec.embedding_width(backbone.tokenizer.width)
    vectors = np.empty((len(records), width), dtype=np.float32)
    for part in embed_parts(backbone, spec, records, precision=precision, progress=progress):
        vectors[part.start : part.stop] = part.rows
    return vectors


def embed_tokens(
    backbone: Backbone,
    spec: Modality,
    records: Records,
    progress: Progress | None = None,
    *,
    precision: str = "float32",
) -> list[Vectors]:
    """Embed tokens: for each sample an array (N, D) float32 of the tokens that are there.

    The tokens of a sample in several pieces stand one piece behind the other.
    """
    vectors: list[Vectors] = []
    parts = embed_parts(
        backbone, spec, records, tokens=True, precision=precision, progress=progress
    )
    for part in parts:
        assert part.counts is not None
        vectors += np.split(part.rows, np.cumsum(part.counts)[:-1])
    return vectors


def embed_parts(
    backbone: Backbone,
    spec: Modality,
    records: Records,
    *,
    tokens: bool = False,
    start: int = 0,
    precision: str = "float32",
    progress: Progress | None = None,
) -> Generator[Part, None, None]:
    """Yield the vectors of all samples from `start` on, a section at a time, in their order.

    The next samples are read while some are computed. Where a section begins changes no vector.

    Args:
        backbone: The encoder; in evaluation mode until the last part is taken.
        spec: Reads and scales the samples.
        records: S samples.
        tokens: One row per token instead of one per sample.
        start: First sample.
        precision: "float32", "bfloat16", or "auto" for the faster: see `training.precision`.
        progress: Called after each micro-batch.

    Raises:
        DataError: If a sample does not fit the spec; the parts before it have been yielded.
    """
    device = next(backbone.parameters()).device
    width = spec.embedding_width(backbone.tokenizer.width)
    ends = sections(spec, records, start, 4 * width * (spec.num_tokens if tokens else 1))
    readings = _ahead(_read(spec, records, start, ends, at_once(spec, device)))
    multiple, training = _multiple(spec), backbone.training
    backbone.eval()
    try:
        with closing(readings):
            collect: _Samples | _Tokens | None = None
            for reading in readings:
                section = reading.section
                if collect is None:
                    collect = _Tokens(section) if tokens else _Samples(section, width, spec, device)
                for number, batch in enumerate(reading.batches):
                    index = reading.index[number * reading.rows :][: reading.rows]
                    there = to_device(batch, device)
                    collect.add(index, *_encoded(backbone, there, multiple, precision))
                    if progress is not None:
                        num = section.stop - section.start
                        ready = num * collect.done // len(section.pieces)
                        progress(section.start + ready, len(records))
                if collect.done == len(section.pieces):
                    yield collect.part()
                    collect = None
    finally:
        backbone.train(training)


def sections(spec: Modality, records: Records, start: int, row_bytes: int) -> Iterator[int]:
    """Yield the position behind the last sample of each section, from a first sample on.

    Args:
        spec: What a sample is.
        records: S samples.
        start: First sample.
        row_bytes: What the vectors of a sample take.
    """
    most = (SORTED if spec.varies else SECTION) // max(1, spec.num_tokens)
    size = max(1, min(most, MOST_SAMPLES, HELD // max(1, row_bytes)))
    # Sorted samples are read from all over a section: no more blocks of them than are kept.
    blocks = blocks_of_records(records) if spec.varies else None
    while start < len(records):
        stop = min(start + size, len(records))
        if blocks is not None:
            last = int(blocks.searchsorted(start, side="right")) + MIXED - 1
            stop = min(stop, int(blocks[min(last, len(blocks) - 1)]))
        yield stop
        start = stop


def at_once(spec: Modality, device: torch.device) -> int:
    """Return the tokens of a micro-batch: the same whichever samples are embedded."""
    most = TOKENS.get(device.type, TOKENS["cpu"])
    return most // FEWER if spec.varies else most


def by_length(spec: Modality, records: Records, tokens: int) -> Iterator[tuple[Index, int]]:
    """Yield positions of samples of like length, and how many of them to compute at once.

    Args:
        spec: What a sample is.
        records: Samples, or pieces of them.
        tokens: Of a micro-batch; a longer sample is one by itself.
    """
    lengths, multiple = spec.lengths(records), _multiple(spec)
    if lengths is None:
        lengths = np.full(len(records), spec.num_tokens)
    rounded = -(-lengths.reshape(len(records), -1) // multiple) * multiple
    shapes, belongs = np.unique(rounded, axis=0, return_inverse=True)
    for number, shape in enumerate(shapes):
        rows = max(1, tokens // max(1, int(shape.sum())))
        yield np.flatnonzero(belongs.ravel() == number), rows


def gather(
    values: Vectors, owner: Index, num_samples: int, weights: NDArray[np.float64] | None = None
) -> Vectors:
    """Weighted mean over the pieces of each sample: (W, F) -> (S, F).

    Args:
        values: One row per piece.
        owner: Position of each piece's sample, (W,); every sample has a piece.
        num_samples: S.
        weights: Of the pieces, (W,); None for equal ones.
    """
    if weights is None:
        weights = np.ones(len(values))
    sums = np.zeros((num_samples, values.shape[1]))
    np.add.at(sums, owner, values * weights[:, None])
    total = np.bincount(owner, weights, num_samples)
    return (sums / total[:, None]).astype(np.float32)


class _Samples:
    """Collects a vector for each sample of a section."""

    def __init__(self, section: _Section, width: int, spec: Modality, device: torch.device):
        self.section, self.done = section, 0
        self.vectors = np.empty((len(section.pieces), width), dtype=np.float32)
        self.weights = np.ones(len(section.pieces))
        own = spec.token_regions
        self.regions = None if own is None else torch.from_numpy(own).to(device)

    def add(self, index: Index, latent: torch.Tensor, padding: torch.Tensor | None) -> None:
        if self.regions is None:
            pooled = pool(latent, padding)
        else:
            pooled = pool_regions(latent, padding, self.regions)
        self.vectors[index] = pooled[: len(index)].cpu().numpy()
        if padding is not None:
            self.weights[index] = (~padding).sum(dim=1)[: len(index)].cpu().numpy()
        else:
            self.weights[index] = latent.shape[1]
        self.done += len(index)

    def part(self) -> Part:
        start, stop, owner = self.section.start, self.section.stop, self.section.owner
        if owner is None:
            return Part(start, stop, self.vectors)
        return Part(start, stop, gather(self.vectors, owner, stop - start, self.weights))


class _Tokens:
    """Collects the vectors of all tokens of a section."""

    def __init__(self, section: _Section):
        self.section, self.done = section, 0
        self.vectors = [np.empty(0, dtype=np.float32)] * len(section.pieces)

    def add(self, index: Index, latent: torch.Tensor, padding: torch.Tensor | None) -> None:
        vectors, there = latent.cpu().numpy(), None if padding is None else (~padding).cpu().numpy()
        for row, position in enumerate(index):
            own = vectors[row] if there is None else vectors[row][there[row]]
            self.vectors[position] = own.copy()  # or all of the batch would stay
        self.done += len(index)

    def part(self) -> Part:
        start, stop, owner = self.section.start, self.section.stop, self.section.owner
        counts = np.array([len(own) for own in self.vectors], dtype=np.int64)
        if owner is not None:
            total = np.zeros(stop - start, dtype=np.int64)
            np.add.at(total, owner, counts)
            counts = total
        return Part(start, stop, np.concatenate(self.vectors), counts)


def _multiple(spec: Modality) -> int:
    # A table of 9 columns would grow to 16 tokens for nothing.
    return MULTIPLE if spec.varies else 1


@torch.no_grad()
def _encoded(
    backbone: Backbone, batch: Batch, multiple: int, precision: str
) -> tuple[torch.Tensor, torch.Tensor | None]:
    with autocast(precision, backbone.cls.device.type, backbone.tokenizer.width):
        latent, padding = backbone.token_features(batch, multiple)
    # Means are taken in float32, so that they differ by less than the tokens do.
    return latent.float(), padding


def _read(
    spec: Modality, records: Records, start: int, ends: Iterator[int], tokens: int
) -> Iterator[_Reading]:
    """Read sections sample by sample, several micro-batches of one shape at a time."""
    for stop in ends:
        pieces, owner = spec.unfold(records.subset(np.arange(start, stop)))
        section = _Section(start, stop, pieces, owner)
        for index, rows in by_length(spec, pieces, tokens):
            step = rows * max(1, READ // tokens)
            for first in range(0, len(index), step):
                some = index[first : first + step]
                # The last one is filled up with copies, so that all have the same shape.
                filled = np.concatenate([some, np.repeat(some[-1:], -len(some) % rows)])
                batch = spec.batch(pieces, filled)
                yield _Reading(section, some, rows, _cut(batch, rows))
        start = stop


def _cut(batch: Batch, rows: int) -> list[Batch]:
    """Divide a batch into micro-batches."""
    num = len(next(iter(batch.values())))
    # Copies, because where memory begins decides how a sum is divided up, and so its last digit.
    return [
        {key: value[at : at + rows].clone() for key, value in batch.items()}
        for at in range(0, num, rows)
    ]


def _ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """Yield items that are made in a thread, while those before them are used."""
    with ThreadPoolExecutor(1, thread_name_prefix="metamae-embedding") as pool:
        coming: deque[Future[T | None]] = deque()
        try:
            coming += (pool.submit(next, items, None) for _ in range(AHEAD + 1))
            while (item := coming.popleft().result()) is not None:
                coming.append(pool.submit(next, items, None))
                yield item
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def micro_batches(
    spec: Modality, records: Records, device: torch.device
) -> Iterator[tuple[Index, Batch]]:
    """Yield positions of samples, and the batch whose first rows they are.

    Raises:
        DataError: If a sample does not fit the spec.
    """
    for positions, rows in by_length(spec, records, at_once(spec, device)):
        for start in range(0, len(positions), rows):
            index = positions[start : start + rows]
            filled = np.concatenate([index, np.repeat(index[-1:], rows - len(index))])
            yield index, to_device(spec.batch(records, filled), device)
