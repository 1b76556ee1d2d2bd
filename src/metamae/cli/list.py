"""`metamae list`."""

from typing import Any

from metamae.cli.console import print_table
from metamae.core.registry import Registry

KINDS = ("methods", "modalities", "maskings", "evaluations", "detectors", "readers")


def list_plugins(kind: str | None = None) -> None:
    """List what can be chosen, with the settings of each.

    Args:
        kind: methods, modalities, maskings, evaluations, detectors or readers; all if not given.
    """
    from metamae.core.checks import check_one_of

    for name in KINDS if kind is None else [check_one_of("List.kind", kind, KINDS)]:
        rows = [[key, description, settings] for key, description, settings in _rows(name)]
        print_table(name, [_table(name).kind, "what it does", "settings"], rows)


def _table(kind: str) -> Registry:
    from metamae.data.readers import READERS
    from metamae.evaluation.probes import EVALUATIONS
    from metamae.masking import MASKINGS
    from metamae.methods import METHODS
    from metamae.modalities import MODALITIES
    from metamae.uses.detect.detectors import DETECTORS

    return {
        "methods": METHODS,
        "modalities": MODALITIES,
        "maskings": MASKINGS,
        "evaluations": EVALUATIONS,
        "detectors": DETECTORS,
        "readers": READERS,
    }[kind]


def _words(name: str, plugin: Any) -> str:
    """Say by which other words users may call a modality."""
    from metamae.modalities.base import Modality

    others = [word for word in plugin.words if word != name] if issubclass(plugin, Modality) else []
    return f" (--modality {', '.join(others)})" if others else ""


def _rows(kind: str) -> list[tuple[str, str, str]]:
    from metamae.schema.kinds import modality_settings

    table, rows = _table(kind), []
    for name in table.entries:
        known = modality_settings(name) if kind == "modalities" else table.settings(name)
        shown = ", ".join(f"{k}={v}" for k, v in known.items())
        plugin = table.get(name)
        rows.append((name, f"{plugin.description}{_words(name, plugin)}", shown or "-"))
    return rows
