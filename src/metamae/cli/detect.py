"""`metamae detect`."""

from pathlib import Path
from typing import TYPE_CHECKING

from metamae.cli.console import (
    Flag,
    Names,
    Settings,
    chosen,
    naming,
    print_json,
    print_line,
    print_table,
    show_log,
)
from metamae.uses.detect.detectors import DETECTORS

if TYPE_CHECKING:
    from metamae.uses.detect.result import Detected


@naming(detectors=DETECTORS)
def detect(  # noqa: PLR0913  # one argument per option of the command
    run: Path,
    data: str,
    *,
    out: Path | None = None,
    normal: str | None = None,
    by: Names = None,
    label: str | None = None,
    normal_value: str | None = None,
    group: str | None = None,
    false_alarms: float = 0.01,
    seed: int = 0,
    page: Path | None = None,
    strangest: int | None = None,
    overwrite: Flag = False,
    skip_bad: int = 0,
    set_: Settings = None,
    json: Flag = False,
    device: str = "auto",
) -> None:
    """Score how unlike the normal samples others are, as a whole and token by token.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        data: Samples to score.
        out: A .parquet file for scores, alarms and scores of tokens, or a .csv without the last.
        normal: Normal samples; the training data of the run if not given.
        by: {detectors}; may be repeated; all if not given.
        label: Field that says which samples are normal; the scores are then measured.
        normal_value: Value of the label that means normal; 0 if not given.
        group: Field that says which samples belong together, e.g. to one machine.
        false_alarms: Share of normal samples that may be reported.
        seed: Of every draw.
        page: An .html file: scores, and the strangest samples with their strangeness as colours.
        strangest: Samples on the page (12).
        overwrite: Replace files that are there.
        skip_bad: Bad samples that may be left out; more of them stop the command.
        set_: A setting of the reader as key=value, e.g. labels=new.csv; may be repeated.
        json: Write JSON on standard output, and nothing else there.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.uses.detect.detect import detect as verb

    found = verb(
        run,
        data,
        out,
        normal=normal,
        by=by or ("all",),
        label=label,
        normal_value=normal_value,
        group=group,
        false_alarms=false_alarms,
        seed=seed,
        skip_bad=skip_bad,
        settings=chosen(set_),
        page=page,
        strangest=strangest,
        overwrite=overwrite,
        device=device,
    )
    if json:
        print_json(found.to_dict())
    else:
        _show(found)


def _show(found: "Detected") -> None:
    """Write a row for each detector and baseline, the strangest samples, and the notes."""
    from metamae.uses.detect.result import table_of

    header, rows = table_of(found)
    alarm = next(iter(found.all.values())).alarm
    print_table(
        f"{found.source}: {len(found.names)} samples; at most {alarm.false_alarms:.2%} false "
        f"alarms, from {alarm.num_normal} normal samples beside the {found.num_fitted} learnt from",
        header,
        rows,
    )
    first = next(iter(found.findings))
    names = ", ".join(str(found.names[at]) for at in found.strangest())
    print_line(f"Strangest by {first}: {names}.")
    if found.unusual is not None:
        print_line(f"{int(found.unusual.sum())} samples are labelled as not normal.")
    for note in found.notes:
        print_line(f"Note: {note}.")
