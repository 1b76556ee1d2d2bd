"""How long it takes until the command line answers, and which imports take it.

python benchmarks/startup.py [--rounds 5]
"""

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("metamae"))
CALLS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import metamae": [sys.executable, "-c", "import metamae"],
    "metamae --help": [COMMAND, "--help"],
    "metamae embed --help": [COMMAND, "embed", "--help"],
}
SHOWN = 8  # imports that are listed


def seconds(call: list[str]) -> float:
    """Wall time of one process."""
    began = time.perf_counter()
    subprocess.run(call, check=True, capture_output=True)
    return time.perf_counter() - began


def costly_imports() -> list[tuple[float, str]]:
    """Milliseconds and names of the imports of the command line that take longest, own time."""
    call = [sys.executable, "-X", "importtime", "-c", "import metamae.cli"]
    said = subprocess.run(call, check=True, capture_output=True, text=True).stderr
    found = re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", said)
    return sorted(((int(own) / 1000, name) for own, name in found), reverse=True)


def main() -> None:
    """Print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, call in CALLS.items():
        times = sorted(seconds(call) for _ in range(rounds))
        print(f"{name:22} best of {rounds}: {times[0]:.2f} s, worst {times[-1]:.2f} s", flush=True)
    costly = costly_imports()
    print(f"{len(costly)} modules; the costliest, in ms of their own:")
    for own, name in costly[:SHOWN]:
        print(f"{own:8.1f}  {name}")


if __name__ == "__main__":
    main()
