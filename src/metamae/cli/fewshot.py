"""`metamae fewshot`."""

from pathlib import Path

from metamae.cli.console import (
    Flag,
    Settings,
    chosen,
    print_json,
    print_line,
    print_table,
    show_log,
)


def fewshot(  # noqa: PLR0913  # one argument per option of the command
    run: Path,
    data: str,
    *,
    label: str,
    ways: int = 5,
    shots: int = 1,
    queries: int = 15,
    episodes: int = 600,
    adapter: Flag = False,
    group: str | None = None,
    seed: int = 0,
    set_: Settings = None,
    json: Flag = False,
    device: str = "auto",
) -> None:
    """Tell classes apart by a few labelled samples, beside raw features, PCA and no training.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        data: Labelled samples.
        label: Field that holds the class.
        ways: Classes of an episode.
        shots: Labelled samples of each class.
        queries: Samples of each class to be told apart.
        episodes: How many are drawn.
        adapter: Fit a linear map to each episode's labelled samples first.
        group: Field that says which samples belong together, e.g. to one person.
        seed: Of the episodes.
        set_: A setting of the reader as key=value, e.g. labels=labels.csv; may be repeated.
        json: Write JSON on standard output, and nothing else there.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.uses.fewshot.fewshot import fewshot as verb

    found = verb(
        run,
        data,
        label,
        ways=ways,
        shots=shots,
        queries=queries,
        episodes=episodes,
        adapter=adapter,
        group=group,
        seed=seed,
        settings=chosen(set_),
        device=device,
    )
    if json:
        print_json(found.to_dict())
        return
    rows = [
        [name, f"{mean:.3f} ({low:.3f} to {high:.3f})"] for name, mean, low, high in found.table
    ]
    rows.append(["chance", f"{found.chance:.3f}"])
    title = f"{found.ways} classes, {found.shots} labelled samples of each"
    print_table(title, ["representation", "accuracy"], rows)
    print_line(found.verdict)
