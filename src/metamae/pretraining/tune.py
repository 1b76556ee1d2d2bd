"""Choose settings without labels, by short runs before the run proper.

Source: Jamieson and Talwalkar, AISTATS 2016, arXiv:1502.07943 (successive halving). Optuna's TPE
sampler proposes the settings.
Differs: Optuna's pruner decides about each trial as it comes, always lets the first one through,
and keeps no budget. Here the trials of a round are compared with each other, the best third goes
on with three times the length, and what all of it costs is known beforehand. Each length is a
run of its own with a whole schedule: a learning rate is not judged before it has fallen.
"""

import itertools
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from metamae.core.atomic import write_text_atomically
from metamae.core.checks import check_at_least, check_between
from metamae.core.extras import require
from metamae.data.bad_samples import Aside
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.errors import TrainingError
from metamae.pretraining.pretrain import FEWEST_TO_HOLD_OUT, pretrain, search_limits
from metamae.pretraining.trials import NO_BUDGET, ShortRuns, Trial, budget, override, search_space
from metamae.run.config import Choices, choose
from metamae.run.folder import TUNING, claim
from metamae.run.screening import vet
from metamae.schema.file import read_schema_file
from metamae.training.loop import Observer, Outcome
from metamae.training.settings import TrainSettings

log = logging.getLogger("metamae")

FEWEST_STEPS = 50  # of a run; fewer say little
HALVING = 3  # one trial of so many goes on, with so many times the length
RANDOM_FIRST = 4  # trials before the sampler goes by what it has seen
ASKED_AGAIN = 100  # times, where the sampler proposes what has been tried

