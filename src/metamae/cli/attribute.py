"""`metamae attribute`."""

from pathlib import Path

from metamae.cli.console import Flag, Settings, chosen, print_json, print_table, show_log

TOLD = {
    "deletion": "most important tokens left out first (lower is better)",
    "random": "tokens left out at random",
    "insertion": "least important tokens left out first (higher is better)",
}


def attribute(
    run: Path,
    data: str,
    *,
    label: str,
    out: Path | None = None,
    samples: int = 100,
    group: str | None = None,
    seed: int = 0,
    overwrite: Flag = False,
    set_: Settings = None,
    json: Flag = False,
    device: str = "auto",
) -> None:
    """Say which tokens a probe's answer rests on, by leaving them out of the encoder.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        data: Labelled samples; the probe is fitted on 70 % of them.
        label: Field that holds the class.
        out: A .parquet file with a row of scores per sample.
        samples: Test samples that are looked at, at most.
        group: Field that says which samples belong together, e.g. to one person.
        seed: Of the split, the choice of samples and the random order.
        overwrite: Replace the file if it is there.
        set_: A setting of the reader as key=value, e.g. labels=labels.csv; may be repeated.
        json: Write JSON on standard output, and nothing else there.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.uses.attribute.attribute import attribute_tokens as verb

    found = verb(
        run,
        data,
        label,
        out,
        samples=samples,
        group=group,
        seed=seed,
        settings=chosen(set_),
        overwrite=overwrite,
        device=device,
    )
    if json:
        print_json(found.to_dict())
        return
    rows = []
    for name, words in TOLD.items():
        mean, low, high = found.areas[name]
        rows.append([words, f"{mean:.3f} ({low:.3f} to {high:.3f})"])
    title = f"probability of the class that the probe gave to {len(found.names)} whole samples"
    print_table(title, ["while 0 to 90 % of", "mean"], rows)
