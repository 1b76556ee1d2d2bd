"""Turn samples into vectors and write them to a file."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metamae.atomic import write_atomically
from metamae.embedding import Progress, Vectors
from metamae.errors import ArtifactError, ConfigError
from metamae.pretrained import Pretrained, load, read_sound
from metamae.records import Records
from metamae.registry import did_you_mean


def embed(
    run: str | Path | Pretrained,
    data: Any,
    out: str | Path | None = None,
    *,
    tokens: bool = False,
    overwrite: bool = False,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    progress: Progress | None = None,
) -> Vectors | list[Vectors]:
    """Embed samples: nothing is hidden and nothing drawn.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Samples like those of the training.
        out: File to write: .npy holds the array; .npz "X" and "sample" (with `tokens` also
            "offsets": sample s has rows offsets[s] to offsets[s + 1]); .parquet and .csv a
            column "sample" (with `tokens` also "token") and a column per dimension.
        tokens: One vector per token instead of one per sample.
        overwrite: Whether a file that is there may be replaced.
        skip_bad: How many bad samples may be left out; the names of the others tell which.
        settings: Settings of the reader by name, in place of those of the run.
        device: Where to compute.
        progress: Called now and then with the samples done and their number.

    Returns:
        (S, D) float32; with `tokens` a list of S arrays (N, D).

    Raises:
        ConfigError: If the kind of file is unknown or cannot hold tokens, or a setting is refused.
        DataError: If the data do not fit the run's schema.
        ArtifactError: If the run cannot be loaded, or the file cannot be written.
    """
    path = None if out is None else Path(out)
    if path is not None:
        _check_out(path, overwrite)
    pretrained = run if isinstance(run, Pretrained) else load(run, device=device)
    records = pretrained.records(read_sound(pretrained, data, skip_bad, settings))
    vectors = pretrained.embed(records, tokens=tokens, progress=progress)
    if path is not None:
        write = WRITERS[path.suffix.lower()]
        names = sample_names(records)
        write_atomically(path, lambda temporary: write(temporary, vectors, names))
    return vectors


def sample_names(records: Records) -> list[Any]:
    """Name every sample as its source does: file names, or numbers."""
    origin = range(len(records)) if records.index is None else records.index[:].tolist()
    if records.names is not None:
        return [records.names[i] for i in origin]
    return [i + records.first_row for i in origin]


def _check_out(path: Path, overwrite: bool) -> None:
    if path.suffix.lower() not in WRITERS:
        raise ConfigError(
            f"Embed.out must end in a known kind of file; got {str(path)!r}."
            f"{did_you_mean(path.suffix, WRITERS)}"
        )
    if path.exists() and not overwrite:
        raise ArtifactError(
            f"{path} must not exist yet; it does. --overwrite replaces it, another --out keeps it."
        )
    if not path.parent.is_dir():
        raise ArtifactError(f"{path} must lie in a folder; {path.parent} is none. Make it first.")


def _write_npy(path: Path, vectors: Vectors | list[Vectors], names: list[Any]) -> None:
    if isinstance(vectors, list):
        if len({len(v) for v in vectors}) > 1:
            raise ConfigError(
                "Embed.out must be .npz, .parquet or .csv for samples of different numbers of "
                "tokens; got .npy. .npz would do."
            )
        vectors = np.stack(vectors)
    with path.open("wb") as file:
        np.save(file, vectors)


def _write_npz(path: Path, vectors: Vectors | list[Vectors], names: list[Any]) -> None:
    arrays: dict[str, Any] = {"sample": np.array(names)}
    if isinstance(vectors, list):
        arrays["offsets"] = np.cumsum([0, *(len(v) for v in vectors)])
        vectors = np.concatenate(vectors)
    with path.open("wb") as file:
        np.savez(file, X=vectors, **arrays)


def _table(vectors: Vectors | list[Vectors], names: list[Any]) -> Any:
    import pyarrow as pa

    columns: dict[str, Any] = {"sample": names}
    if isinstance(vectors, list):
        columns["sample"] = [n for n, v in zip(names, vectors, strict=True) for _ in v]
        columns["token"] = np.concatenate([np.arange(len(v)) for v in vectors])
        vectors = np.concatenate(vectors)
    columns |= {f"e{d}": vectors[:, d] for d in range(vectors.shape[1])}
    return pa.table(columns)


def _write_parquet(path: Path, vectors: Vectors | list[Vectors], names: list[Any]) -> None:
    import pyarrow.parquet as pq

    pq.write_table(_table(vectors, names), path)


def _write_csv(path: Path, vectors: Vectors | list[Vectors], names: list[Any]) -> None:
    from pyarrow import csv

    csv.write_csv(_table(vectors, names), path)


WRITERS: dict[str, Callable[[Path, Vectors | list[Vectors], list[Any]], None]] = {
    ".npy": _write_npy,
    ".npz": _write_npz,
    ".parquet": _write_parquet,
    ".csv": _write_csv,
}
