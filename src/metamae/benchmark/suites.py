"""What `metamae bench` can be asked for: the pocket benchmark, or a recipe with its files."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from metamae.benchmark.problem import Problem, pocket_problems
from metamae.benchmark.published.base import Published
from metamae.benchmark.recipe import Recipe, read_recipe
from metamae.errors import ConfigError

log = logging.getLogger("metamae")


@dataclass(frozen=True)
class Suite:
    """A benchmark.

    Attributes:
        name: What tables call it.
        problems: What methods are compared on.
        settings: Settings of `pretrain` that belong to it.
    """

    name: str
    problems: Sequence[Problem]
    settings: Mapping[str, Any] = field(default_factory=dict)


def open_suite(
    name: str,
    *,
    data: Path | None = None,
    only: Iterable[str] | None = None,
    quick: bool = False,
) -> Suite:
    """Return a benchmark by its name.

    Args:
        name: "pocket", or the path of a recipe.
        data: Folder with the files of a recipe's data set. Those that encoders are judged on beside
            lie in folders of their names within it or next to it.
        only: Names of pocket data sets; None for all.
        quick: Whether all means those that do not take long.

    Raises:
        ConfigError: If there is no such benchmark or data set, or a recipe comes without a folder.
    """
    if name == "pocket":
        if data is not None:
            raise ConfigError(
                "Bench.data must come with a recipe; the pocket benchmark reads installed "
                "packages. published/pamap2.toml would do, or --only for some of its data sets."
            )
        return Suite("pocket", pocket_problems(only, quick=quick))
    if not name.endswith(".toml"):
        raise ConfigError(
            f"Bench.suite must be 'pocket' or the path of a recipe; got {name!r}. "
            f"published/pamap2.toml would do."
        )
    if only:
        raise ConfigError("Bench.only must come with the pocket benchmark; a recipe is one.")
    path = _renamed(Path(name))
    recipe = read_recipe(path)
    if data is None:
        raise ConfigError(
            f"Bench.data must be the folder with the files of {recipe.title}; got none. They come "
            f"from {recipe.source}."
        )
    return Suite(recipe.name, [_problem(recipe, path.parent, data)], recipe.pretrain)


def _renamed(path: Path) -> Path:
    """Return where a recipe is that is asked for in the folder "recipes" of version 0.1.0."""
    new = path.parent.with_name("published") / path.name
    if path.parent.name != "recipes" or path.exists() or not new.is_file():
        return path
    log.warning("%s is now %s", path, new)
    return new


def _problem(recipe: Recipe, recipes: Path, folder: Path) -> Problem:
    """Return the data set of a recipe, judged also on those it names that are there."""
    others = []
    for name in recipe.transfer:
        found = [place for place in (folder / name, folder.parent / name) if place.is_dir()]
        if found:
            others.append((read_recipe(recipes / f"{name}.toml"), found[0]))
        else:
            log.warning(
                "%s: transfer to %s is left out: neither %s nor %s is a folder",
                *(recipe.name, name, folder / name, folder.parent / name),
            )

    return Problem(recipe.name, recipe.name, partial(_load, recipe, folder, others))


def _load(recipe: Recipe, folder: Path, others: Sequence[tuple[Recipe, Path]]) -> Published:
    found = recipe.read(folder)
    more = [one for other, place in others for one in other.read(place).challenges]
    return replace(found, challenges=[*found.challenges, *more])
