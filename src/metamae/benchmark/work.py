"""Cells of a benchmark are computed one after the other, or in several processes at once."""

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from metamae.benchmark.cell import Cell, Options, compute
from metamae.benchmark.problem import Problem
from metamae.benchmark.published.base import Published
from metamae.benchmark.store import Store
from metamae.errors import MetaMAEError

Tell = Callable[[Cell, str | None], None]
"""Called with a cell when it begins, and again with the reason if it could not be computed."""


@dataclass(frozen=True)
class Work:
    """Where cells come from and go to.

    Attributes:
        problems: By name.
        store: Takes the results.
        options: How cells are computed.
    """

    problems: Mapping[str, Problem]
    store: Store
    options: Options


def in_turn(work: Work, cells: Sequence[Cell], tell: Tell) -> None:
    """Compute and store cells. One that fails does not cost the results of the others.

    Cells of one problem should follow each other: its samples are read once, and kept no longer.
    """
    read: tuple[str, Published] | None = None
    for cell in cells:
        tell(cell, None)
        try:
            problem = work.problems[cell.problem]
            if read is None or read[0] != problem.name:
                read = None
                read = problem.name, problem.load()
            work.store.put(cell, compute(cell, problem.modality, read[1], work.options))
        except MetaMAEError as error:
            tell(cell, str(error))


def at_once(work: Work, cells: Sequence[Cell], tell: Tell, jobs: int) -> None:
    """Do the same in processes that share the threads of this one.

    Each takes the cells of one problem and seed, and then others. All are ended when this function
    is left, by an exception too.

    Args:
        work: Its problems are sent to other processes, so that `Problem.load` cannot be a lambda.
        cells: What to compute.
        tell: Told of the cells of all processes.
        jobs: Processes at once.
    """
    threads = threads_of_each(jobs)
    groups = deque(list(g) for _, g in groupby(cells, key=lambda cell: (cell.seed, cell.problem)))
    running: dict[Connection, _Process] = {}
    try:
        while groups or running:
            while groups and len(running) < jobs:
                process = _Process(work, groups.popleft(), threads)
                running[process.heard] = process
            for heard in wait(list(running)):
                assert isinstance(heard, Connection)
                try:
                    cell, why = heard.recv()
                except (EOFError, OSError):  # the latter if it was ended in the middle of a word
                    running.pop(heard).end(tell)
                    continue
                running[heard].reached(cell)
                tell(cell, why)
    finally:
        for process in running.values():
            process.process.kill()
            process.process.join()


def threads_of_each(jobs: int) -> int:
    """Threads that a process may use where several share those of this one."""
    import torch

    return max(1, torch.get_num_threads() // jobs)


class _Process:
    """A process that computes cells, and what is known of it."""

    def __init__(self, work: Work, cells: Sequence[Cell], threads: int):
        context = multiprocessing.get_context("spawn")
        self.heard, told = context.Pipe(duplex=False)
        self.left = deque(cells)
        self.process: SpawnProcess = context.Process(target=_run, args=(work, cells, threads, told))
        self.process.start()
        told.close()  # this side's copy, so that the end of the process is heard

    def reached(self, cell: Cell) -> None:
        """Forget the cells before the one that it is at."""
        while self.left and self.left[0] != cell:
            self.left.popleft()

    def end(self, tell: Tell) -> None:
        """Tell of the cells that a process took along which did not end well."""
        self.process.join()
        if self.process.exitcode:
            for cell in self.left:
                tell(cell, f"its process ended with status {self.process.exitcode}")


def _run(work: Work, cells: Sequence[Cell], threads: int, told: Connection) -> None:
    import torch

    torch.set_num_threads(threads)
    # If whoever started this has been killed, there is nobody left to tell or to compute for.
    with contextlib.suppress(BrokenPipeError):
        in_turn(work, cells, lambda cell, why: told.send((cell, why)))
