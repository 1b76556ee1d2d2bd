"""Training time until the linear probe is as good as after the paper's recipe.

    python benchmarks/time_to_accuracy.py                  all data sets, two hours on two cores
    python benchmarks/time_to_accuracy.py digits segment   some of them

The reference is MetaMAE written plainly (`plain.py`) at the paper's settings (AdamW at a constant
1e-4, no warm-up, arXiv:2310.16318) on a network of the same size, trained for some minutes of
processor time. The defaults of the package are trained for shares of that time, each run by itself
with its whole schedule. Scores are means over seeds, with all labels and with five per class; a
share is needed where it and all longer ones are as good as the reference. What is there is not
computed again. It needs `pip install "metamae[bench]"`.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jobs import DEFAULTS, UNTRAINED, Job, Score, run
from search import difference

DATA = (
    *("digits", "segment", "mnist", "pbmc68k", "peptides", "yeast"),
    *("emoji", "reviews", "solubility", "urban_spectra"),
)
"""The first six are one of each kind of data on which half a minute of training adds something
(docs/pocket.md) and which has some hundred test samples; the others are there so that nothing
rests on that choice."""
SHARES = (0.05, 0.1, 0.2, 0.4)
PAPER = (
    "plain=true,decoder=joint,inner_lr=0.5,inner_from=0.0,contrast_weight=0.1,optimizer=adamw,"
    "lr=0.0001,weight_decay=0.0001,warmup=0.0,schedule=constant,clip=1e9,group_by_length=false"
)
LABELS = ("all", "few")


def needed(shares: Mapping[float, float], goal: float) -> str:
    """Return the least share from which on scores are at least the goal."""
    found = "never"
    for share in sorted(shares, reverse=True):
        if shares[share] < goal:
            break
        found = f"{share:.0%}"
    return found


def table(scores: Mapping[Job, Score], data: Sequence[str], minutes: float) -> Iterator[str]:
    """Yield the lines of the table."""
    shown = ("reference", UNTRAINED, *(f"{share:.0%}" for share in SHARES))
    yield f"| data | {' | '.join(shown)} | share needed, all / few |"
    yield "|---|" + "---|" * (len(shown) + 1)
    forms = [(PAPER, minutes), (UNTRAINED, 0.0), *((DEFAULTS, s * minutes) for s in SHARES)]
    means = np.array([[mean(scores, name, *form) for form in forms] for name in data])
    for name, row in zip(data, means, strict=True):
        cells = " | ".join(f"{a:.3f} / {b:.3f}" for a, b in row)
        told = (needed(dict(zip(SHARES, row[2:, k], strict=True)), row[0, k]) for k in (0, 1))
        yield f"| {name} | {cells} | {' / '.join(told)} |"
    yield ""
    for k, labels in enumerate(LABELS):
        for share, gained in zip(SHARES, (means[:, 2:, k] - means[:, :1, k]).T, strict=True):
            yield f"{labels} labels, {share:.0%}: {difference(gained)} to the reference"


def mean(scores: Mapping[Job, Score], data: str, form: str, minutes: float) -> Sequence[float]:
    """Return the mean over seeds, with all labels and with few."""
    wanted = (data, form, minutes)
    found = [s for job, s in scores.items() if (job.data, job.form, job.minutes) == wanted]
    both: list[float] = np.mean(found, axis=0).tolist()
    return both


def main() -> None:
    """Compute what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="*", default=DATA)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=3.0, help="of the reference")
    parser.add_argument("--out", type=Path, default=Path("time_to_accuracy.jsonl"))
    asked = parser.parse_args()
    jobs = []
    for seed in range(asked.seeds):
        for name in asked.data:
            jobs += [Job(PAPER, name, seed, asked.minutes), Job(UNTRAINED, name, seed, 0.0)]
            jobs += [Job(DEFAULTS, name, seed, share * asked.minutes) for share in SHARES]
    scores = dict(run(jobs, asked.out))
    print("\n".join(table(scores, asked.data, asked.minutes)))


if __name__ == "__main__":
    main()
