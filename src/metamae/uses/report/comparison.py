"""Write a page about several runs beside each other."""

import os
import tomllib
from collections.abc import Sequence
from pathlib import Path

from metamae.core.atomic import write_text_atomically
from metamae.errors import ConfigError
from metamae.pages.compare import Run, flatten, write_comparison
from metamae.run.folder import read_metrics, read_results, read_run
from metamae.uses.outputs import PAGE_KINDS, check_out

COMPARISON = "comparison.html"
MOST_RUNS = 12


def compare(
    runs: Sequence[str | Path], out: str | Path | None = None, *, overwrite: bool = False
) -> Path:
    """Write one self-contained page about several runs: settings, scores, curves.

    Args:
        runs: Folders of runs, 2 to 12.
        out: File to write; `comparison.html` in the working folder if not given.
        overwrite: Whether a file that is there may be replaced.

    Returns:
        The file.

    Raises:
        ConfigError: If there are too few or too many runs.
        ArtifactError: If a folder is no run, or the file cannot be written.
    """
    if not 2 <= len(runs) <= MOST_RUNS:
        raise ConfigError(f"Report.runs must be 2 to {MOST_RUNS} to compare; got {len(runs)}.")
    page = Path(COMPARISON if out is None else out)
    path = check_out(page, PAGE_KINDS, overwrite, "Report")
    folders = [Path(run) for run in runs]
    found = []
    for name, folder in zip(_names(folders), folders, strict=True):
        config, _ = read_run(folder)
        text = config.to_toml()
        settings = flatten(tomllib.loads(text))
        found.append(Run(name, settings, read_metrics(folder), read_results(folder), text))
    write_text_atomically(path, write_comparison(found))
    return path


def _names(folders: Sequence[Path]) -> list[str]:
    """What differs between paths, or numbers where nothing does."""
    whole = [folder.resolve() for folder in folders]
    names = [folder.name for folder in whole]
    if len(set(names)) < len(names):
        above = Path(os.path.commonpath(whole))
        names = [str(folder.relative_to(above)) for folder in whole]
    if len(set(names)) < len(names):
        names = [f"{name} ({number})" for number, name in enumerate(names, start=1)]
    return names
