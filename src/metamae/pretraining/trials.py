"""Short runs that try settings out, and what can be said of each without labels."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.encoder.representations import Features, embeddings, raw_features
from metamae.errors import MetaMAEError, TrainingError
from metamae.pretraining.pretrain import num_held_out, pretrain, split, total_steps, untrained
from metamae.run.config import Choices
from metamae.training.settings import BUDGETS, DEFAULT_STEPS

RATIOS = (0.25, 0.4, 0.5, 0.6, 0.75, 0.85)
RATES = (0.3, 3.0)  # times the size's learning rate
HOLDOUT = 0.2  # share of the samples that trials are judged on
MOST_JUDGED = 512  # samples on either side of a judgement
COMPONENTS = 32  # of raw features, that embeddings are asked for
PROBE_STEPS = 8  # that tell how fast steps are
NO_BUDGET = dict.fromkeys(f"train.{name}" for name in BUDGETS)


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One choice of settings and what short runs made of it.

    Attributes:
        settings: Name, as `pretrain` takes it, -> value.
        rounds: Short runs that it was given.
        steps: Optimiser steps of all of them.
        seconds: Of training, in all of them.
        score: `kept` after the last; None if it failed.
        health: Other numbers without labels after the last, of samples held out: R² of the hidden
            part before and after the inner step, the effective rank, and the like.
        pruned: Whether others went on and it did not.
        failed: Why it could not be run; None if it could.
    """

    settings: Mapping[str, Any]
    rounds: int = 0
    steps: int = 0
    seconds: float = 0.0
    score: float | None = None
    health: Mapping[str, float] = field(default_factory=dict)
    pruned: bool = False
    failed: str | None = None


