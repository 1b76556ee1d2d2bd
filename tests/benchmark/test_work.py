"""Cells in processes at once: the same results as in turn, and nothing left running."""

import json
import multiprocessing
import signal
import sys
import time
from functools import partial

import pytest

from command import children, start
from metamae.benchmark.cell import BASELINES, Options
from metamae.benchmark.problem import Problem
from metamae.benchmark.run import CONTROL, bench
from metamae.errors import ConfigError

from .made import ends, not_installed, published

OPTIONS = Options(
    settings={
        **{"width": 16, "depth": 1, "heads": 2, "steps": 2},
        **{"decoder_width": 8, "decoder_depth": 1, "decoder_heads": 2},
    },
    draws=2,
)
GOOD = [Problem(name, "series", partial(published, name)) for name in ("one", "two")]
METHODS = [*BASELINES, CONTROL]


def run(folder, problems=GOOD, **more):
    return bench("test", problems, folder, methods=[], seeds=1, options=OPTIONS, **more)


def rows(folder):
    paths = sorted(folder.glob("cells/*/*"))
    return [{**row, "seconds": 0} for path in paths for row in json.loads(path.read_text())]


def test_processes_find_what_one_finds(tmp_path):
    begun = []
    at_once = run(tmp_path / "two", jobs=2, observe=lambda key, done: begun.append((key, done)))
    in_turn = run(tmp_path / "one")
    found, expected = rows(tmp_path / "two"), rows(tmp_path / "one")
    assert len(found) == len(expected) == 2 * len(METHODS) * 4
    for a, b in zip(found, expected, strict=True):
        assert a.keys() == b.keys()
        numbers = [key for key, value in b.items() if isinstance(value, float)]
        assert {k: a[k] for k in a if k not in numbers} == {k: b[k] for k in b if k not in numbers}
        assert [a[k] for k in numbers] == pytest.approx([b[k] for k in numbers], abs=1e-6)
    assert sorted(key for key, _ in begun) == sorted(
        f"{name}/{method}/0" for name in ("one", "two") for method in METHODS
    )
    assert [done for _, done in begun] == [n / len(begun) for n in range(len(begun))]
    assert not at_once.failed and not in_turn.failed
    assert "cells at once 2" in at_once.table and "cells at once 1" in in_turn.table


def test_a_process_that_ends_costs_only_its_own_cells(tmp_path):
    problems = [Problem("ends", "x", ends), Problem("absent", "x", not_installed), GOOD[0]]
    found = run(tmp_path, problems, jobs=2)
    ended = {key: why for key, why in found.failed.items() if key.startswith("ends/")}
    assert ended == {f"ends/{m}/0": "its process ended with status 9" for m in METHODS}
    absent = {key: why for key, why in found.failed.items() if key.startswith("absent/")}
    assert len(absent) == len(METHODS) and all("must be installed" in w for w in absent.values())
    assert len(found.failed) == 2 * len(METHODS)
    assert {row["problem"] for row in rows(tmp_path)} == {"one"}


def test_what_stops_a_benchmark_stops_its_processes(tmp_path):
    def stop(key, done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", jobs=2, observe=stop)
    assert not multiprocessing.active_children()


@pytest.mark.skipif(sys.platform != "linux", reason="what runs is read from /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_ended_leaves_nothing_running(tmp_path, number):
    code = "import sys; from metamae.cli import main; main(sys.argv[1:])"
    asked = ("--only", "digits", "--jobs", 2, "--minutes", 0.05, "--seeds", 2)
    process = start(code, "bench", "pocket", "--out", tmp_path / "out", *asked)
    try:
        running = []
        while process.poll() is None and not list(tmp_path.glob("out/cells/*/*")):
            time.sleep(0.1)
            running = children(process.pid)
        process.send_signal(number)
        _, said = process.communicate(timeout=120)  # the pipe is open as long as one of them is
    finally:
        process.kill()
        process.communicate()
    assert len(running) >= 2 and process.returncode == {15: 143, 9: -9}[number]
    assert "Traceback" not in said


def test_jobs_are_at_least_one(tmp_path):
    with pytest.raises(ConfigError, match=r"Bench\.jobs must be .* at least 1"):
        run(tmp_path, jobs=0)
