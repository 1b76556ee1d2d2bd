"""Batches per second from files, beside torch's DataLoader on the same files.

Ours is all that training waits for: read, choose at random, scale, cut into tokens. The other side
only reads: a DataLoader over the fastest form that a user would write by hand. Both run in one
process call, alternately, so that a noisy machine slows both.

    python benchmarks/loading.py [--tasks table strings images] [--rounds 3]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Generator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch.utils.data import BatchSampler, DataLoader, Dataset, RandomSampler

from metamae.data.readers import read
from metamae.schema.schema import infer_schema
from metamae.training.batches import Batches

BATCH = 256
ROWS, COLUMNS = 1_000_000, 28
STRINGS, LENGTH = 50_000, 250
IMAGES, SIDE = 20_000, 64


class Rows(Dataset[np.ndarray]):
    """A whole batch at a time from an array: the fast path of a DataLoader."""

    def __init__(self, array: np.ndarray):
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: list[int]) -> np.ndarray:
        rows: np.ndarray = self.array[np.sort(index)]
        return rows


class Pictures(Dataset[torch.Tensor]):
    """Images decoded one by one with Pillow."""

    def __init__(self, paths: list[Path]):
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as image:
            return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def by_batches(data: Rows | Pictures, workers: int = 0) -> Generator[Any, None, None]:
    """Yield shuffled batches that the data set reads as a whole."""
    sampler = BatchSampler(RandomSampler(data), BATCH, drop_last=True)
    loader = DataLoader(data, sampler=sampler, batch_size=None, num_workers=workers)
    while True:
        yield from loader


def by_samples(data: Rows | Pictures, workers: int) -> Generator[Any, None, None]:
    """Yield shuffled batches that are put together from single samples."""
    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True, num_workers=workers)
    while True:
        yield from loader


def ours(path: Path, **settings: Any) -> Generator[Any, None, None]:
    """Yield what training gets: scaled, cut into tokens."""
    records = read(path)
    spec = infer_schema(records, **settings).modality
    batches = Batches(spec, records.only(spec.columns), batch_size=BATCH, seed=0, workers=None)
    return batches.start(0, torch.device("cpu"))


def write_table(folder: Path) -> Path:
    """Write a million rows of 28 numbers."""
    x = np.random.default_rng(0).normal(size=(ROWS, COLUMNS)).astype(np.float32)
    np.save(folder / "table.npy", x)
    table = pa.table({f"c{n}": x[:, n] for n in range(COLUMNS)})
    pq.write_table(table, folder / "table.parquet", row_group_size=65_536)
    return folder / "table.parquet"


def write_strings(folder: Path) -> Path:
    """Write 50,000 strings of 250 letters."""
    letters = np.random.default_rng(0).integers(0, 4, (STRINGS, LENGTH))
    texts = ["".join(row) for row in np.array(list("ACGT"))[letters]]
    pq.write_table(pa.table({"sequence": texts}), folder / "strings.parquet")
    np.save(folder / "strings.npy", np.array(texts, dtype=f"S{LENGTH}"))
    return folder / "strings.parquet"


def write_images(folder: Path) -> Path:
    """Write 20,000 images of 64 x 64 pixels."""
    images = folder / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (SIDE * 2, SIDE * 2, 3), dtype=np.uint8)
    for number in range(IMAGES):
        y, x = rng.integers(0, SIDE, 2)
        Image.fromarray(base[y : y + SIDE, x : x + SIDE]).save(images / f"{number:05}.png")
    return images


def sides(task: str, folder: Path) -> dict[str, Callable[[], Generator[Any, None, None]]]:
    """Return what is compared in a task: name -> an endless stream of batches."""
    cores = max(1, len(os.sched_getaffinity(0)) - 1)
    if task == "table":
        path = write_table(folder)
        array = np.load(folder / "table.npy", mmap_mode="r")
        return {
            "ours, Parquet": lambda: ours(path),
            "ours, .npy mapped": lambda: ours(folder / "table.npy", modality="table"),
            "DataLoader, .npy mapped, batch index": lambda: by_batches(Rows(array)),
            "DataLoader, .npy mapped, 1 worker": lambda: by_batches(Rows(array), 1),
        }
    if task == "strings":
        path = write_strings(folder)
        array = np.load(folder / "strings.npy", mmap_mode="r")
        return {
            "ours, Parquet": lambda: ours(path),
            "DataLoader, bytes in .npy mapped": lambda: by_batches(_Codes(array)),
        }
    path = write_images(folder)
    files = sorted(path.iterdir())
    return {
        "ours, PNG files": lambda: ours(path),
        "DataLoader, PNG files, 0 workers": lambda: by_samples(Pictures(files), 0),
        f"DataLoader, PNG files, {cores} worker(s)": lambda: by_samples(Pictures(files), cores),
    }


class _Codes(Rows):
    """Strings of one length as a tensor of codes."""

    def __getitem__(self, index: list[int]) -> np.ndarray:
        rows = self.array[np.sort(index)]
        return np.frombuffer(rows.tobytes(), dtype=np.uint8).reshape(len(rows), -1).copy()


def rate(stream: Generator[Any, None, None], seconds: float) -> float:
    """Batches per second, after a few that start workers and fill caches."""
    for _ in islice(stream, 8):
        pass
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        next(stream)
        count += 1
    return count / (time.perf_counter() - began)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", default=["table", "strings", "images"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5.0)
    chosen = parser.parse_args()
    for task in chosen.tasks:
        with tempfile.TemporaryDirectory() as folder:
            streams = {name: make() for name, make in sides(task, Path(folder)).items()}
            found: dict[str, list[float]] = {name: [] for name in streams}
            for _ in range(chosen.rounds):
                for name, stream in streams.items():
                    found[name].append(rate(stream, chosen.seconds))
            for name, rates in found.items():
                middle = statistics.median(rates)
                print(
                    f"{task:8} {name:40} {middle:9.1f} batches/s  "
                    f"{middle * BATCH / 1000:9.1f} k samples/s  "
                    f"(rounds {', '.join(f'{r:.1f}' for r in rates)})",
                    flush=True,
                )
            for stream in streams.values():
                stream.close()


if __name__ == "__main__":
    main()
