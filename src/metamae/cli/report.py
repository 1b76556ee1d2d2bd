"""`metamae report`."""

from pathlib import Path

from metamae.cli.console import Flag, Settings, chosen, print_line, progress_bar, show_log


def report(
    *runs: Path,
    data: str | None = None,
    out: Path | None = None,
    label: str | None = None,
    points: int | None = None,
    map_: str = "pca",
    seed: int = 0,
    skip_bad: int = 0,
    set_: Settings = None,
    overwrite: Flag = False,
    device: str = "auto",
) -> None:
    """Write one HTML page about a run, or about several beside each other.

    It opens without a network: verdict, evaluation, curves, reconstructions, map of embeddings.

    Args:
        runs: Folder that was --out of `metamae pretrain`; several are compared.
        data: Samples to show; without it the run's own, if they are still where they were.
        out: File to write: report.html in the run's folder, or comparison.html for several.
        label: Field that colours the map.
        points: Samples on the map (10,000).
        map_: pca, or tsne for up to 5,000 samples.
        seed: Of the choice of samples and of what is hidden.
        skip_bad: Bad samples of --data that may be left out.
        set_: A setting of the reader as key=value, e.g. labels=new.csv; may be repeated.
        overwrite: Replace the file --out if it is there.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.errors import ConfigError
    from metamae.uses.report.comparison import compare
    from metamae.uses.report.report import POINTS
    from metamae.uses.report.report import report as verb

    if not runs:
        raise ConfigError("Report must have the folder of a run; got none.")
    if len(runs) > 1:
        given = {"data": data, "label": label, "points": points, "set": set_}
        for name, value in given.items():
            if value is not None:
                raise ConfigError(
                    f"Report.{name} must be left out where several runs are compared; got {value}."
                )
        path = compare(runs, out, overwrite=overwrite)
    else:
        with progress_bar("embedding") as bar:

            def step(done: int, total: int) -> None:
                bar.update(bar.task_ids[0], completed=done / total)

            path = verb(
                *(runs[0], data, out),
                label=label,
                points=POINTS if points is None else points,
                way=map_,
                skip_bad=skip_bad,
                settings=chosen(set_),
                seed=seed,
                overwrite=overwrite,
                device=device,
                progress=step,
            )
    print_line(str(path))
