"""Speed and memory of a training step at the paper's size, on four shapes of data.

    python benchmarks/step.py                 all shapes and forms, about forty minutes
    python benchmarks/step.py image cross     one of them, in this process

Each row is measured in a process of its own, so that its peak memory is its own. "share" is the
arithmetic of the step, counted by PyTorch's formulas, divided by the time that a float32
matrix product of the same machine needs for as much, timed just before and after the step.
"step GB" is what steps add to the memory that data and weights take. It needs Linux.
"reading" is the time to read a batch from a file as a share of a step's. The data are random:
neither speed nor memory depends on them. Forms in bfloat16 are left out where a CPU has no unit for
it: a step would take minutes.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from plain import plainly
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from metamae.data.readers import read
from metamae.run.build import SIZES, build_method
from metamae.run.config import Choices, choose, resolve
from metamae.schema.schema import infer_schema
from metamae.training.batches import Batches
from metamae.training.device import autocast, compile_blocks, freed_memory_kept, has_matrix_unit
from metamae.training.optimizer import make_optimizer

SAMPLES = 1024
STEPS = 3


def series(rng: np.random.Generator) -> np.ndarray:
    """PAMAP2: 52 channels, 320 points, cell 5."""
    return rng.normal(size=(SAMPLES, 52, 320)).astype(np.float32)


def table(rng: np.random.Generator) -> np.ndarray:
    """HIGGS: 28 columns."""
    return rng.normal(size=(SAMPLES, 28)).astype(np.float32)


def symbols(rng: np.random.Generator) -> np.ndarray:
    """Genomics: 250 letters of an alphabet of 4."""
    return rng.integers(0, 4, (SAMPLES, 250)).astype(np.int64)


def image(rng: np.random.Generator) -> np.ndarray:
    """EuroSAT: 13 bands, 64 x 64, cell 8."""
    return rng.normal(size=(SAMPLES, 13, 64, 64)).astype(np.float32)


# Shape -> maker, batch size, settings. Batch sizes and cells: arXiv:2310.16318's code.
SHAPES: dict[str, tuple[Callable[[np.random.Generator], np.ndarray], int, dict[str, object]]] = {
    "series": (series, 256, {"modality": "series", "cell": 5, "ratio": 0.85}),
    "table": (table, 256, {"modality": "table", "ratio": 0.5}),
    "symbols": (symbols, 32, {"modality": "symbols", "ratio": 0.5}),
    "image": (image, 64, {"modality": "image", "cell": 8, "ratio": 0.75}),
}
# Form -> method, decoder, precision. "plain" is MetaMAE written plainly, see plain.py; "compiled"
# has the encoder's blocks compiled.
FORMS = {
    "plain": ("metamae", "joint", "float32"),
    "metamae": ("metamae", "joint", "float32"),
    "metamae bf16": ("metamae", "joint", "bfloat16"),
    "recompute": ("metamae", "joint", "float32"),
    "recompute bf16": ("metamae", "joint", "bfloat16"),
    "cross": ("metamae", "cross", "float32"),
    "cross bf16": ("metamae", "cross", "bfloat16"),
    "cross recompute": ("metamae", "cross", "float32"),
    "mae": ("mae", "joint", "float32"),
    "mae cross": ("mae", "cross", "float32"),
    "mae cross bf16": ("mae", "cross", "bfloat16"),
    "mae cross compiled": ("mae", "cross", "float32"),
    "cross compiled": ("metamae", "cross", "float32"),
}


class Arithmetic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations of what runs inside, by PyTorch's own formulas.

    `FlopCounterMode` cannot stand gradients by a leaf inside the forward pass, as they are taken
    where the inner step is recomputed.
    """

    flops = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **(kwargs or {}), out_val=result)
        return result


def matrix_speed() -> float:
    """Float32 operations per second of a large matrix product, the best of five."""
    a, b = torch.randn(1536, 1536), torch.randn(1536, 1536)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - start)
    return 2 * 1536**3 / best


def measure(shape: str, form: str) -> dict[str, float]:
    """Time steps of one form on one shape in this process."""
    maker, batch_size, settings = SHAPES[shape]
    method, decoder, precision = FORMS[form]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "X.npy"
        np.save(path, maker(np.random.default_rng(0)))
        records = read(path)
        asked = {**settings, "method": method, "size": "paper", "batch_size": batch_size}
        if "recompute" in form:
            asked["recompute"] = True
        choices = choose(Choices(), asked)
        schema = infer_schema(
            records, modality=choices.modality, settings=choices.settings["modality"]
        )
        spec = schema.modality
        config = resolve(
            choices, spec, num_samples=len(records), device="cpu", data={}, version="benchmark"
        )
        model = build_method(
            spec,
            replace(SIZES["paper"], decoder=decoder),
            method=method,
            method_settings=config.settings["method"],
            masking=config.masking,
            masking_settings=config.settings["masking"],
            seed=0,
        )
        batches = Batches(spec, records, batch_size=batch_size, seed=0)
        optimizer, rng = make_optimizer(model, config.train), torch.Generator().manual_seed(0)

        def step() -> None:
            optimizer.zero_grad(set_to_none=True)
            with autocast(precision, "cpu", model.backbone.tokenizer.width):
                loss = model(batch, rng).loss
            loss.backward()
            optimizer.step()

        with plainly() if form == "plain" else freed_memory_kept():
            readings = [timed(partial(batches.read, n)) for n in range(4)]
            batch = batches.read(0)
            before = forget_peak()
            with Arithmetic() as counted:  # type: ignore[no-untyped-call]
                step()
            if "compiled" in form:
                compile_blocks(model.backbone.encoder)
                step()
                forget_peak()  # what compiling took
            speed = [matrix_speed()]
            times = [timed(step) for _ in range(STEPS)]
            speed.append(matrix_speed())
            peak = memory("VmHWM")
    seconds = statistics.median(times)
    flops = counted.flops
    return {
        "seconds": seconds,
        "samples_per_second": batch_size / seconds,
        "peak_gb": peak,
        "step_gb": peak - before,
        "gflop": flops / 1e9,
        "share": flops / seconds / max(speed),
        "matrix_gflops": max(speed) / 1e9,
        "reading": statistics.median(readings) / seconds,
    }


def memory(field: str) -> float:
    """Resident memory of this process in GB: "VmRSS" now, "VmHWM" at its peak."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith(field))
    return int(line.split()[1]) / 2**20


def forget_peak() -> float:
    """Start the peak anew, so that it is the training's and not the reading's; memory in GB."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return memory("VmRSS")


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Measure all, or what the command line names."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
        return
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, size paper")
    titles = "s/step  samples/s  peak GB  step GB  share  reading  time  memory"
    print(f"{'shape':8} {'form':18} {titles}")
    for shape in SHAPES:
        first: dict[str, float] = {}
        for form, (_, _, precision) in FORMS.items():
            if precision == "bfloat16" and not has_matrix_unit():
                continue
            command = [sys.executable, __file__, shape, form]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout)
            first = first or row
            print(
                f"{shape:8} {form:18} {row['seconds']:7.2f} {row['samples_per_second']:10.1f} "
                f"{row['peak_gb']:8.2f} {row['step_gb']:8.2f} {row['share']:6.0%} "
                f"{row['reading']:8.1%} {row['seconds'] / first['seconds']:5.2f} "
                f"{row['step_gb'] / first['step_gb']:7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
