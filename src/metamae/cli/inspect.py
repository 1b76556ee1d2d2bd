"""`metamae inspect`."""

from pathlib import Path

from metamae.cli.console import (
    Flag,
    Names,
    Settings,
    chosen,
    print_json,
    print_line,
    print_table,
    show_log,
)


def inspect(  # noqa: PLR0913  # one argument per option of the command
    data: str,
    *,
    modality: str | None = None,
    reader: str | None = None,
    schema: Path | None = None,
    ignore: Names = None,
    field: str | None = None,
    label: str | None = None,
    split: str | None = None,
    test: str | None = None,
    skip_bad: int = 0,
    set_: Settings = None,
    write: Path | None = None,
    overwrite: Flag = False,
    json: Flag = False,
) -> None:
    """Say what the data are taken for: fields, modality, tokens, warnings.

    Args:
        data: A file or folder of any known format (`metamae list readers`), or a quoted pattern
            such as "part-*.parquet".
        modality: What a sample is, e.g. series, image or table; or auto. `metamae list modalities`
            names all.
        reader: How to read DATA, or auto; `metamae list readers` names them.
        schema: File written by --write before and edited: which fields are input, and how.
        ignore: A field that is no input, e.g. the label; may be repeated.
        field: The one field that is input.
        label: The field to be predicted later: inputs that give it away are looked for.
        split: Field that says which samples are for training and which for testing: samples of one
            side that are nearly equal to samples of the other are looked for.
        test: Test samples of their own, for the same purpose.
        skip_bad: Bad samples that may be set aside; more of them stop the command.
        set_: A setting of the modality as key=value, e.g. cell=4; may be repeated.
        write: Write the fields to this file, to be edited and given to `pretrain --schema`.
        overwrite: Replace that file if it is there.
        json: Write JSON on standard output, and nothing else there.
    """
    show_log()
    from metamae.pretraining.inspect import inspect as verb

    found = verb(
        data,
        settings=chosen(set_, modality=modality, reader=reader),
        schema=schema,
        ignore=ignore or [],
        field=field,
        label=label,
        split=split,
        test=test,
        skip_bad=skip_bad,
        write=write,
        overwrite=overwrite,
    )
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
