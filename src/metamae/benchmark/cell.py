"""One cell of a benchmark: one method on one problem with one seed."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from metamae.benchmark.published.base import Published
from metamae.core.registry import did_you_mean
from metamae.encoder.pretrained import Pretrained
from metamae.encoder.representations import Features, embeddings, pca_features, raw_features
from metamae.errors import ConfigError
from metamae.evaluation.probes import EVALUATIONS
from metamae.evaluation.probes.base import Budget, judge
from metamae.evaluation.scoring.result import Judgement
from metamae.evaluation.split import Division, divide
from metamae.methods import METHODS
from metamae.pretraining.pretrain import pretrain, untrained
from metamae.run.config import Choices, known_settings

BASELINES = ("raw", "pca", "boosted_trees", "untrained")
"""What every table shows beside the methods; none of them learns from unlabelled samples, but
for the components of PCA."""

PROTOCOLS: dict[str, tuple[str, ...]] = {
    "metamae": ("linear_probe", "knn"),
    "dabs": ("dabs_probe",),
}
"""Ways to judge features: ours, and the published one of DABS."""

Row = dict[str, Any]


@dataclass(frozen=True, order=True)
class Cell:
    """A place in the table.

    Attributes:
        problem: Name of the data set.
        method: A registered method, or one of `BASELINES`.
        seed: Of split, weights, order, masks, label draws and bootstrap.
    """

    problem: str
    method: str
    seed: int

    @property
    def key(self) -> str:
        """Its name, e.g. "digits/metamae/0"."""
        return f"{self.problem}/{self.method}/{self.seed}"

    @classmethod
    def from_key(cls, key: str) -> "Cell":
        """Undo `key`.

        Raises:
            ConfigError: If it is not of that form.
        """
        problem, _, rest = key.partition("/")
        method, _, seed = rest.partition("/")
        if not problem or not method or not seed.isdecimal():
            raise ConfigError(
                f"A cell must be data/method/seed; got {key!r}. 'digits/metamae/0' would do."
            )
        return cls(problem, check_method(method), int(seed))


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the cells of a benchmark are computed, the same for all.

    Attributes:
        settings: Settings of `pretrain` by name, the budget among them.
        protocol: A key of `PROTOCOLS`.
        budgets: Training labels of the probes.
        draws: Draws of labels for a budget in numbers.
        device: Where to compute.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    protocol: str = "metamae"
    budgets: Sequence[Budget] = ("all", 5)
    draws: int = 5
    device: str = "auto"

    def to_dict(self) -> dict[str, Any]:
        """Return what makes results comparable, as plain values."""
        return {k: v for k, v in asdict(self).items() if k != "device"}


def check_method(name: str) -> str:
    """Return the name of a method or baseline, else raise ConfigError."""
    if name not in BASELINES and name not in METHODS.entries:
        known = [*BASELINES, *METHODS.entries]
        raise ConfigError(f"Unknown method {name!r}.{did_you_mean(name, known)}")
    return name


def fitting(settings: Mapping[str, Any], method: str) -> Row:
    """Leave out the settings that other methods have and this one has not.

    A recipe's inner rate means nothing to MAE; a setting that no method has stays, to be refused.
    """
    foreign = {name for other in METHODS.entries for name in METHODS.settings(other)}
    foreign -= set(METHODS.settings(method))
    known = known_settings(Choices(method=method))
    foreign -= {name for section in known.values() for name in section}
    return {k: v for k, v in settings.items() if k.removeprefix("method.") not in foreign}


def compute(cell: Cell, modality: str, loaded: Published, options: Options) -> list[Row]:
    """Compute a cell: learn, embed, judge.

    Args:
        cell: Which.
        modality: Family of its problem.
        loaded: The samples of its problem.
        options: How.

    Returns:
        One row for each challenge, evaluation and budget of labels, of plain values.

    Raises:
        DataError: If the samples cannot be learnt from or judged.
        ConfigError: If a setting is refused.
    """
    encoder: _Encoder | None = None
    rows: list[Row] = []
    for challenge in loaded.challenges:
        division = divide(
            challenge.records,
            challenge.label,
            test=challenge.test,
            group=challenge.group,
            task=challenge.task,
            seed=cell.seed,
        )
        if encoder is None:
            encoder = _learn(cell, loaded, division, options)
        features = _features(cell, encoder.pretrained, division)
        rows += [
            {**asdict(cell), "challenge": challenge.name, "modality": modality, **row}
            | encoder.facts
            for row in _judge(cell, features, division, options)
        ]
    return rows


@dataclass(frozen=True)
class _Encoder:
    pretrained: Pretrained
    facts: dict[str, Any]


def _learn(cell: Cell, loaded: Published, division: Division, options: Options) -> _Encoder:
    challenge = loaded.challenges[0]
    # Test samples are never learnt from, not even without their labels.
    data = division.train if loaded.pretrain is None else loaded.pretrain
    ignore = [name for name in challenge.not_input if name in data.columns]
    method = "metamae" if cell.method in BASELINES else cell.method
    settings = {**loaded.settings, **options.settings, "seed": cell.seed, "method": method}
    settings = fitting(settings, method)
    began = time.monotonic()
    if cell.method in BASELINES:
        found = untrained(data, settings=settings, ignore=ignore, device=options.device)
        return _Encoder(found, {"seconds": 0.0, "steps": 0, "size": found.config.size})
    found, outcome = pretrain(data, settings=settings, ignore=ignore, device=options.device)
    facts = {"seconds": round(time.monotonic() - began, 1), "steps": outcome.progress.step}
    return _Encoder(found, {**facts, "size": found.config.size})


def _features(cell: Cell, encoder: Pretrained, division: Division) -> tuple[Features, Features]:
    train, test = encoder.records(division.train), encoder.records(division.test)
    if cell.method in ("raw", "pca", "boosted_trees"):
        spec = encoder.schema.modality
        raw = raw_features(spec, train), raw_features(spec, test)
        if cell.method != "pca":
            return raw
        return pca_features(*raw, components=encoder.embedding_width, seed=cell.seed)
    return embeddings(encoder, train, test)


def _judge(
    cell: Cell, features: tuple[Features, Features], division: Division, options: Options
) -> list[Row]:
    rows, done = [], dict[str, Judgement]()
    for name in PROTOCOLS[options.protocol]:
        # Trees take the place of whatever the protocol judges features by.
        judging = "boosted_trees" if cell.method == "boosted_trees" else name
        judgement = done[judging] = done.get(judging) or judge(
            EVALUATIONS.build(judging),
            {cell.method: features},
            division.y_train,
            division.y_test,
            division.task,
            budgets=options.budgets,
            draws=options.draws,
            seed=cell.seed,
            groups_train=division.groups_train,
            groups_test=division.groups_test,
        )
        for result in judgement.results:
            low, high = result.interval
            rows.append(
                {
                    "evaluation": name,
                    "labels": result.labels,
                    "metric": result.metric,
                    "score": result.score,
                    "low": low,
                    "high": high,
                    "higher_is_better": result.higher_is_better,
                    "chance": result.chance,
                    "num_train": result.num_train,
                    "num_test": result.num_test,
                }
            )
    return rows
