"""`metamae search`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from metamae.cli.console import (
    Flag,
    Settings,
    chosen,
    print_json,
    print_line,
    print_table,
    show_log,
)

MOST_SHOWN = 10  # queries whose hits are shown


def search(
    run: Path,
    data: str,
    *,
    query: Annotated[list[str], Parameter(negative="", consume_multiple=False)],
    k: int = 10,
    out: Path | None = None,
    store: Path | None = None,
    overwrite: Flag = False,
    skip_bad: int = 0,
    set_: Settings = None,
    json: Flag = False,
    device: str = "auto",
) -> None:
    """Find the samples that are nearest to others; embeddings are computed once and stored.

    Args:
        run: Folder that was --out of `metamae pretrain`.
        data: Samples to search in.
        query: A sample of DATA by its row's number (the first below the header of a CSV file is 2)
            or file's name, as in the files that metamae writes, and may be repeated; or a file of
            other samples.
        k: Hits of each query.
        out: A .parquet or .csv file, a row per hit.
        store: Folder for the embeddings; the folder "search" of RUN if not given.
        overwrite: Replace the file if it is there.
        skip_bad: Bad samples that may be left out; more of them stop the command.
        set_: A setting of the reader as key=value, e.g. delimiter=tab; may be repeated.
        json: Write JSON on standard output, and nothing else there.
        device: cpu, cuda, or auto.
    """
    show_log()
    from metamae.uses.search.search import search as verb

    found = verb(
        run,
        data,
        query,
        out,
        k=k,
        store=store,
        skip_bad=skip_bad,
        settings=chosen(set_),
        overwrite=overwrite,
        device=device,
    )
    if json:
        print_json(found.to_dict())
        return
    for query_, own, near in list(
        zip(found.queries, found.positions, found.similarity, strict=True)
    )[:MOST_SHOWN]:
        rows = [
            [str(found.names[at]), f"{alike:.3f}"]
            for at, alike in zip(own.tolist(), near.tolist(), strict=True)
        ]
        print_table(f"nearest to {query_} in {found.source}", ["sample", "cosine"], rows)
    if len(found.queries) > MOST_SHOWN:
        print_line(f"and the hits of {len(found.queries) - MOST_SHOWN} more; --out writes all.")
    if found.stored is not None:
        verb_ = "were read from" if found.reused else "are stored in"
        print_line(f"Embeddings of {found.source} {verb_} {found.stored}.")
