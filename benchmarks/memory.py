"""Resident memory while learning from Parquet files that are larger than what it may take.

Writes a data set of some gigabytes in shards, learns from it in a process of its own, and samples
that process's private memory (RssAnon) and all of it (VmRSS, which counts mapped files that the
system may drop at any time).

    python benchmarks/memory.py [--gigabytes 1 8] [--steps 400]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS, GROUP = 64, 32_768  # float32 values of a row; rows of a row group: 8 MiB
SHARD = 16  # row groups of a file
EVERY = 0.2  # seconds between two looks


def write(folder: Path, gigabytes: float) -> int:
    """Write shards; return the number of rows."""
    rng = np.random.default_rng(0)
    groups = round(gigabytes * 2**30 / (GROUP * COLUMNS * 4))
    schema = pa.schema([(f"c{n}", pa.float32()) for n in range(COLUMNS)])
    for shard in range(0, groups, SHARD):
        with pq.ParquetWriter(
            folder / f"part-{shard:05}.parquet", schema, compression="none", use_dictionary=False
        ) as writer:
            for _ in range(min(SHARD, groups - shard)):
                x = rng.standard_normal((GROUP, COLUMNS), dtype=np.float32)
                writer.write_table(
                    pa.table([x[:, n] for n in range(COLUMNS)], schema=schema), GROUP
                )
    return groups * GROUP


def resident(pid: int) -> tuple[float, float]:
    """Private and whole resident memory of a process in MiB; zeros once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0, 0.0
    found = {
        line.split(":")[0]: line.split()[1] for line in lines if "Rss" in line or "VmR" in line
    }
    return int(found.get("RssAnon", 0)) / 1024, int(found.get("VmRSS", 0)) / 1024


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, nargs="+", default=[1, 8])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--folder", type=Path, default=None)
    chosen = parser.parse_args()
    for size in chosen.gigabytes:
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            folder = Path(name)
            (folder / "data").mkdir()
            rows = write(folder / "data", size)
            command = [
                *(Path(sys.executable).with_name("metamae"), "pretrain", folder / "data"),
                *("--out", folder / "run", "--steps", str(chosen.steps), "--size", "tiny"),
                *("--set", "batch_size=64", "--set", "group=4"),
            ]
            private: list[float] = []
            whole = 0.0
            began = time.monotonic()
            with subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as process:
                while process.poll() is None:
                    anonymous, resident_now = resident(process.pid)
                    private.append(anonymous)
                    whole = max(whole, resident_now)
                    time.sleep(EVERY)
            if process.returncode:
                sys.exit(f"pretrain failed with status {process.returncode}")
            quarters = [max(part) for part in np.array_split(private, 4)]
            print(
                f"{size:g} GB, {rows:,} rows, {chosen.steps} steps in "
                f"{time.monotonic() - began:.0f} s: private memory in each quarter of the run "
                f"{', '.join(f'{q:.0f}' for q in quarters)} MiB, whole at most {whole:.0f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
