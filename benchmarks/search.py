"""How changed settings score on the pocket benchmark's data, paired with the defaults.

    python benchmarks/search.py lr=0.002 ratio=0.6 method=mae
    python benchmarks/search.py inner_from=0.5,inner_lr=5 --data mnist yeast --seeds 3

Each argument is a form: settings of `metamae pretrain` with commas between. Every form, and the
defaults first, learns from every data set with every seed for as many minutes of processor time,
size `tiny`, one process on one core each. A linear probe on test samples is then scored with all
labels and with five per class. The table has a form's mean difference to the defaults, over data
sets, and half of its 95 % interval (Student's t over data sets of their means over seeds). What is
there is not computed again. It needs `pip install "metamae[bench]"`.
"""

import argparse
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import Queue, get_context
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from scipy import stats

CHOSEN_ON = ("digits", "gun_point", "urban_spectra", "segment", "pbmc68k", "peptides", "solubility")
"""Data sets on which defaults may be chosen; the others of the pocket benchmark say whether that
holds elsewhere."""
DRAWS = 10  # of five labels per class
DEFAULTS = "defaults"

Score = tuple[float, float]
"""With all labels and with few, the higher the better."""


@dataclass(frozen=True)
class Job:
    """One training run."""

    form: str
    data: str
    seed: int
    minutes: float

    @property
    def settings(self) -> dict[str, str]:
        """What the form changes."""
        if self.form == DEFAULTS:
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
    from metamae.bench.cell import Cell, Options, compute, fitting
    from metamae.bench.problem import pocket_problems
    from metamae.config import parse_assignments

    (problem,) = pocket_problems([job.data])
    settings = parse_assignments([f"{k}={v}" for k, v in job.settings.items()])
    method = str(settings.pop("method", "metamae"))
    length = {"minutes": job.minutes, "size": "tiny", "check_every": 10**9}
    options = Options(settings=fitting(length | settings, method), draws=DRAWS)
    rows = compute(Cell(job.data, method, job.seed), problem.modality, problem.load(), options)
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


def table(scores: Mapping[Job, Score], forms: Sequence[str], data: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the table."""
    yield f"| form | {' | '.join(data)} | difference, all / few |"
    yield "|---|" + "---|" * len(data) + "---|"
    means = {
        (form, name): np.mean(
            [s for job, s in scores.items() if (job.form, job.data) == (form, name)], axis=0
        )
        for form in forms
        for name in data
    }
    for form in forms:
        cells = (f"{a:.3f} / {b:.3f}" for a, b in (means[form, name] for name in data))
        gained = np.array([means[form, name] - means[DEFAULTS, name] for name in data])
        told = (difference(gained[:, k]) for k in (0, 1))
        yield f"| {form} | {' | '.join(cells)} | {' / '.join(told)} |"


def difference(values: np.ndarray) -> str:
    """Return a mean and half of its interval."""
    if len(values) < 2 or not values.any():
        return f"{values.mean():+.3f}"
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{values.mean():+.3f} ±{half:.3f}"


def main() -> None:
    """Compute what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("forms", nargs="*", help="settings with commas between")
    parser.add_argument("--data", nargs="+", default=CHOSEN_ON)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--out", type=Path, default=Path("search.jsonl"))
    asked = parser.parse_args()
    forms = [DEFAULTS, *(form for form in asked.forms if form != DEFAULTS)]
    # Forms of one data set and seed follow each other: a machine that slows down slows all.
    jobs = [
        Job(form, name, seed, asked.minutes)
        for seed in range(asked.seeds)
        for name in asked.data
        for form in forms
    ]
    scores = dict(run(jobs, asked.out))
    print("\n".join(table(scores, forms, asked.data)))


if __name__ == "__main__":
    main()
