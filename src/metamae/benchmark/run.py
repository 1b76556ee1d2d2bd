"""Compute the cells of a benchmark that are not there yet, and put the table together."""

import logging
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from metamae.benchmark.cell import BASELINES, Cell, Options, check_method
from metamae.benchmark.problem import Problem
from metamae.benchmark.store import Store
from metamae.benchmark.summary import Summary, summarise, to_markdown
from metamae.benchmark.work import Work, at_once, in_turn, threads_of_each
from metamae.core.checks import check_at_least
from metamae.core.version import VERSION
from metamae.errors import ConfigError

log = logging.getLogger("metamae")

QUICK: Mapping[str, Any] = {"methods": ("metamae", "mae"), "seeds": 1, "minutes": 0.1}
FULL: Mapping[str, Any] = {
    "methods": ("metamae", "mae", "masked_embedding", "data2vec", "emix", "shed", "capri"),
    "seeds": 3,
    "minutes": 0.5,
}
"""What a pocket benchmark holds that is over soon, and one that takes hours."""
CONTROL = "random_teacher"

Stage = Callable[[str, float], None]
"""Called with the cell that is computed and the share of the cells that are done."""


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark found.

    Attributes:
        summaries: One per evaluation and budget of labels.
        failed: Cell -> why it could not be computed.
        table: The text of `table.md`.
        folder: Where everything lies.
    """

    summaries: Sequence[Summary]
    failed: Mapping[str, str]
    table: str
    folder: Path


def bench(
    suite: str,
    problems: Sequence[Problem],
    out: str | Path,
    *,
    methods: Iterable[str],
    seeds: int = 3,
    options: Options | None = None,
    again: Iterable[str] = (),
    jobs: int = 1,
    observe: Stage | None = None,
) -> Benchmark:
    """Compute what is missing in a folder, and summarise all that is there.

    Args:
        suite: Name of the benchmark.
        problems: What methods are compared on.
        out: Folder of results; what it holds of the same benchmark is kept.
        methods: Registered names; baselines and the control are always among them.
        seeds: Seeds 0 to `seeds` - 1 are used.
        options: How cells are computed.
        again: Cells ("digits/metamae/0") that are computed anew, and no others.
        jobs: Cells that are computed at once, in processes that share the threads.
        observe: Called before each cell.

    Raises:
        ConfigError: If a name or a setting is refused.
        ArtifactError: If the folder holds something else, or cannot be written.
    """
    check_at_least("Bench.seeds", seeds, 1)
    check_at_least("Bench.jobs", jobs, 1)
    options = options or Options()
    names = dict.fromkeys([*BASELINES, CONTROL, *map(check_method, methods)])
    known = {problem.name: problem for problem in problems}
    wanted = [Cell.from_key(key) for key in again]
    for cell in wanted:
        if cell.problem not in known:
            raise ConfigError(
                f"Bench: cell {cell.key!r} must be of one of {', '.join(known)}; it is not."
            )
    store = Store(Path(out), {"suite": suite, "version": VERSION, **options.to_dict()})
    # By seed first, so that a benchmark that is stopped has all problems and methods once.
    every = [Cell(p, m, seed) for seed in range(seeds) for p in known for m in names]
    cells = wanted or [cell for cell in every if not store.has(cell)]
    failed: dict[str, str] = {}
    begun = 0

    def tell(cell: Cell, why: str | None) -> None:
        nonlocal begun
        if why is not None:
            failed[cell.key] = why
            log.warning("%s failed: %s", cell.key, why)
            return
        if observe is not None:
            observe(cell.key, begun / len(cells))
        begun += 1

    work = Work(known, store, options)
    if jobs == 1:
        in_turn(work, cells, tell)
    else:
        at_once(work, cells, tell, jobs)
    return _finish(suite, store, failed, jobs)


def _finish(suite: str, store: Store, failed: Mapping[str, str], jobs: int) -> Benchmark:
    rows = store.rows()
    if not rows:
        reason = next(iter(failed.values()), "nothing was asked for")
        raise ConfigError(f"Bench: no cell could be computed: {reason}")
    store.write_parquet(rows)
    summaries = summarise(rows)
    seeds = sorted({row["seed"] for row in rows})
    parts = [
        f"# {suite}",
        f"metamae {VERSION}, {datetime.now(UTC):%Y-%m-%d}, {_machine(jobs)}; seeds "
        f"{', '.join(map(str, seeds))}. Mean over the seeds ± half of its 95 % interval; with one "
        f"seed, of the bootstrap over test samples. Bold: the best mean. Ranks count problems that "
        f"every method has. A win or loss is a paired difference over seeds whose interval is "
        f"clear of 0; p is of Wilcoxon's signed-rank test over problems.",
    ]
    for found in summaries:
        labels = "all labels" if found.labels == "all" else "few labels"
        parts += [f"## {found.evaluation}, {labels}", to_markdown(found)]
    if failed:
        parts += ["## Not computed", *(f"- {key}: {why}" for key, why in failed.items())]
    table = "\n\n".join(parts) + "\n"
    store.write_text("table.md", table)
    return Benchmark(summaries, failed, table, store.folder)


def _machine(jobs: int) -> str:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, torch {torch.__version__}, cores {cores}, "
        f"cells at once {jobs}, threads of each {threads_of_each(jobs)}"
    )
