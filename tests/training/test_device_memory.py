"""Freed memory stays with the process while it trains, and only then."""

import subprocess
import sys

import pytest

SCRIPT = """
import torch
from metamae.training.device import freed_memory_kept

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20

def use():
    for _ in range(3):
        torch.ones(2**24)  # 64 MB
    return resident()

use()
with freed_memory_kept():
    print(use())
print(resident())
print(use())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux for its memory")
def test_freed_memory_is_kept_and_then_given_back():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    inside, after, again = (float(line) for line in done.stdout.split())
    assert inside > after + 50
    assert again < after + 20
