"""What the commands share: results on standard output, all else on standard error."""

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import Parameter

from metamae.core.registry import Registry

if TYPE_CHECKING:
    from rich.progress import Progress

    from metamae.uses.evaluate import Assessment

Command = TypeVar("Command", bound=Callable[..., Any])
Names = Annotated[list[str] | None, Parameter(negative="", consume_multiple=False)]
Settings = Annotated[Names, Parameter(name="--set")]
Flag = Annotated[bool, Parameter(negative="")]


def naming(**tables: Registry) -> Callable[[Command], Command]:
    """Put the names of plug-ins into the help of a command: "{methods}" becomes "a, b or c".

    Those of other packages are left to `metamae list`, since to look for them takes time.
    """

    def name(command: Command) -> Command:
        assert command.__doc__ is not None
        for word, table in tables.items():
            *most, last = table.own
            command.__doc__ = command.__doc__.replace(f"{{{word}}}", f"{', '.join(most)} or {last}")
        return command

    return name


def chosen(assignments: Names, **named: Any) -> dict[str, Any]:
    """Return the settings of a command line: those of --set, then the options that were given."""
    from metamae.run.config import parse_assignments

    return parse_assignments(assignments or []) | {k: v for k, v in named.items() if v is not None}


def fail(message: str) -> None:
    """Write an error message."""
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text.assemble(("error:", "bold red"), f" {message}"), soft_wrap=True)


class StderrHandler(logging.Handler):
    """Writes to standard error as it is now: a progress bar puts itself in between."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")


def show_log() -> None:
    """Let the package's log appear on standard error."""
    logger = logging.getLogger("metamae")
    logger.setLevel(logging.INFO)
    if not logger.handlers:
        logger.addHandler(StderrHandler())
        logger.propagate = False


@contextmanager
def progress_bar(description: str) -> Iterator["Progress"]:
    """Show a bar on standard error while it is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as bar:
        bar.add_task(description, total=1.0, note="")
        yield bar


def print_json(value: Any) -> None:
    """Write JSON, and nothing else, on standard output."""
    import json

    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def print_line(text: str = "") -> None:
    """Write a line on standard output."""
    sys.stdout.write(text + "\n")


def print_table(title: str, header: list[str], rows: list[list[str]]) -> None:
    """Write a table on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # As texts, for a field may be called "[red]" or ":x:".
    table = Table()
    for number, name in enumerate(header):
        side: Literal["left", "right"] = "left" if number == 0 else "right"
        table.add_column(Text(name), justify=side, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    width = None if sys.stdout.isatty() else 120
    console = Console(width=width)
    # By way of a text, because rich ends the program where the reader of its output has gone.
    with console.capture() as text:
        console.print(table)
    sys.stdout.write(f"{title}\n{text.get()}")


def print_assessment(found: "Assessment") -> None:
    """Write a table for each evaluation, then the verdict and the notes."""
    for judgement in found.judgements:
        first = judgement.results[0]
        budgets = list(dict.fromkeys(r.labels for r in judgement.results))
        scores = {(r.representation, r.labels): r for r in judgement.results}
        rows = []
        for name in dict.fromkeys(r.representation for r in judgement.results):
            cells = (scores[name, budget] for budget in budgets)
            rows.append(
                [
                    name,
                    *(
                        f"{r.score:.3f}  ({r.interval[0]:.3f} to {r.interval[1]:.3f})"
                        for r in cells
                    ),
                ]
            )
        rows.append(["chance", *(f"{scores[first.representation, b].chance:.3f}" for b in budgets)])
        title = (
            f"{found.source}: {first.evaluation}, {first.metric} on {first.num_test} test samples"
        )
        header = ["", *(f"{b} labels (95 % interval)" if b == "all" else b for b in budgets)]
        print_table(title, header, rows)
    print_line(found.sentence)
    for note in found.notes:
        print_line(f"Note: {note}.")
