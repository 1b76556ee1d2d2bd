"""Speed of `metamae.embed` from file to file, beside the bare encoder on batches in memory.

    python benchmarks/embedding.py                       all shapes of data, about four minutes
    python benchmarks/embedding.py table series          some of them
    python benchmarks/embedding.py --size tiny --scale 0.25

The encoder is timed at several numbers of tokens per batch, on samples sorted by length and padded
to the longest of their batch; the best is what `embed` is compared with, as medians of rounds in
which both take turns: on a busy machine, times far apart do not compare. The file is written anew
each time. Data are random, weights nearly untrained: neither changes the speed.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

# As the command line has it: threads that spin while they wait slow each other down.
os.environ.setdefault("GOMP_SPINCOUNT", "20000")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from metamae import embed, pretrain
from metamae.data.readers import read
from metamae.encoder.pretrained import Pretrained
from metamae.model.tokens import Batch

CANDIDATES = (512, 1024, 2048, 4096, 8192)
FEW = 1024  # samples that the encoder alone is timed on
ROUNDS = 3


def table(path: Path, num: int, rng: np.random.Generator) -> Path:
    """28 columns in Parquet, row groups of 8,192."""
    x = rng.standard_normal((num, 28), dtype=np.float32)
    file = path / "table.parquet"
    pq.write_table(pa.table({f"c{n}": x[:, n] for n in range(28)}), file, row_group_size=8192)
    return file


def series(path: Path, num: int, rng: np.random.Generator) -> Path:
    """9 channels x 128 in .npy."""
    np.save(path / "series.npy", rng.standard_normal((num, 9, 128), dtype=np.float32))
    return path / "series.npy"


def strings(path: Path, num: int, rng: np.random.Generator) -> Path:
    """Letters of an alphabet of 4, from 8 to 500 of them, in Parquet."""
    lengths = np.exp(rng.uniform(np.log(8), np.log(500), num)).astype(int)
    text = ["".join(rng.choice(list("ACGT"), n)) for n in lengths]
    pq.write_table(pa.table({"text": text}), path / "strings.parquet", row_group_size=8192)
    return path / "strings.parquet"


def images(path: Path, num: int, rng: np.random.Generator) -> Path:
    """3 x 32 x 32 bytes in .npy."""
    np.save(path / "images.npy", rng.integers(0, 256, (num, 3, 32, 32), dtype=np.uint8))
    return path / "images.npy"


# Shape -> maker, samples.
SHAPES: dict[str, tuple[Callable[[Path, int, np.random.Generator], Path], int]] = {
    "table": (table, 16_384),
    "series": (series, 8_192),
    "strings": (strings, 8_192),
    "images": (images, 8_192),
}


def batches(pretrained: Pretrained, file: Path, tokens: int) -> list[Batch]:
    """Read some samples in batches of about so many tokens."""
    spec = pretrained.schema.modality
    records = pretrained.records(file)
    few = np.unique(np.linspace(0, len(records) - 1, FEW).astype(np.int64))
    records = records.subset(few)
    lengths = spec.lengths(records)
    if lengths is None:
        lengths = np.full(len(records), spec.num_tokens)
    order = np.argsort(lengths, kind="stable")
    made, start = [], 0
    while start < len(order):
        rows = max(1, tokens // int(lengths[order[start]]))
        longest = int(lengths[order[min(start + rows, len(order)) - 1]])
        rows = max(1, min(rows, tokens // longest))
        made.append(spec.batch(records, order[start : start + rows]))
        start += rows
    return made


@torch.no_grad()
def forward(pretrained: Pretrained, made: list[Batch]) -> float:
    """Samples per second of the encoder alone."""
    backbone = pretrained.module.backbone.eval()
    began = time.perf_counter()
    for batch in made:
        backbone.token_features(batch)
    seconds = time.perf_counter() - began
    return sum(len(next(iter(batch.values()))) for batch in made) / seconds


def measure(shape: str, size: str, scale: float) -> None:
    """Print a line on one shape of data."""
    maker, num = SHAPES[shape]
    num = round(num * scale)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        file = maker(folder, num, np.random.default_rng(0))
        some = read(file).subset(np.arange(512))
        pretrained, _ = pretrain(some, settings={"size": size, "steps": 1, "batch_size": 16})
        ready = {tokens: batches(pretrained, file, tokens) for tokens in CANDIDATES}
        alone = {
            tokens: max(forward(pretrained, made) for _ in range(2))
            for tokens, made in ready.items()
        }
        best = max(alone, key=lambda tokens: alone[tokens])
        bare, whole, shares = [], [], []
        for _ in range(ROUNDS):
            before = forward(pretrained, ready[best])
            began = time.perf_counter()
            embed(pretrained, file, folder / "vectors.npy", overwrite=True)
            whole.append(num / (time.perf_counter() - began))
            after = forward(pretrained, ready[best])
            bare.append(statistics.mean([before, after]))
            shares.append(whole[-1] / bare[-1])
    tried = ", ".join(f"{tokens}: {speed:.0f}" for tokens, speed in alone.items())
    print(
        f"{shape:8} {num:7,} {statistics.median(whole):9.0f} {statistics.median(bare):9.0f} "
        f"{statistics.median(shares):6.0%}   {tried}",
        flush=True,
    )


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shapes", nargs="*", help=", ".join(SHAPES))
    parser.add_argument("--size", default="small")
    parser.add_argument("--scale", type=float, default=1.0, help="of the numbers of samples")
    chosen = parser.parse_args()
    # `choices` would refuse that there are none.
    if unknown := set(chosen.shapes) - set(SHAPES):
        parser.error(f"shapes must be of {', '.join(SHAPES)}; got {', '.join(sorted(unknown))}")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, size {chosen.size}")
    print("shape    samples   embed/s encoder/s  share   encoder alone by tokens of a batch")
    for shape in chosen.shapes or SHAPES:
        measure(shape, chosen.size, chosen.scale)


if __name__ == "__main__":
    main()
