"""`metamae demo`."""

from pathlib import Path

from metamae.cli.console import Flag, print_assessment, print_line, progress_bar


def demo(
    *,
    out: Path = Path("metamae-demo"),
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    overwrite: Flag = False,
) -> None:
    """Pretrain on two real data sets, judge the result and draw it, within five minutes.

    The data are scikit-learn's handwritten digits (1,797 images) and breast cancer (569 rows).

    Args:
        out: Folder for runs and pictures.
        minutes: Time to train, both together, instead of 2,000 and 600 steps.
        steps: Optimiser steps of each.
        seed: Of everything random.
        overwrite: Remove the runs of an earlier demo in --out.
    """
    from metamae.uses.demo import demo as verb

    with progress_bar("demo") as bar:

        def observe(note: str, done: float) -> None:
            bar.update(bar.task_ids[0], completed=done, note=note)

        shown = verb(
            out, minutes=minutes, steps=steps, seed=seed, overwrite=overwrite, observe=observe
        )
    for one in shown:
        print_assessment(one.assessment)
        print_line(f"Report: {one.page}    Picture: {one.picture}    Run: {one.run}")
        print_line()
