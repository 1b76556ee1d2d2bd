"""`metamae inspect`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metamae.cli.console import Flag, Names, print_json, print_line, print_table, show_log


def inspect(
    data: Path,
    *,
    modality: str | None = None,
    ignore: Names = None,
    field: str | None = None,
    set_: Annotated[Names, Parameter(name="--set")] = None,
    json: Flag = False,
) -> None:
    """Say what the data are taken for: fields, modality, tokens, warnings.

    Args:
        data: A .npy, .npz, .csv, .tsv, .parquet or .arrow file, or a folder of images.
        modality: series, image, volume, symbols, table, or auto.
        ignore: A field that is no input, e.g. the label; may be repeated.
        field: The one field that is input.
        set_: A setting of the modality as key=value, e.g. cell=4; may be repeated.
        json: Write JSON on standard output, and nothing else there.
    """
    show_log()
    from metamae.config import parse_assignments
    from metamae.verbs.inspect import inspect as verb

    settings = parse_assignments(set_ or [])
    if modality is not None:
        settings["modality"] = modality
    found = verb(data, settings=settings, ignore=ignore or [], field=field)
    if json:
        print_json(found.to_dict())
        return
    rows = [
        [
            f.name,
            f.role,
            f.type,
            " x ".join(map(str, f.shape)) or "-",
            f"{f.missing:.0%}",
            "-" if f.distinct is None else str(f.distinct),
        ]
        for f in found.fields
    ]
    header = ["field", "role", "type", "shape", "missing", "distinct"]
    print_table(f"{found.source}: {found.num_samples} samples", header, rows)
    print_line(f"{found.description}; up to {found.num_tokens} tokens per sample.")
    for note in found.notes:
        print_line(f"- {note}")
