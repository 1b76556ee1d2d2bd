"""Name -> class tables for the plug-ins of a folder."""

import difflib
import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from metamae.errors import ConfigError


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the nearest known one, then all."""
    known = sorted(known)
    lower = {word.lower(): word for word in known}
    near = difflib.get_close_matches(str(name).lower(), lower, n=1)
    hint = f" Did you mean {lower[near[0]]!r}?" if near else ""
    return f"{hint} Known: {', '.join(known) or 'none'}."


class Registry:
    """The plug-ins of one folder: a name is a module, an entry is the class in it.

    A class is imported when it is first asked for, so that one plug-in's missing dependency
    cannot break the others and names can be listed at no cost.

    Args:
        package: Dotted path of the folder, e.g. "metamae.methods".
        kind: What one entry is called in messages, e.g. "method".
        entries: Module name -> class name. This is the one line that a new plug-in adds.
    """

    def __init__(self, package: str, kind: str, entries: Mapping[str, str]):
        self.package, self.kind, self.entries = package, kind, dict(entries)

    def get(self, name: str) -> type[Any]:
        """Return the class called `name`.

        Raises:
            ConfigError: If there is none; the message offers the nearest name.
        """
        if not isinstance(name, str) or name not in self.entries:
            raise ConfigError(f"Unknown {self.kind} {name!r}.{did_you_mean(name, self.entries)}")
        module = importlib.import_module(f"{self.package}.{name}")
        plugin: type[Any] = getattr(module, self.entries[name])
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
