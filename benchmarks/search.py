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
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jobs import DEFAULTS, Job, Score, run
from scipy import stats

CHOSEN_ON = ("digits", "gun_point", "urban_spectra", "segment", "pbmc68k", "peptides", "solubility")
"""Data sets on which defaults may be chosen; the others of the pocket benchmark say whether that
holds elsewhere."""


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
