"""`metamae impute`."""

from pathlib import Path
from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from metamae.uses.impute.checking import Error
    from metamae.uses.impute.impute import Imputed

MOST_ROWS = 40  # of a table of columns


def impute(
    run: Path,
    data: str,
    *,
    out: Path | None = None,
    blank: str | None = None,
    check: Flag = False,
    pattern: Names = None,
    seed: int = 0,
    overwrite: Flag = False,
    skip_bad: int = 0,
    set_: Settings = None,
    json: Flag = False,
    device: str = "auto",
) -> None:
    """Fill missing cells, points, channels and letters, in the user's units.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        data: Samples with gaps: NaN, an empty cell, an unknown letter.
        out: A .csv, .tsv, .parquet, .npy or .npz file; in the form of DATA all else stays.
        blank: A letter or code that stands for an unknown one, e.g. N.
        check: Hide known values, fill them, and show how far off that is beside simple guesses.
        pattern: What the check hides: cells, spans or columns; may be repeated; all if not given.
        seed: Of the check.
        overwrite: Replace the file if it is there.
        skip_bad: Bad samples that may be left out; more of them stop the command.
        set_: A setting of the reader as key=value, e.g. delimiter=tab; may be repeated.
        json: Write JSON on standard output, and nothing else there.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.uses.impute.holes import PATTERNS
    from metamae.uses.impute.impute import impute as verb

    found = verb(
        run,
        data,
        out,
        blank=blank,
        patterns=(pattern or PATTERNS) if check or pattern else (),
        seed=seed,
        skip_bad=skip_bad,
        settings=chosen(set_),
        overwrite=overwrite,
        device=device,
    )
    if json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(found: "Imputed") -> None:
    total = sum(found.counts.values())
    print_line(f"{found.source}: {total} missing values filled.")
    for name, count in list(found.counts.items())[:MOST_ROWS]:
        print_line(f"  {name}: {count}")
    for reason, count in found.left.items():
        print_line(f"Not filled {reason}: {count}.")
    for pattern in dict.fromkeys(error.pattern for error in found.errors):
        _show_errors(pattern, [error for error in found.errors if error.pattern == pattern])
    for line in found.verdicts:
        print_line(f"{line}.")
    for note in found.notes:
        print_line(f"Note: {note}.")


def _show_errors(pattern: str, errors: "list[Error]") -> None:
    """Write a row per column and a column per way of filling."""
    methods = list(dict.fromkeys(error.method for error in errors))
    cells = {(error.column, error.method): error for error in errors}
    names = list(dict.fromkeys(error.column for error in errors))
    whole = [name for name in names if name.endswith(("all numbers", "all words"))]
    shown = [name for name in names if name not in whole][:MOST_ROWS] + whole
    rows = []
    for name in shown:
        own = [cells.get((name, method)) for method in methods]
        rows.append([name, *("-" if error is None else _cell(error) for error in own)])
    title = (
        f"{pattern} hidden: RMSE in the user's units (in standard deviations), or the share of "
        f"words that are right"
    )
    print_table(title, ["", *methods], rows)


def _cell(error: "Error") -> str:
    if error.normalised != error.normalised:
        return f"{error.accuracy:.1%}"
    if error.rmse != error.rmse:
        return f"({error.normalised:.3f})"
    return f"{error.rmse:.4g} ({error.normalised:.3f})"
