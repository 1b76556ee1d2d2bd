"""`metamae embed`."""

from pathlib import Path

from metamae.cli.console import Flag, Settings, chosen, progress_bar, show_log


def embed(
    run: Path,
    data: str,
    *,
    out: Path,
    tokens: Flag = False,
    overwrite: Flag = False,
    skip_bad: int = 0,
    set_: Settings = None,
    adapted: Flag = False,
    precision: str = "float32",
    device: str = "auto",
) -> None:
    """Turn samples into vectors: nothing is hidden and nothing drawn.

    After Ctrl-C or a kill, the same command goes on with what the folder OUT.partial holds. The
    file appears when it is whole.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        data: Samples like those of the training.
        out: A .npy, .npz, .parquet or .csv file.
        tokens: One vector per token instead of one per sample.
        overwrite: Replace the file if it is there, and the beginning of another embedding.
        skip_bad: Bad samples that may be left out; more of them stop the command.
        set_: A setting of the reader as key=value, e.g. labels=new.csv; may be repeated.
        adapted: Embed after the inner step of the method (metamae).
        precision: float32, bfloat16 (half the time where the machine has a unit for it, and
            vectors that are rounded), or auto for the faster.
        device: cpu, cuda, or auto.
    """
    show_log()
    import logging

    from metamae.uses.embed.embed import embed as verb

    with progress_bar("embedding") as bar:

        def step(done: int, total: int) -> None:
            bar.update(bar.task_ids[0], completed=done / total)

        vectors = verb(
            run,
            data,
            out,
            tokens=tokens,
            overwrite=overwrite,
            skip_bad=skip_bad,
            settings=chosen(set_),
            adapted=adapted,
            precision=precision,
            device=device,
            progress=step,
        )
    width = vectors[0].shape[-1]
    logging.getLogger("metamae").info("%d samples x %d written to %s", len(vectors), width, out)
