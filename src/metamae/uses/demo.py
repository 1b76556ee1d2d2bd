"""Two real data sets, pretrained, evaluated and drawn within minutes."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.atomic import make_folder
from metamae.core.checks import check_at_least
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.evaluation.split import divide
from metamae.pages.picture import MOST_SAMPLES, draw_reconstruction
from metamae.pretraining.pretrain import pretrain
from metamae.uses.evaluate import Assessment, evaluate
from metamae.uses.report.report import report

# Optimiser steps, in proportion to the training samples: a number of steps, unlike a number of
# minutes, gives the same result on every run.
STEPS = {"digits": 2000, "breast cancer": 600}
Stage = Callable[[str, float], None]
"""Called with what is being done and the share of the whole that is done."""


@dataclass(frozen=True)
class Shown:
    """What the demo found on one data set.

    Attributes:
        name: Of the data set.
        assessment: Scores beside the baselines, and the verdict.
        picture: The file with originals and reconstructions.
        page: The report, with a map of the test samples.
        run: Folder of the run.
    """

    name: str
    assessment: Assessment
    picture: Path
    page: Path
    run: Path


def demo(
    out: str | Path = "metamae-demo",
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    overwrite: bool = False,
    observe: Stage | None = None,
) -> list[Shown]:
    """Pretrain MetaMAE on scikit-learn's digits and breast cancer data and judge it.

    Only the training part is learnt from; the test part is seen first by the evaluation.

    Args:
        out: Folder for runs and pictures.
        minutes: Time to train, both data sets together, instead of a number of steps.
        steps: Optimiser steps on each data set, instead of those of `STEPS`.
        seed: Of everything random.
        overwrite: Whether runs of an earlier demo may be removed.
        observe: Called now and then.

    Raises:
        ArtifactError: If the folder is taken or cannot be written.
    """
    check_at_least("Demo.seed", seed, 0)
    folder = Path(out)
    make_folder(folder)
    shown, before = [], 0.0
    for name, usual in STEPS.items():
        share = usual / sum(STEPS.values())
        budget: dict[str, Any] = {} if minutes is None else {"minutes": minutes * share}
        if steps is not None or minutes is None:
            budget["steps"] = usual if steps is None else steps
        watch = None if observe is None else _watch(observe, name, before, share)
        shown.append(_show(name, folder, budget, seed, overwrite, watch))
        before += share
        if observe is not None:
            observe(f"{name}: done", before)
    return shown


def load_records(name: str) -> Records:
    """Return "digits" or "breast cancer", which come with scikit-learn, with their labels "y"."""
    from sklearn import datasets

    if name == "digits":
        digits = datasets.load_digits()
        columns: dict[str, NDArray[Any]] = {"X": digits.images[:, None].astype(np.float32)}
    else:
        digits = datasets.load_breast_cancer()
        columns = {
            feature: digits.data[:, number] for number, feature in enumerate(digits.feature_names)
        }
    return Records({**columns, "y": digits.target}, name)


def _show(
    name: str,
    folder: Path,
    budget: dict[str, Any],
    seed: int,
    overwrite: bool,
    watch: Callable[..., None] | None,
) -> Shown:
    records = load_records(name)
    division = divide(records, "y", seed=seed)
    run = folder / name.replace(" ", "-")
    pretrained, outcome = pretrain(
        division.train,
        run,
        settings={**budget, "seed": seed},
        ignore=["y"],
        overwrite=overwrite,
        observe=watch,
    )
    if outcome.interrupted is not None:
        # Training only noted the signal; here nothing is left to do before obeying it.
        signal.raise_signal(signal.Signals[outcome.interrupted])
    # By its folder, where the findings are kept for the report.
    assessment = evaluate(
        run,
        division.train,
        "y",
        test=division.test,
        evaluations=["linear_probe"],
        seed=seed,
    )
    picture = folder / f"{run.name}.png"
    _draw(pretrained, division.test.subset(np.arange(64)), picture, name)
    page = report(pretrained, division.test, folder=run, label="y", seed=seed)
    return Shown(name, assessment, picture, page, run)


def _draw(pretrained: Pretrained, records: Records, path: Path, name: str) -> None:
    found = pretrained.reconstruct(records)
    after = None if found.after is None else found.after[: len(found.original)]
    draw_reconstruction(
        path,
        original=found.original,
        hidden=found.hidden,
        before=found.before,
        after=after,
        title=f"{name}: {MOST_SAMPLES} test samples that the encoder never saw",
    )


def _watch(observe: Stage, name: str, before: float, share: float) -> Callable[..., None]:
    def watch(progress: Any, done: float, line: dict[str, Any]) -> None:
        observe(f"{name}: step {progress.step}", before + share * done)

    return watch
