"""What methods are compared on: samples to learn from, and challenges to be judged on."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from metamae.challenge import Challenge
from metamae.pocket import POCKET
from metamae.records import Records


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """The samples of a problem.

    Attributes:
        challenges: What encoders are judged on.
        pretrain: Samples to learn from; None to learn from the training part of the one challenge.
        settings: Settings of `pretrain` by name that belong to the data.
    """

    challenges: Sequence[Challenge]
    pretrain: Records | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """A row of a benchmark, whose samples are read when its turn comes.

    Attributes:
        name: What tables call it.
        modality: Its family, a word for tables.
        load: Reads the samples.
    """

    name: str
    modality: str
    load: Callable[[], Loaded]


def pocket_problems(names: Iterable[str] | None = None) -> list[Problem]:
    """Return data sets of the pocket benchmark, all if none is named.

    Raises:
        ConfigError: If there is no such data set.
    """
    chosen = list(POCKET.entries) if names is None else list(names)
    return [_pocket(name) for name in chosen]


def _pocket(name: str) -> Problem:
    data = POCKET.build(name)

    def load() -> Loaded:
        challenge = data.load()
        return Loaded(challenges=[challenge], settings=challenge.settings)

    return Problem(name, data.modality, load)
