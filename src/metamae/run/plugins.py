"""Plug-ins from outside: `metamae.register` adds one to the tables of this process."""

import importlib
from typing import Any

from metamae.core.checks import check_one_of
from metamae.core.registry import Registry
from metamae.data.readers import READERS
from metamae.errors import ConfigError
from metamae.evaluation.probes import EVALUATIONS
from metamae.masking import MASKINGS
from metamae.methods import METHODS
from metamae.modalities import MODALITIES

TABLES: dict[str, Registry] = {
    "modality": MODALITIES,
    "method": METHODS,
    "masking": MASKINGS,
    "reader": READERS,
    "evaluation": EVALUATIONS,
}
# Kind -> its base class, in the module `base` of the folder.
BASES = {
    "modality": "Modality",
    "method": "Method",
    "masking": "Masking",
    "reader": "Reader",
    "evaluation": "Evaluation",
}


def register(kind: str, name: str, plugin: type[Any]) -> None:
    """Add a modality, method, masking, reader or evaluation under a name of its own.

    It is there for the life of this process; a package that is installed may name it as an entry
    point instead (groups `metamae.modalities`, `.methods`, `.maskings`, `.readers` and
    `.evaluations`), and then every command knows it.

    Args:
        kind: "modality", "method", "masking", "reader" or "evaluation".
        name: What settings and commands call it.
        plugin: Its class, a subclass of the base class of its kind; of a modality `kind` is the
            name.

    Raises:
        ConfigError: If there is no such kind, the name is taken, or the class does not fit.
    """
    table = TABLES[check_one_of("Register.kind", kind, TABLES)]
    base = importlib.import_module(f"{table.package}.base").__dict__[BASES[kind]]
    if not (isinstance(plugin, type) and issubclass(plugin, base)):
        raise ConfigError(
            f"Register.plugin must be a subclass of {base.__module__}.{base.__name__}; got "
            f"{plugin!r:.80}."
        )
    if kind == "modality" and plugin.kind != name:
        raise ConfigError(
            f"Register.name must be what the modality calls itself, {plugin.kind!r}; got {name!r}."
        )
    table.register(name, plugin)