def kept(train: Features, test: Features, raw_train: Features, raw_test: Features) -> float:
    """How much of the samples their embeddings keep: R², 1 at best.

    Ridge regression from the embedding to the first principal components of the raw features,
    fitted on some samples and scored on others, as a share of those components' whole variance.

    Chosen among five numbers by `benchmarks/tuning.py` (five pocket data sets, nine settings
    each, one seed): after 40 steps its rank correlation with the linear probe after 120 is 0.60
    on average with all labels, and 0.15 with five per class. The effective rank over the width
    has -0.10 and 0.27, R² of the hidden part 0.06 and -0.12, the gain of the inner step 0.00
    and 0.06: it is at most 0.002 throughout. It favours settings that lose little of the sample,
    which an untrained encoder may not do either: it compares settings, not runs with none.

    Args:
        train: Embeddings to fit on, (S, D).
        test: Embeddings to score on.
        raw_train: Raw features of the first, (S, F).
        raw_test: Raw features of the others.
    """
    from sklearn.decomposition import PCA
    from sklearn.linear_model import RidgeCV

    most = max(1, min(COMPONENTS, raw_train.shape[1], len(train) // 4))
    pca = PCA(most, random_state=0).fit(raw_train)
    wanted, asked = pca.transform(raw_train), pca.transform(raw_test)
    mean, std = train.mean(axis=0), train.std(axis=0) + 1e-8
    ridge = RidgeCV(np.logspace(-2, 4, 13)).fit((train - mean) / std, wanted)
    found = ridge.predict((test - mean) / std).reshape(asked.shape)
    variance = np.square(asked - wanted.mean(axis=0)).sum()
    return float(1 - np.square(found - asked).sum() / max(variance, 1e-12))


def search_space(choices: Choices, default: Pretrained) -> dict[str, list[Any]]:
    """Return the settings to search over, by name, with their values; the default comes first.

    Args:
        choices: What the user asked for, which is left alone.
        default: The network that this leads to.
    """
    config, spec, given = default.config, default.schema.modality, choices.settings
    space: dict[str, list[Any]] = {}
    ratio = config.settings["masking"].get("ratio")
    if ratio is not None and "ratio" not in given["masking"]:
        space["masking.ratio"] = [ratio, *(other for other in RATIOS if other != ratio)]
    if "lr" not in given["train"]:
        lr = config.train.lr
        space["train.lr"] = [lr, *(float(f"{factor * lr:.3g}") for factor in RATES)]
    for name, values in spec.search_space().items():
        if name not in given["modality"]:
            space[f"modality.{name}"] = values
    return space


def override(settings: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Put settings, named by section ("train.lr"), in the place of those under either name.

    Args:
        settings: Settings by name, with or without their section.
        new: What takes their place; None takes a setting away.
    """
    bare = {name.rpartition(".")[2] for name in new}
    others = {k: v for k, v in settings.items() if k not in new and k not in bare}
    return {**others, **{k: v for k, v in new.items() if v is not None}}


def budget(name: str, amount: float) -> dict[str, Any]:
    """Return settings, for `override`, of a run of so many "steps" or "minutes"."""
    value = max(1, int(amount)) if name == "steps" else amount
    return {**NO_BUDGET, f"train.{name}": value}


class ShortRuns:
    """Trains for a short while and judges what came of it, always on the same samples.

    Args:
        records: All samples; a part of them is held out from every run.
        settings: Of the user, with the budget of the run proper, from which the size follows.
        ignore: Fields that are no input.
        device: "cpu", "cuda", or "auto".

    Attributes:
        default: The untrained network that the settings lead to.

    Raises:
        ConfigError: If a setting is refused.
        DataError: If the data cannot be learnt from.
    """

    def __init__(
        self, records: Records, settings: Mapping[str, Any], ignore: list[str], device: str
    ):
        self.records, self.ignore, self.device = records, ignore, device
        with quiet():
            self.default = untrained(records, settings=settings, ignore=ignore, device=device)
        config, spec = self.default.config, self.default.schema.modality
        learnt, held_out = split(records, num_held_out(len(records), HOLDOUT), config.seed)
        rng = np.random.default_rng([config.seed, 3])
        self.judged = [part.sample(MOST_JUDGED, rng) for part in (learnt, held_out)]
        pieces = len(spec.unfold(learnt.only(spec.columns))[0])
        fixed = {
            "size": config.size,
            # Of fewer samples than the run proper has, which must not make it another.
            "train.batch_size": min(int(config.train.batch_size), pieces),
            "train.holdout": HOLDOUT,
            "train.check_every": 10**9,
        }
        self.settings = override(settings, fixed)

    @cached_property
    def raw(self) -> list[Features]:
        """Raw features of the samples that runs are judged by: one reading for all runs."""
        spec = self.default.schema.modality
        return [raw_features(spec, part.only(spec.columns)) for part in self.judged]

    def steps(self) -> int:
        """Optimiser steps of the run proper, where its time is not limited instead."""
        config, spec = self.default.config, self.default.schema.modality
        learnt, _ = split(self.records, config.data["held_out"], config.seed)
        pieces, _ = spec.unfold(learnt.only(spec.columns))
        per_pass = max(1, len(pieces) // int(config.train.batch_size))
        return total_steps(config.train, per_pass) or DEFAULT_STEPS

    def speed(self) -> tuple[float, float]:
        """Measure minutes per step, and what a run takes besides its steps."""
        kept(*self.raw, *self.raw)  # what the first judgement reads and imports counts for no run
        began = time.monotonic()
        probe = self.run(Trial(settings={}), budget("steps", PROBE_STEPS), PROBE_STEPS)
        per_step = probe.seconds / 60 / PROBE_STEPS
        return per_step, max(0.0, (time.monotonic() - began) / 60 - probe.seconds / 60)

    def run(self, trial: Trial, length: Mapping[str, Any], most_steps: int = 0) -> Trial:
        """Give a trial one more run, from the beginning.

        Args:
            trial: With its settings.
            length: The budget of the run, from `budget`.
            most_steps: What a run that fails is taken to have used.

        Returns:
            The trial with what was found; if the run failed, with the reason.
        """
        settings = override(self.settings, {**trial.settings, **length})
        began = replace(trial, rounds=trial.rounds + 1)
        try:
            with quiet():
                trained, outcome = pretrain(
                    self.records, settings=settings, ignore=self.ignore, device=self.device
                )
                score = kept(*embeddings(trained, *self.inputs(trained)), *self.raw)
                if not np.isfinite(score):
                    raise TrainingError(f"Trial.score must be finite; got {score}.")
        except (MetaMAEError, torch.OutOfMemoryError) as error:
            reason = str(error).splitlines()[0]
            return replace(began, steps=trial.steps + most_steps, score=None, failed=reason)
        return replace(
            began,
            steps=trial.steps + outcome.progress.step,
            seconds=round(trial.seconds + outcome.progress.seconds, 3),
            score=score,
            health=outcome.health,
        )

    def inputs(self, trained: Pretrained) -> tuple[Records, Records]:
        """Return the samples to be judged by, as a run reads them."""
        a, b = (trained.records(part) for part in self.judged)
        return a, b


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the log free of what every one of many runs would say; warnings are let through."""
    logger = logging.getLogger("metamae")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
