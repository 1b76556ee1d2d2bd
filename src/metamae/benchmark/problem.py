"""What methods are compared on: samples to learn from, and challenges to be judged on."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from metamae.benchmark.pocket import POCKET
from metamae.benchmark.published.base import Published


@dataclass(frozen=True)
class Problem:
    """A row of a benchmark, whose samples are read when its turn comes.

    Attributes:
        name: What tables call it.
        modality: Its family, a word for tables.
        load: Reads the samples. To compute in other processes it has to be a function of a module,
            or a `partial` of one.
    """

    name: str
    modality: str
    load: Callable[[], Published]


def pocket_problems(names: Iterable[str] | None = None, *, quick: bool = False) -> list[Problem]:
    """Return data sets of the pocket benchmark.

    Args:
        names: Those that are wanted; None for all.
        quick: Whether all means those that do not take long.

    Raises:
        ConfigError: If there is no such data set.
    """
    if names is None:
        names = [name for name in POCKET.entries if not (quick and POCKET.get(name).long)]
    return [_pocket(name) for name in names]


def _pocket(name: str) -> Problem:
    return Problem(name, POCKET.get(name).modality, partial(_load, name))


def _load(name: str) -> Published:
    challenge = POCKET.build(name).load()
    return Published(pretrain=None, challenges=[challenge], settings=challenge.settings)
