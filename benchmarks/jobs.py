"""Training runs that are scored by a linear probe, each on one core and in its processor time.

What was computed before is not computed again. It needs `pip install "metamae[bench]"`.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from multiprocessing import Queue, get_context
from pathlib import Path
from types import SimpleNamespace

DRAWS = 10  # of five labels per class
DEFAULTS = "defaults"
UNTRAINED = "untrained"

Score = tuple[float, float]
"""With all labels and with few, the higher the better."""


@dataclass(frozen=True)
class Job:
    """One training run.

    Attributes:
        form: Settings of `metamae pretrain` with commas between, `DEFAULTS` or `UNTRAINED`;
            "plain=true" among them is MetaMAE written plainly.
        data: Of the pocket benchmark.
        seed: Of everything.
        minutes: Of processor time.
    """

    form: str
    data: str
    seed: int
    minutes: float

    @property
    def settings(self) -> dict[str, str]:
        """What the form changes; `plain` is none of `metamae pretrain`."""
        if self.form in (DEFAULTS, UNTRAINED):
            return {}
        return dict(pair.split("=", 1) for pair in self.form.split(","))


def own_core(cores: "Queue[int]") -> None:
    """Give this process a core that no other one has."""
    import torch

    from metamae.training import loop

    os.sched_setaffinity(0, {cores.get()})
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    # A budget of minutes is one of this process's: other work on the machine costs a form nothing.
    setattr(loop, "time", SimpleNamespace(monotonic=time.process_time))  # noqa: B010


def score(job: Job) -> tuple[Score, int]:
    """Train and probe; also return the steps that there was time for."""
    from plain import plainly

    from metamae.benchmark.cell import Cell, Options, compute
    from metamae.benchmark.problem import pocket_problems
    from metamae.run.config import parse_assignments

    (problem,) = pocket_problems([job.data])
    settings = parse_assignments([f"{k}={v}" for k, v in job.settings.items()])
    plain = settings.pop("plain", False)
    method = UNTRAINED if job.form == UNTRAINED else str(settings.pop("method", "metamae"))
    length = {} if method == UNTRAINED else {"minutes": job.minutes}
    options = Options(
        settings={"size": "tiny", "check_every": 10**9, **length, **settings}, draws=DRAWS
    )
    cell = Cell(job.data, method, job.seed)
    with plainly() if plain else nullcontext():
        rows = compute(cell, problem.modality, problem.load(), options)
    found = {
        "all" if row["labels"] == "all" else "few": (1 if row["higher_is_better"] else -1)
        * row["score"]
        for row in rows
        if row["evaluation"] == "linear_probe"
    }
    return (found["all"], found["few"]), rows[0]["steps"]


def run(jobs: Sequence[Job], path: Path) -> Iterator[tuple[Job, Score]]:
    """Yield the scores of all jobs, those first that were computed before."""
    there = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    known = {Job(**line["job"]): tuple(line["score"]) for line in there}
    yield from ((job, known[job]) for job in jobs if job in known)
    missing = [job for job in jobs if job not in known]
    spawn = get_context("spawn")
    cores = spawn.Queue()
    mine = sorted(os.sched_getaffinity(0))
    for core in mine:
        cores.put(core)
    with ProcessPoolExecutor(len(mine), spawn, own_core, (cores,)) as pool:
        running = {pool.submit(score, job): job for job in missing}
        for number, done in enumerate(as_completed(running), 1):
            job, (found, steps) = running[done], done.result()
            with path.open("a") as file:
                line = {"job": asdict(job), "score": found, "steps": steps}
                file.write(json.dumps(line) + "\n")
            print(
                f"{number}/{len(missing)} {job.data} {job.form} {job.seed}: {found[0]:.3f} / "
                f"{found[1]:.3f}, {steps} steps",
                flush=True,
            )
            yield job, found
