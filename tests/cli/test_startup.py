"""The command line answers at once: nothing heavy is loaded before it is needed."""

import subprocess
import sys
import time
from importlib.metadata import version

import pytest

HEAVY = {"torch", "pandas", "sklearn", "scipy", "pyarrow", "matplotlib", "safetensors", "PIL"}
HELP = """
import contextlib, io, metamae.cli
with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
    metamae.cli.main({arguments})
assert "Usage: metamae" in said.getvalue()
"""
CALLS = {
    "import metamae": "import metamae",
    "metamae --help": HELP.format(arguments=["--help"]),
    "python -m metamae": "import metamae.__main__",
    "metamae embed --help": HELP.format(arguments=["embed", "--help"]),
    "metamae pretrain --help": HELP.format(arguments=["pretrain", "--help"]),
}


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_package_can_be_run():
    said = subprocess.run(
        [sys.executable, "-m", "metamae", "--version"], capture_output=True, text=True
    )
    assert said.returncode == 0 and said.stdout.strip() == version("metamae")


@pytest.mark.parametrize("code", CALLS.values(), ids=CALLS)
def test_nothing_heavy_is_loaded(code):
    loaded = set(run(f"{code}\nimport sys\nprint(*sys.modules)").split())
    assert "metamae" in loaded and not loaded & HEAVY


@pytest.mark.slow
@pytest.mark.parametrize("code", CALLS.values(), ids=CALLS)
def test_it_takes_less_than_half_a_second(code):
    times = []
    for _ in range(5):
        began = time.perf_counter()
        run(code)
        times.append(time.perf_counter() - began)
    assert min(times) < 0.5