Stage = Callable[[str, float], None]
"""Called before each short run with a word about it and the share of them that is done."""


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What tuning decided.

    Attributes:
        settings: For `pretrain`: those of the user, the chosen ones, and what is left of the
            budget.
        chosen: Those that were searched over, with the value chosen for each.
        trials: All that were tried, the default first; empty if nothing was to be chosen.
        used: What the trials took of the budget, e.g. {"steps": 450}.
    """

    settings: Mapping[str, Any]
    chosen: Mapping[str, Any]
    trials: Sequence[Trial]
    used: Mapping[str, float]

    def write(self, folder: Path) -> None:
        """Write what was tried as `tuning.json` into the folder of the run.

        Raises:
            ArtifactError: If it cannot be written.
        """
        document = {
            "chosen": dict(self.chosen),
            "used": dict(self.used),
            "trials": [asdict(trial) for trial in self.trials],
        }
        write_text_atomically(folder / TUNING, json.dumps(document, indent=1) + "\n")


def pretrain_tuned(
    data: Any,
    out: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    resume: bool = False,
    overwrite: bool = False,
    tensorboard: bool = False,
    observe: Observer | None = None,
    stage: Stage | None = None,
    **options: Any,
) -> tuple[Pretrained, Outcome]:
    """Choose settings by short runs, then pretrain with them.

    Args:
        data: Whatever `pretrain` takes.
        out: Folder for the run, or None; what was tried is written into it as `tuning.json`.
        settings: As for `pretrain`; its budget is that of the trials and the run together.
        resume: Go on with the run in `out` if there is one: with its settings, nothing is tried.
        overwrite: Remove the run in `out` if there is one.
        tensorboard: Write TensorBoard files of the run too.
        observe: Called after each step of the run.
        stage: Called before each short run.
        options: What `pretrain` and `tune` share: schema, ignore, field, skip_bad, device.

    Raises:
        ConfigError: If Optuna is missing, or as `pretrain` does.
        DataError: As `pretrain` does.
        ArtifactError: As `pretrain` does.
        TrainingError: As `pretrain` does.
    """
    folder = None if out is None else Path(out)
    # They are gone through twice.
    options["ignore"] = list(options.get("ignore", ()))
    running = {**options, "overwrite": overwrite, "resume": resume, "tensorboard": tensorboard}
    if resume and (folder is None or overwrite):
        return pretrain(data, folder, settings=settings, **running)  # which says what is wrong
    # Before the trials: a folder that is taken would waste them.
    if folder is not None and claim(folder, overwrite=overwrite, resume=resume):
        log.info("nothing is tuned: the run in %s goes on with its own settings", folder)
        # Its budget is what the trials left of the one that is asked for.
        own = override(settings or {}, NO_BUDGET)
        return pretrain(data, folder, settings=own, observe=observe, **running)
    tuned = tune(data, settings=settings, stage=stage, **options)
    written = not tuned.trials

    def noted(progress: Any, done: float, line: dict[str, Any]) -> None:
        nonlocal written
        # After the first step, for by then the folder is there and this run's.
        if folder is not None and not written:
            tuned.write(folder)
            written = True
        if observe is not None:
            observe(progress, done, line)

    return pretrain(data, folder, settings=tuned.settings, observe=noted, **running)


def tune(
    data: Any,
    *,
    settings: Mapping[str, Any] | None = None,
    schema: str | Path | None = None,
    ignore: Iterable[str] = (),
    field: str | None = None,
    skip_bad: int = 0,
    device: str = "auto",
    trials: int = 9,
    share: float = 0.25,
    stage: Stage | None = None,
) -> Tuned:
    """Choose mask ratio, learning rate and cell by short runs that need no labels.

    What the user has set is left as it is. Where the budget is in steps or epochs, the same seed
    leads to the same choice.

    Args:
        data: Whatever `pretrain` takes.
        settings: As for `pretrain`.
        schema: A file that `inspect` wrote.
        ignore: Fields that are no input.
        field: The one field that is input.
        skip_bad: How many bad samples may be set aside.
        device: "cpu", "cuda", or "auto".
        trials: Choices to try at most; fewer where the budget is too small for so many.
        share: Of the budget for all trials together, strictly between 0 and 1.
        stage: Called before each short run.

    Raises:
        ConfigError: If Optuna is missing, or a setting is unknown or refused.
        DataError: If the data cannot be read or learnt from.
        TrainingError: If every trial failed.
    """
    check_at_least("Tune.trials", trials, 2)
    check_between("Tune.share", share, 0, 1)
    optuna, began = require("optuna", "tune", "Tuning"), time.monotonic()
    declared = None if schema is None else read_schema_file(schema)
    own = dict(settings or {})
    given = {**(declared.settings() if declared else {}), **own}
    choices = choose(Choices(), given)
    records = choices.read(data, field=field, skip_bad=skip_bad)
    left_out = declared.ignored(records) if declared else list(ignore)
    minutes = TrainSettings(**choices.settings["train"]).minutes
    if minutes is not None:
        # A size follows from the time of the run proper, and must be the same in the trials.
        given = override(given, budget("minutes", (1 - share) * minutes))
    short = ShortRuns(_sound(records, choices, left_out, skip_bad), given, left_out, device)
    space = search_space(choices, short.default)
    allowed = _Allowance("steps", short.steps(), share, began)
    if minutes is not None:
        allowed = _Allowance("minutes", minutes, share, began)
    plan = _plan(allowed, trials, space, short)
    if plan is None:
        return Tuned(settings=own, chosen={}, trials=(), used={allowed.unit: 0})
    proposals = _Proposals(optuna, space, short.default.config.seed)
    found = _halve(plan, allowed, proposals, short, stage)
    best = _best(found)
    used = allowed.used(found)
    rest = budget(allowed.unit, max(allowed.total - used, (1 - share) * allowed.total))
    left = rest[f"train.{allowed.unit}"]
    log.info("tuned: %s; %.4g %s left for the run", described(best.settings), left, allowed.unit)
    fixed = {"size": short.default.config.size, **best.settings, **rest}
    return Tuned(
        settings=override(own, fixed),
        chosen=best.settings,
        trials=tuple(found),
        used={allowed.unit: used},
    )


def described(settings: Mapping[str, Any]) -> str:
    """Put settings into words for the log: "ratio 0.5, lr 0.002, cell [4, 4]"."""
    return ", ".join(f"{name.rpartition('.')[2]} {value}" for name, value in settings.items())


def _sound(records: Records, choices: Choices, ignore: list[str], skip_bad: int) -> Records:
    """Leave out the bad samples, once for all short runs; the run proper will name them."""
    aside = Aside(skip_bad, list(records.aside))
    limits = search_limits(TrainSettings(**choices.settings["train"]))
    sound, _ = vet(records, lambda some: choices.infer(some, ignore), aside, **limits)
    return replace(sound, aside=())


@dataclass(frozen=True)
class _Allowance:
    """What may be used: `share` of `total` "steps" or "minutes", which `began` at some moment."""

    unit: str
    total: float
    share: float
    began: float

    def used(self, trials: Iterable[Trial]) -> float:
        if self.unit == "steps":
            return sum(trial.steps for trial in trials)
        return (time.monotonic() - self.began) / 60

    def over(self, trials: Iterable[Trial]) -> bool:
        return self.used(trials) >= self.share * self.total


@dataclass(frozen=True)
class _Plan:
    """How many trials each round has, and the length of the first round's runs."""

    counts: Sequence[int]
    length: float


def _plan(
    allowed: _Allowance, trials: int, space: Mapping[str, Sequence[Any]], short: ShortRuns
) -> _Plan | None:
    """Plan as many trials as can be given runs that are long enough; None if there is no two."""
    if not space:
        log.warning("nothing is tuned: every setting that could be has been given")
        return None
    if len(short.records) < FEWEST_TO_HOLD_OUT:
        log.warning("nothing is tuned: fewer than %d samples", FEWEST_TO_HOLD_OUT)
        return None
    per_step, besides = (1.0, 0.0) if allowed.unit == "steps" else short.speed()
    amount = allowed.share * allowed.total
    if allowed.unit == "minutes":
        amount -= allowed.used(())
    for most in range(min(trials, math.prod(map(len, space.values()))), 1, -1):
        counts = _rounds(most)
        units = sum(count * HALVING**number for number, count in enumerate(counts))
        length = (amount - besides * sum(counts)) / units
        if length >= FEWEST_STEPS * per_step:
            return _Plan(counts, length)
    log.warning(
        "nothing is tuned: %.0f %% of %.4g %s are not two runs of %d steps",
        *(100 * allowed.share, allowed.total, allowed.unit, FEWEST_STEPS),
    )
    return None


