"""Training time until the linear probe is as good as after the paper's recipe.

    python benchmarks/time_to_accuracy.py                  all data sets, about half an hour
    python benchmarks/time_to_accuracy.py digits segment   some of them

The reference is MetaMAE written plainly (`plain.py`) at the paper's settings (AdamW at a constant
1e-4, no warm-up, arXiv:2310.16318) on a network of the same size, trained for `MINUTES`. The
defaults of the package are then trained for ever larger shares of that time, each run by itself
with its whole schedule, until their probe on test samples reaches the reference's: with all
labels, and with five per class. Each run is a process of its own on one thread.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from plain import PlainMetaMAE

from metamae.evaluation.base import judge
from metamae.evaluation.linear_probe import LinearProbe
from metamae.methods.metamae import MetaMAE
from metamae.pocket import POCKET
from metamae.representations import embeddings
from metamae.trial import divide
from metamae.verbs.pretrain import pretrain, untrained

DATA = ("digits", "segment", "gun_point", "breast_cancer", "penguins")
MINUTES = 2.0
SHARES = (0.025, 0.05, 0.1, 0.2, 0.5, 1.0)
SEED = 0
SIZE = "tiny"
PAPER: Mapping[str, Any] = {
    **{"method": "metamae", "decoder": "joint", "inner_lr": 0.5, "inner_from": 0.0},
    **{"contrast_weight": 0.1, "optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-4},
    **{"warmup": 0.0, "schedule": "constant", "clip": 1e9},
}


def score(name: str, form: str, minutes: float) -> dict[str, float]:
    """Train in one form and probe the embeddings of test samples."""
    torch.set_num_threads(1)
    if form == "plain":
        for step in ("losses", "adapt"):
            setattr(MetaMAE, step, getattr(PlainMetaMAE, step))
    challenge = POCKET.build(name).load()
    trial = divide(
        challenge.records.sample(2500, np.random.default_rng(SEED)),
        challenge.label,
        test=challenge.test,
        group=challenge.group,
        task=challenge.task,
        seed=SEED,
    )
    settings = {**challenge.settings, "size": SIZE, "seed": SEED}
    ignore = [field for field in challenge.not_input if field in trial.train.columns]
    if form == "plain":
        settings |= PAPER
    if minutes:
        length = {"minutes": minutes, "check_every": 10**9}
        found, outcome = pretrain(trial.train, settings=settings | length, ignore=ignore)
        steps = outcome.progress.step
    else:
        found, steps = untrained(trial.train, settings=settings, ignore=ignore), 0
    judged = judge(
        LinearProbe(),
        {"encoder": embeddings(found, trial.train, trial.test)},
        trial.y_train,
        trial.y_test,
        trial.task,
        seed=SEED,
        groups_train=trial.groups_train,
        groups_test=trial.groups_test,
    )
    scores = {"all" if r.labels == "all" else "few": float(r.score) for r in judged.results}
    return {**scores, "steps": steps}


def run(name: str, form: str, minutes: float) -> dict[str, float]:
    """Do `score` in a process of its own."""
    command = [sys.executable, __file__, "--one", name, form, str(minutes)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(name: str) -> None:
    """Print how much of the reference's time the defaults need on a data set."""
    goal = run(name, "plain", MINUTES)
    start = run(name, "ours", 0)
    print(
        f"{name:14} reference {MINUTES:g} min, {goal['steps']} steps: {goal['all']:.3f} / "
        f"{goal['few']:.3f}; untrained {start['all']:.3f} / {start['few']:.3f}",
        flush=True,
    )
    open_ = {key for key in ("all", "few") if start[key] < goal[key]}
    reached = {key: "0" for key in ("all", "few") if key not in open_}
    for share in SHARES:
        if not open_:
            break
        found = run(name, "ours", share * MINUTES)
        print(
            f"    {share:5.1%} of it, {found['steps']} steps: {found['all']:.3f} / "
            f"{found['few']:.3f}",
            flush=True,
        )
        for key in [key for key in open_ if found[key] >= goal[key]]:
            reached[key] = f"{share:.1%}"
            open_.remove(key)
    told = (f"{key} labels {reached.get(key, 'not reached')}" for key in ("all", "few"))
    print(f"    share of the time: {', '.join(told)}", flush=True)


def main() -> None:
    """Measure what the command line names."""
    if sys.argv[1:2] == ["--one"]:
        name, form, minutes = sys.argv[2:]
        print(json.dumps(score(name, form, float(minutes))))
        return
    for name in sys.argv[1:] or DATA:
        compare(name)


if __name__ == "__main__":
    main()
