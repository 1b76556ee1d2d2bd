"""`metamae finetune` and `metamae predict`."""

from pathlib import Path
from typing import TYPE_CHECKING

from metamae.cli.console import (
    Flag,
    Settings,
    chosen,
    print_json,
    print_line,
    print_table,
    progress_bar,
    show_log,
)

if TYPE_CHECKING:
    from metamae.uses.finetune.finetune import Finetuning

STATUS = {"SIGINT": 130, "SIGTERM": 143}
NAMES = {
    "finetuned": "fine-tuned",
    "scratch": "trained from scratch",
    "linear_probe": "linear probe of the embedding",
    "raw": "linear model of raw features",
}


def finetune(  # noqa: PLR0913  # one argument per option of the command
    run: Path,
    data: str,
    *,
    label: str,
    out: Path,
    test: str | None = None,
    split: str | None = None,
    group: str | None = None,
    task: str = "auto",
    how: str = "full",
    blocks: int = 2,
    rank: int = 8,
    steps: int | None = None,
    minutes: float | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    patience: int | None = None,
    scratch: bool = True,
    seed: int = 0,
    overwrite: Flag = False,
    skip_bad: int = 0,
    set_: Settings = None,
    json: Flag = False,
    device: str = "auto",
) -> int:
    """Let the encoder go on learning with labels, and compare with training from scratch.

    It stops early by a fifth of the training samples, keeps the best weights, and is tested once.
    After Ctrl-C, the best weights so far are kept; what has not been compared is left out.

    Args:
        run: Folder that was --out of `metamae pretrain`; it is not changed.
        data: Labelled samples; those without a label are left out.
        label: Field that holds the label; several names with commas for a multilabel task.
        out: Folder for the fine-tuned model, which `metamae predict` takes.
        test: Labelled test samples; without it 30 % of DATA are set aside.
        split: Field of DATA that says "test" of the test samples.
        group: Field that says which samples belong together, e.g. to one person.
        task: classification, regression, multilabel, or auto.
        how: What learns: full, last (the last blocks) or lora (low-rank matrices).
        blocks: Blocks that learn with last.
        rank: Of the matrices of lora.
        steps: Steps at most; 500 if no budget is given.
        minutes: Time to train at most, for each of the two trainings.
        epochs: Passes over the training samples at most.
        batch_size: Samples of a step; chosen by the number of samples if not given.
        lr: Highest learning rate, of the head; the encoder's own weights have 0.3 of it.
        patience: Checks without a better validation score before it stops; 10 if not given.
        scratch: Train the same network from fresh weights too.
        seed: Of split, order, dropout and bootstrap.
        overwrite: Replace the fine-tuned model in --out if there is one.
        skip_bad: Bad samples that may be left out; more of them stop the command.
        set_: A setting of the reader as key=value, e.g. labels=labels.csv; may be repeated.
        json: Write JSON on standard output, and nothing else there.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.uses.finetune.finetune import finetune as verb

    with progress_bar("fine-tuning") as bar:

        def observe(name: str, done: float, score: float | None) -> None:
            note = "" if score is None else f"validation {score:.3f}"
            bar.update(bar.task_ids[0], completed=done, description=name, note=note)

        found = verb(
            run,
            data,
            label,
            out,
            test=test,
            split=split,
            group=group,
            task=task,
            training={
                **{"how": how, "blocks": blocks, "rank": rank, "batch_size": batch_size},
                **{"steps": steps, "minutes": minutes, "epochs": epochs},
                **{"lr": lr, "patience": patience},
            },
            scratch=scratch,
            seed=seed,
            skip_bad=skip_bad,
            settings=chosen(set_),
            overwrite=overwrite,
            device=device,
            observe=observe,
        )
    if json:
        print_json(found.to_dict())
    else:
        _show(found)
    return _report(out, found)


def predict(
    model: Path,
    data: str,
    *,
    out: Path,
    overwrite: Flag = False,
    skip_bad: int = 0,
    set_: Settings = None,
    device: str = "auto",
) -> None:
    """Predict the label of new samples with a fine-tuned model.

    Args:
        model: Folder that was --out of `metamae finetune`.
        data: Samples like those of the training; no labels are needed.
        out: A .csv or .parquet file: sample, predicted, and the probability of each class.
        overwrite: Replace the file if it is there.
        skip_bad: Bad samples that may be left out; more of them stop the command.
        set_: A setting of the reader as key=value; may be repeated.
        device: cpu, cuda, or auto.
    """
    show_log()
    import logging

    from metamae.uses.finetune.finetune import predict as verb

    with progress_bar("predicting") as bar:

        def step(done: int, total: int) -> None:
            bar.update(bar.task_ids[0], completed=done / total)

        found = verb(
            model,
            data,
            out,
            skip_bad=skip_bad,
            settings=chosen(set_),
            overwrite=overwrite,
            device=device,
            progress=step,
        )
    logging.getLogger("metamae").info("%d predictions written to %s", len(found.values), out)


def _show(found: "Finetuning") -> None:
    if found.judgement is not None:
        first = found.judgement.results[0]
        secondary = list(first.secondary)
        rows = [
            [
                NAMES[r.representation],
                f"{r.score:.3f}  ({r.interval[0]:.3f} to {r.interval[1]:.3f})",
                *(f"{r.secondary[name]:.3f}" for name in secondary),
            ]
            for r in found.judgement.results
        ]
        rows.append(["chance", f"{first.chance:.3f}", *("" for _ in secondary)])
        title = (
            f"{found.source}: {found.label}, learnt from {first.num_train} samples, "
            f"{first.num_test} test samples"
        )
        print_table(title, ["", f"{first.metric} (95 % interval)", *secondary], rows)
        print_line(found.sentence)
    for note in found.notes:
        print_line(f"Note: {note}.")


def _report(out: Path, found: "Finetuning") -> int:
    """Say where the model is, and return the exit status."""
    import logging

    log = logging.getLogger("metamae")
    if found.interrupted is None:
        log.info("written to %s", out)
        return 0
    log.info("stopped by %s; the best weights so far are in %s", found.interrupted, out)
    return STATUS[found.interrupted]
