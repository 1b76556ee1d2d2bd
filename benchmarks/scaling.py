"""Time and memory as the work grows: tokens, samples, width, depth.

    python benchmarks/scaling.py            all four, about ten minutes; writes scaling.png
    python benchmarks/scaling.py tokens     one of them, without the picture

Each point is measured in a process of its own on one thread, in seconds of computing, which other
work on the machine changes little: the median of three training steps (MetaMAE), the same for
embedding, and the most memory that either takes beyond what data and weights do. "samples" is
`metamae pretrain` over a Parquet file of 16 columns for 200 steps, and `metamae embed` of all its
rows where they are a million at most. It needs Linux.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step import forget_peak, memory

from metamae.methods import METHODS
from metamae.modalities.grid.grid import Grid
from metamae.run.build import SIZES, Network, build_method
from metamae.training.device import freed_memory_kept
from metamae.training.optimizer import make_optimizer
from metamae.training.settings import TrainSettings

SMALL = SIZES["small"]
TOKENS = 4096  # of a batch, where tokens and network grow
ROWS = 2**17  # of a part of a file, where samples grow
MOST_EMBEDDED = 10**6  # rows: ten times as many would take an hour
POINTS: dict[str, list[int]] = {
    "tokens": [64, 128, 256, 512, 1024, 2048, 4096, 8192],
    "samples": [10**3, 10**4, 10**5, 10**6, 10**7],
    "width": [64, 128, 256, 512],
    "depth": [2, 4, 8, 16],
}


def network(axis: str, value: int) -> Network:
    """The network of a point."""
    if axis == "width":
        return replace(SMALL, width=value, decoder_width=value // 2)
    return replace(SMALL, depth=value) if axis == "depth" else SMALL


def compute(axis: str, value: int) -> dict[str, float]:
    """Measure training and embedding in memory at a point, per sample."""
    num_tokens = value if axis == "tokens" else 64
    batch_size = max(1, TOKENS // num_tokens)
    spec = Grid(
        column="X",
        layout="none",
        channels=1,
        size=(4 * num_tokens,),
        cell=(4,),
        mean=(0.0,),
        std=(1.0,),
        max_tokens=max(POINTS["tokens"]),
    )
    method = build_method(
        spec,
        network(axis, value),
        method="metamae",
        method_settings=METHODS.settings("metamae"),
        masking="random",
        masking_settings={"ratio": 0.75},
        seed=0,
    )
    rng = torch.Generator().manual_seed(0)
    batch = {"cells": torch.randn(batch_size, num_tokens, 4, generator=rng)}
    optimizer = make_optimizer(method, TrainSettings())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        method(batch, rng).loss.backward()
        optimizer.step()

    def embed() -> None:
        with torch.no_grad():
            method.backbone.features(batch)

    found: dict[str, float] = {}
    for name, work in (("train", step), ("embed", embed)):
        method.train(name == "train")
        optimizer.zero_grad(set_to_none=True)
        with freed_memory_kept():
            seconds, gigabytes = measured(work)
        found |= {f"{name}_ms": 1000 * seconds / batch_size, f"{name}_gb": gigabytes}
    return found


def timed(work: Callable[[], Any]) -> float:
    """Seconds of computing that some work takes, all threads together."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measured(work: Callable[[], None]) -> tuple[float, float]:
    """Median seconds of three calls, and the most memory they take in GB."""
    before = forget_peak()
    work()
    seconds = sorted(timed(work) for _ in range(3))[1]
    return seconds, memory("VmHWM") - before


def handle(num: int) -> dict[str, float]:
    """Measure pretraining and embedding from a file of so many rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from metamae.pretraining.pretrain import pretrain
    from metamae.uses.embed.embed import embed

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        path, out = Path(name) / "rows.parquet", Path(name) / "vectors.npy"
        schema = pa.schema([(f"c{n}", pa.float32()) for n in range(16)])
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, num, ROWS):
                rows = rng.normal(size=(16, min(ROWS, num - start))).astype(np.float32)
                writer.write_table(pa.table(list(rows), schema=schema))
        before = forget_peak()
        settings = {"steps": 200, "size": "tiny", "batch_size": 32, "in_memory": 0}
        began = time.process_time()
        found, _ = pretrain(path, Path(name) / "run", settings=settings)
        trained = time.process_time() - began
        trained_gb = memory("VmHWM") - before
        measures = {"train_s": trained, "train_gb": trained_gb}
        if num <= MOST_EMBEDDED:
            before = forget_peak()
            seconds = timed(lambda: embed(found, path, out, settings={"in_memory": 0}))
            measures |= {"embed_ms": 1000 * seconds / num, "embed_gb": memory("VmHWM") - before}
        return measures


LABELS = {
    "train_ms": "training, ms a sample",
    "train_s": "pretrain, s",
    "train_gb": "training, GB",
    "embed_ms": "embedding, ms a sample",
    "embed_gb": "embedding, GB",
}


def draw(results: dict[str, dict[int, dict[str, float]]], path: Path) -> None:
    """Draw time and memory against each axis."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    figure = Figure(figsize=(3.2 * len(results), 5.2), layout="constrained")
    grid = figure.subplots(2, len(results), squeeze=False)
    for column, (axis, points) in enumerate(results.items()):
        for row, kind in enumerate(("time", "gb")):
            axes = grid[row][column]
            for key in next(iter(points.values())):
                if key.endswith("gb") == (kind == "gb"):
                    known = {at: point[key] for at, point in points.items() if key in point}
                    axes.plot(list(known), list(known.values()), "o-", label=LABELS[key])
            axes.set_xscale("log", base=10 if axis == "samples" else 2)
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.yaxis.set_minor_formatter(NullFormatter())
            axes.set_xlabel(axis)
            axes.legend(fontsize=7)
            axes.grid(alpha=0.3)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure all, or what the command line names."""
    torch.set_num_threads(1)
    if sys.argv[1:2] == ["--one"]:
        axis, value = sys.argv[2], int(sys.argv[3])
        print(json.dumps(handle(value) if axis == "samples" else compute(axis, value)))
        return
    results: dict[str, dict[int, dict[str, Any]]] = {}
    for axis in sys.argv[1:] or POINTS:
        for value in POINTS[axis]:
            command = [sys.executable, __file__, "--one", axis, str(value)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            point = json.loads(done.stdout.splitlines()[-1])
            results.setdefault(axis, {})[value] = point
            print(axis, value, " ".join(f"{k} {v:.4g}" for k, v in point.items()), flush=True)
    if len(results) == len(POINTS):
        draw(results, Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
