"""`metamae bench`."""

from pathlib import Path
from typing import Any

from metamae.cli.console import Flag, Names, Settings, chosen, print_line, progress_bar, show_log


def bench(  # noqa: PLR0913  # one argument per option of the command
    suite: str = "pocket",
    *,
    out: Path = Path("metamae-bench"),
    data: Path | None = None,
    only: Names = None,
    method: Names = None,
    seeds: int | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    size: str | None = None,
    quick: Flag = False,
    cell: Names = None,
    protocol: str = "metamae",
    jobs: int = 1,
    set_: Settings = None,
    device: str = "auto",
) -> None:
    """Compare methods, baselines and controls on many data sets; go on where it was stopped.

    Args:
        suite: pocket, or the path of a recipe (published/pamap2.toml).
        out: Folder of results: cells, results.parquet, table.md.
        data: Folder with the files of a recipe's data set; transfer sets lie in folders of their
            names within it or next to it.
        only: A data set of the pocket benchmark; may be repeated; all if not given.
        method: A method; may be repeated. Baselines and the control are always there.
        seeds: How many seeds.
        minutes: Time to train in each cell.
        steps: Optimiser steps of each cell, instead of minutes.
        size: tiny, small, base, paper, or auto.
        quick: One seed, two methods, six seconds of training each; without the data sets whose
            baselines take long, unless --only names them.
        cell: A cell such as digits/metamae/0 that is computed anew, and no other; may be repeated.
        protocol: metamae (linear probe and k-NN) or dabs (the published probe of DABS).
        jobs: Cells that are computed at once, in processes that share the threads.
        set_: Any setting of `metamae pretrain` as key=value; may be repeated.
        device: cpu, cuda, or auto.
    """
    show_log()
    import logging

    from metamae.benchmark.cell import PROTOCOLS, Options
    from metamae.benchmark.run import FULL, QUICK
    from metamae.benchmark.run import bench as run
    from metamae.benchmark.suites import open_suite
    from metamae.core.checks import check_one_of
    from metamae.training.settings import BUDGETS

    check_one_of("Bench.protocol", protocol, list(PROTOCOLS))
    usual: dict[str, Any] = dict(QUICK if quick else FULL)
    opened = open_suite(suite, data=data, only=only, quick=quick)
    settings = chosen(set_, minutes=minutes, steps=steps, size=size)
    own = dict(opened.settings)
    if set(BUDGETS) & set(settings):
        own = {k: v for k, v in own.items() if k not in BUDGETS}
    elif not own:
        settings["minutes"] = usual["minutes"]
    # The lines of each run would bury what is said about cells.
    logging.getLogger("metamae").setLevel(logging.WARNING)
    with progress_bar("bench") as bar:

        def observe(key: str, done: float) -> None:
            bar.update(bar.task_ids[0], completed=done, note=key)

        found = run(
            opened.name,
            opened.problems,
            out,
            methods=method or usual["methods"],
            seeds=usual["seeds"] if seeds is None else seeds,
            options=Options(settings={**own, **settings}, protocol=protocol, device=device),
            again=cell or (),
            jobs=jobs,
            observe=observe,
        )
    print_line(found.table)
