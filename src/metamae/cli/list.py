"""`metamae list`."""

from metamae.cli.console import print_table

KINDS = ("methods", "modalities", "maskings", "evaluations", "detectors", "readers")


def list_plugins(kind: str | None = None) -> None:
    """List what can be chosen, with the settings of each.

    Args:
        kind: methods, modalities, maskings, evaluations, detectors or readers; all if not given.
    """
    from metamae.core.checks import check_one_of

    for name in KINDS if kind is None else [check_one_of("List.kind", kind, KINDS)]:
        rows = [[key, description, settings] for key, description, settings in _rows(name)]
        print_table(name, [name[:-1], "what it does", "settings"], rows)


def _rows(kind: str) -> list[tuple[str, str, str]]:
    from metamae.data.readers import READERS
    from metamae.evaluation.probes import EVALUATIONS
    from metamae.masking import MASKINGS
    from metamae.methods import METHODS
    from metamae.modalities import MODALITIES
    from metamae.schema.kinds import modality_settings
    from metamae.uses.detect.detectors import DETECTORS

    table = {
        "methods": METHODS,
        "modalities": MODALITIES,
        "maskings": MASKINGS,
        "evaluations": EVALUATIONS,
        "detectors": DETECTORS,
        "readers": READERS,
    }[kind]
    rows = []
    for name in table.entries:
        known = modality_settings(name) if kind == "modalities" else table.settings(name)
        shown = ", ".join(f"{k}={v}" for k, v in known.items())
        rows.append((name, table.get(name).description, shown or "-"))
    return rows
