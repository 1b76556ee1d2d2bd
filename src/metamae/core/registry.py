"""Name -> class tables for the plug-ins of a folder."""

import difflib
import importlib
import inspect
import logging
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from metamae.errors import ConfigError

_log = logging.getLogger("metamae")


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, then all."""
    known = sorted(known)
    lower = {word.lower(): word for word in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    return f"{hint} Known: {', '.join(known) or 'none'}."


class Registry:
    """The plug-ins of one folder, and those that other packages add.

    A name of our own is a module and its entry the class in it, imported when it is first asked
    for, so that one plug-in's missing dependency cannot break the others and names can be listed
    at no cost. Plug-ins from outside come from entry points of installed packages, in the group
    named after the folder, or from `register`.

    Args:
        package: Dotted path of the folder, e.g. "metamae.methods".
        kind: What one entry is called in messages, e.g. "method".
        own: Module name -> class name. This is the one line that a new plug-in of ours adds.
        group: Group of entry points; None where other packages have nothing to add. Registries of
            one group share what is added.
    """

    def __init__(
        self, package: str, kind: str, own: Mapping[str, str], *, group: str | None = None
    ):
        self.package, self.kind, self.own, self.group = package, kind, dict(own), group

    @property
    def entries(self) -> dict[str, str | type[Any]]:
        """Name -> class, or its name where it is one of ours; ours come first."""
        return {**self.own, **(added(self.group) if self.group else {})}

    def register(self, name: str, plugin: type[Any]) -> None:
        """Add a plug-in for the life of this process.

        Raises:
            ConfigError: If the name is no identifier or stands for another plug-in.
        """
        if self.group is None or not isinstance(plugin, type):
            raise ConfigError(
                f"{self.kind.capitalize()} {name!r} must be a class to be registered; got "
                f"{plugin!r:.80}."
            )
        if not name.isidentifier():
            raise ConfigError(
                f"{self.kind.capitalize()} {name!r} must have a name like one in Python. "
                f"{re.sub(r'[^0-9a-zA-Z]+', '_', name).strip('_') or 'another'!r} would do."
            )
        there = self.entries.get(name, plugin)
        if there is not plugin:
            raise ConfigError(f"{self.kind.capitalize()} {name!r} is taken. Another name would do.")
        added(self.group)[name] = plugin

    def get(self, name: str) -> type[Any]:
        """Return the class called `name`.

        Raises:
            ConfigError: If there is none; the message offers the nearest name.
        """
        entry = None
        if isinstance(name, str):
            entry = self.own[name] if name in self.own else self.entries.get(name)
        if entry is None:
            raise ConfigError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, self.entries)}")
        if isinstance(entry, type):
            return entry
        module = importlib.import_module(f"{self.package}.{name}")
        plugin: type[Any] = getattr(module, entry)
        return plugin

    def settings(self, name: str) -> dict[str, Any]:
        """Return the settings of `name` and their defaults: its keyword-only arguments."""
        parameters = inspect.signature(self.get(name)).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    def parts(self, name: str) -> list[str]:
        """Return what `name` is built from: its positional arguments."""
        parameters = inspect.signature(self.get(name)).parameters.values()
        return [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]

    def build(self, name: str, /, *parts: Any, **settings: Any) -> Any:
        """Construct `name` from its parts and its settings.

        Raises:
            ConfigError: If the name or a setting is unknown, or a setting's value is refused.
        """
        known = self.settings(name)
        for key in settings:
            if key not in known:
                raise ConfigError(
                    f"{self.kind.capitalize()} {name!r} has no setting {key!r}."
                    f"{did_you_mean(key, known)}"
                )
        return self.get(name)(*parts, **settings)


@cache
def added(group: str) -> dict[str, type[Any]]:
    """Return the plug-ins from outside of a group, by name: those of installed packages at first.

    One that cannot be imported is left out, with a warning that names its package.
    """
    found: dict[str, type[Any]] = {}
    for point in entry_points(group=group):
        try:
            found[point.name] = point.load()
        except Exception as error:  # whatever a package of somebody else's does
            package = point.dist.name if point.dist else "an unknown package"
            _log.warning(
                "plug-in %r of %s is left out: %s: %s",
                *(point.name, package, type(error).__name__, error),
            )
    return found
