"""A recipe: a published data set, how it is read and learnt from, and what papers got out of it."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from metamae.benchmark.published import LAYOUTS
from metamae.benchmark.published.base import Published
from metamae.core.registry import did_you_mean
from metamae.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What a recipe file says.

    Attributes:
        name: Of the recipe, that of its file.
        title: What the data are, in one line.
        source: Where to get them.
        licence: Of the data.
        files: What the folder has to hold, as paths within it.
        splits: What is learnt from and what is judged, and where papers disagree.
        layout: Registered name of the layout, under "name" of the table [layout].
        settings: Settings of the layout, the rest of that table.
        pretrain: Settings of `pretrain` by name, those of the paper; beside those of the layout.
        transfer: Recipes whose challenges encoders of this data set are judged on too.
        published: Method -> challenge -> score in percent as papers state it.
    """

    name: str
    title: str
    source: str
    licence: str
    files: tuple[str, ...]
    splits: str
    layout: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    pretrain: Mapping[str, Any] = field(default_factory=dict)
    transfer: tuple[str, ...] = ()
    published: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def read(self, folder: str | Path) -> Published:
        """Read the data set from the folder that holds its files.

        Raises:
            DataError: If files are missing or not in their layout.
        """
        published: Published = LAYOUTS.build(self.layout, **self.settings).read(Path(folder))
        return published


# Key -> whether it has to be there; "settings" stand in [layout] beside its name.
_KEYS = {f.name: f.default is MISSING and f.default_factory is MISSING for f in fields(Recipe)}
del _KEYS["settings"]
_TEXTS = ("name", "title", "source", "licence", "splits")
_LISTS = ("files", "transfer")
_TABLES = ("layout", "pretrain", "published")


def read_recipe(path: str | Path) -> Recipe:
    """Read a recipe file.

    Raises:
        ConfigError: If it cannot be read, or a key is unknown, missing or of the wrong kind, or
            there is no such layout or setting of it.
    """
    path = Path(path)
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"Recipe {path} must be a readable TOML file; got: {error}. Those in the folder "
            "published/ would do."
        ) from error
    _check_keys(path, document)
    layout = dict(document["layout"])
    name = _layout(path, layout)
    published = document.get("published", {})
    _check_scores(path, published)
    return Recipe(
        **{key: document[key] for key in _TEXTS},
        files=tuple(document["files"]),
        transfer=tuple(document.get("transfer", ())),
        layout=name,
        settings=layout,
        pretrain=document.get("pretrain", {}),
        published=published,
    )


def _check_keys(path: Path, document: Mapping[str, Any]) -> None:
    for key in document:
        _check_known(f"Recipe {path}", key, _KEYS)
    for key, needed in _KEYS.items():
        if needed and key not in document:
            raise ConfigError(
                f"Recipe {path} must have the key {key!r}; got {', '.join(document)}. Another "
                "recipe shows what it says."
            )
    for key, value in document.items():
        fits = {
            **dict.fromkeys(_TEXTS, isinstance(value, str)),
            **dict.fromkeys(_LISTS, _is_texts(value)),
            **dict.fromkeys(_TABLES, isinstance(value, dict)),
        }[key]
        if not fits:
            what = "a text" if key in _TEXTS else "a list of texts" if key in _LISTS else "a table"
            raise ConfigError(f"Recipe {path}: {key!r} must be {what}; got {value!r:.80}.")


def _layout(path: Path, settings: dict[str, Any]) -> str:
    """Take the name out of the settings of a layout, and check both."""
    name = settings.pop("name", None)
    if not isinstance(name, str) or name not in LAYOUTS.entries:
        raise ConfigError(
            f"Recipe {path}: 'name' of [layout] must be a known layout; got {name!r}."
            f"{did_you_mean(name, LAYOUTS.entries)}"
        )
    for key in settings:
        _check_known(f"Recipe {path}: [layout] of {name!r}", key, LAYOUTS.settings(name))
    return name


def _check_known(owner: str, key: str, known: Iterable[str]) -> None:
    if key not in known:
        raise ConfigError(f"{owner} has no key {key!r}.{did_you_mean(key, known)}")


def _check_scores(path: Path, published: Mapping[str, Any]) -> None:
    for method, scores in published.items():
        number = isinstance(scores, dict) and all(
            isinstance(score, int | float) and not isinstance(score, bool)
            for score in scores.values()
        )
        if not number:
            raise ConfigError(
                f"Recipe {path}: [published.{method}] must give a number for each challenge; got "
                f"{scores!r:.80}."
            )


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
