"""`metamae pretrain`."""

from functools import partial
from pathlib import Path
from typing import Any

from metamae.cli.console import Flag, Names, Settings, chosen, naming, progress_bar, show_log
from metamae.methods import METHODS

HEALTH = (
    ("held_out_r2", "R² %.3f of the hidden part (1 perfect, 0 no better than the mean)"),
    ("held_out_target_r2", "R² %.3f of the teacher's latents (1 perfect)"),
    ("held_out_accuracy", "accuracy %.3f of the task that the method sets itself"),
)
"""What a method may tell of its success without labels."""


@naming(methods=METHODS)
def pretrain(  # noqa: PLR0913  # one argument per option of the command
    data: str,
    *,
    out: Path,
    method: str | None = None,
    size: str | None = None,
    modality: str | None = None,
    reader: str | None = None,
    schema: Path | None = None,
    steps: int | None = None,
    minutes: float | None = None,
    seed: int | None = None,
    ignore: Names = None,
    field: str | None = None,
    skip_bad: int = 0,
    set_: Settings = None,
    config: Path | None = None,
    tune: Flag = False,
    resume: Flag = False,
    overwrite: Flag = False,
    device: str = "auto",
    tensorboard: Flag = False,
    skip_report: Flag = False,
) -> int:
    """Learn an encoder from unlabelled data.

    Ctrl-C and SIGTERM write a checkpoint and stop; --resume goes on from it.

    Args:
        data: A file or folder of any known format (`metamae list readers`), or a quoted pattern
            such as "part-*.parquet".
        out: Folder for the run: settings, schema, weights, metrics, checkpoints.
        method: {methods}; `metamae list methods` says what they do.
        size: tiny, small, base, paper, or auto.
        modality: What a sample is, e.g. series, image or table; or auto. `metamae list modalities`
            names all.
        reader: How to read DATA, or auto; `metamae list readers` names them.
        schema: File written by `metamae inspect --write` and edited: which fields are input, how.
        steps: Optimiser steps (2,000 if nothing else is given).
        minutes: Time to train, instead of steps.
        seed: Of weights, order, masks and dropout.
        ignore: A field that is no input, e.g. the label; may be repeated.
        field: The one field that is input.
        skip_bad: Bad samples that may be set aside, counted and listed; more of them stop the run.
        set_: Any other setting as key=value, e.g. lr=0.002 or masking=block; may be repeated.
        config: TOML file of settings, e.g. another run's config.toml.
        tune: Spend a quarter of the budget on short runs that choose mask ratio, learning rate and
            cell without labels; what you set yourself stays. Needs Optuna: metamae[tune].
        resume: Go on with the run in --out if there is one.
        overwrite: Remove the run in --out if there is one.
        device: cpu, cuda, or auto.
        tensorboard: Write TensorBoard files too.
        skip_report: Do not write report.html into the folder of the run.
    """
    show_log()
    from metamae.pretraining.pretrain import pretrain as plain
    from metamae.pretraining.tune import pretrain_tuned
    from metamae.run.config import read_config_file
    from metamae.training.settings import BUDGETS
    from metamae.uses.report.report import report_quietly

    settings: dict[str, Any] = {} if config is None else read_config_file(config)
    # The command line speaks last.
    spoken = chosen(
        set_,
        method=method,
        size=size,
        modality=modality,
        reader=reader,
        steps=steps,
        minutes=minutes,
        seed=seed,
    )
    if any(name.removeprefix("train.") in BUDGETS for name in spoken):
        settings = {k: v for k, v in settings.items() if k.removeprefix("train.") not in BUDGETS}
    settings |= spoken
    with progress_bar("pretraining") as bar:

        def observe(progress: Any, done: float, line: dict[str, Any]) -> None:
            bar.update(bar.task_ids[0], completed=done)
            if "loss" in line:
                tell(f"step {progress.step}  loss {line['loss']:.3f}", done)

        def tell(trial: str, done: float) -> None:
            bar.update(bar.task_ids[0], completed=done, note=trial)

        verb = partial(pretrain_tuned, stage=tell) if tune else plain
        written, outcome = verb(
            data,
            out,
            settings=settings,
            schema=schema,
            ignore=ignore or [],
            field=field,
            skip_bad=skip_bad,
            resume=resume,
            overwrite=overwrite,
            device=device,
            tensorboard=tensorboard,
            observe=observe,
        )
    if outcome.interrupted is None and not skip_report:
        report_quietly(written, data, out)
    return tell_end(out, outcome)


def tell_end(out: Path, outcome: Any) -> int:
    """Say how a run ended, and return the exit status."""
    import logging

    log = logging.getLogger("metamae")
    step, seconds = outcome.progress.step, outcome.progress.seconds
    if outcome.interrupted is not None:
        log.info("stopped by %s at step %d; --resume goes on from there", outcome.interrupted, step)
        return {"SIGINT": 130, "SIGTERM": 143}[outcome.interrupted]
    log.info("%d steps in %.0f s, written to %s", step, seconds, out)
    if outcome.health:
        found = [
            f"{text % outcome.health[name]}, " for name, text in HEALTH if name in outcome.health
        ]
        rank = outcome.health["effective_rank"]
        log.info("held-out samples: %seffective rank %.1f", "".join(found), rank)
    return 0
