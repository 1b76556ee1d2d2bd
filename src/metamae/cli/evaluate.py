"""`metamae evaluate`."""

from pathlib import Path

from metamae.cli.console import (
    Flag,
    Names,
    Settings,
    chosen,
    naming,
    print_assessment,
    print_json,
    show_log,
)
from metamae.evaluation.probes import EVALUATIONS


@naming(evaluations=EVALUATIONS)
def evaluate(  # noqa: PLR0913  # one argument per option of the command
    run: Path,
    data: str,
    *,
    label: str,
    test: str | None = None,
    group: str | None = None,
    task: str = "auto",
    evaluation: Names = None,
    per_class: int = 5,
    draws: int = 10,
    seed: int = 0,
    skip_bad: int = 0,
    set_: Settings = None,
    adapted: Flag = False,
    json: Flag = False,
    device: str = "auto",
) -> None:
    """Score the embeddings beside raw features, PCA and the untrained encoder.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        data: Labelled samples.
        label: Field that holds the label; several names with commas for a multilabel task.
        test: Labelled test samples; without it 30 % of DATA are set aside.
        group: Field that says which samples belong together, e.g. to one person.
        task: classification, regression, multilabel, or auto.
        evaluation: {evaluations}; may be repeated; linear_probe and knn if not given.
        per_class: Labels per class of the small budget.
        draws: Draws of the small budget.
        seed: Of split, draws and bootstrap.
        skip_bad: Bad samples that may be left out; more of them stop the evaluation.
        set_: A setting of the reader as key=value, e.g. labels=labels.csv; may be repeated.
        json: Write JSON on standard output, and nothing else there.
        adapted: Embed after the inner step of the method (metamae).
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.uses.evaluate import evaluate as verb

    found = verb(
        run,
        data,
        label,
        test=test,
        group=group,
        task=task,
        evaluations=evaluation or ("linear_probe", "knn"),
        budgets=("all", per_class),
        draws=draws,
        seed=seed,
        skip_bad=skip_bad,
        settings=chosen(set_),
        adapted=adapted,
        device=device,
    )
    if json:
        print_json(found.to_dict())
    else:
        print_assessment(found)