def _rounds(trials: int) -> list[int]:
    """How many trials each round has: 9 are followed by 3, of which one is chosen."""
    counts = [trials]
    while counts[-1] > HALVING:
        counts.append(math.ceil(counts[-1] / HALVING))
    return counts


def _halve(
    plan: _Plan,
    allowed: _Allowance,
    proposals: "_Proposals",
    short: ShortRuns,
    stage: Stage | None,
) -> list[Trial]:
    """Run the rounds, each with the best of the one before; return all trials in their order."""
    trials: list[Trial] = []
    done, runs = 0, sum(plan.counts)
    for number, count in enumerate(plan.counts):
        length = plan.length * HALVING**number
        order: Sequence[int] = range(count)
        if number:
            order = _ranked(trials)[:count]
            trials = [
                replace(trial, pruned=trial.failed is None and place not in order)
                for place, trial in enumerate(trials)
            ]
        for place in order:
            if trials and allowed.over(trials):
                log.info("no time is left for more trials")
                return trials
            if number == 0:
                trials.append(Trial(settings=proposals.next()))
            name = f"trial {place + 1}, {described(trials[place].settings)}"
            if stage is not None:
                stage(name, done / runs)
            most_steps = int(length) if allowed.unit == "steps" else 0
            trial = short.run(trials[place], budget(allowed.unit, length), most_steps)
            trials[place], done = trial, done + 1
            if number == 0:
                proposals.tell(trial.score)
            if trial.failed is not None:
                log.info("%s: failed: %s", name, trial.failed)
            else:
                log.info("%s: keeps %.4f after %d steps", name, trial.score, trial.steps)
    return trials


def _ranked(trials: Sequence[Trial]) -> list[int]:
    """Positions of the trials that did not fail, the longest and best first; the earlier of two."""
    able = [n for n, trial in enumerate(trials) if trial.failed is None]
    return sorted(able, key=lambda n: (-trials[n].rounds, -(trials[n].score or 0.0), n))


def _best(trials: Sequence[Trial]) -> Trial:
    ranked = _ranked(trials)
    if not ranked:
        raise TrainingError(
            f"Tune.trials must hold one that can be run; all {len(trials)} failed, the first "
            f"because: {trials[0].failed}"
        )
    return trials[ranked[0]]


class _Proposals:
    """Choices of settings, none twice: the default first, the others from Optuna's TPE sampler."""

    def __init__(self, optuna: Any, space: Mapping[str, Sequence[Any]], seed: int):
        self.optuna, self.space = optuna, space
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_FIRST)
        with self.silent():
            self.study = optuna.create_study(direction="maximize", sampler=sampler)
        # Places in the lists of values, because Optuna takes no lists such as a cell.
        self.choices = {
            name: optuna.distributions.CategoricalDistribution(range(len(values)))
            for name, values in space.items()
        }
        self.told: dict[tuple[int, ...], float | None] = {}

    def next(self) -> dict[str, Any]:
        """Return settings that have not been tried."""
        names = list(self.space)
        with self.silent():
            if not self.told:
                self.study.enqueue_trial(dict.fromkeys(names, 0))
            for _ in range(ASKED_AGAIN):
                places = self._ask()
                if places not in self.told:
                    break
                self.tell(self.told[places])
            else:
                every = itertools.product(*(range(len(values)) for values in self.space.values()))
                left = next(places for places in every if places not in self.told)
                self.study.enqueue_trial(dict(zip(names, left, strict=True)))
                places = self._ask()
        return {n: self.space[n][place] for n, place in zip(names, places, strict=True)}

    def tell(self, score: float | None) -> None:
        """Say what came of the settings returned last; None if they failed."""
        self.told[self.places] = score
        state = self.optuna.trial.TrialState
        with self.silent():
            if score is None:
                self.study.tell(self.trial, state=state.FAIL)
            else:
                self.study.tell(self.trial, score)

    def _ask(self) -> tuple[int, ...]:
        self.trial = self.study.ask(self.choices)
        self.places = tuple(self.trial.params[name] for name in self.space)
        return self.places

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Keep Optuna's log to warnings; its users' own setting is put back."""
        level = self.optuna.logging.get_verbosity()
        self.optuna.logging.set_verbosity(self.optuna.logging.WARNING)
        try:
            yield
        finally:
            self.optuna.logging.set_verbosity(level)
