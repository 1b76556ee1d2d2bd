"""Find the samples that are most like others."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metamae.core.atomic import make_folder, write_atomically
from metamae.core.checks import check_at_least
from metamae.core.registry import did_you_mean
from metamae.data.columns.base import Index
from metamae.data.records import Records, sample_names
from metamae.encoder.identity import identity_of
from metamae.encoder.pretrained import Pretrained, load, read_sound
from metamae.errors import ArtifactError, ConfigError, DataError
from metamae.evaluation.neighbours import Space, Vectors, nearest
from metamae.uses.outputs import check_out

log = logging.getLogger("metamae")
FOLDER = "search"  # of a run, where embeddings are stored


@dataclass(frozen=True)
class Found:
    """The nearest samples of each query.

    Attributes:
        source: The data set that was searched.
        queries: Names of the queries, Q.
        names: Names of the samples that were searched, S.
        positions: Of the hits, (Q, k), the most similar first.
        similarity: Cosine of each in the space of `nearest.Space`, (Q, k).
        stored: Where the embeddings are kept; None if nowhere.
        reused: Whether they were there already.
    """

    source: str
    queries: list[Any]
    names: list[Any]
    positions: Index
    similarity: NDArray[np.float32]
    stored: Path | None
    reused: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that JSON can hold."""
        return {
            "data": self.source,
            "stored": None if self.stored is None else str(self.stored),
            "reused": self.reused,
            "queries": [
                {
                    "query": query,
                    "hits": [
                        {"sample": self.names[at], "similarity": float(alike)}
                        for at, alike in zip(own.tolist(), near.tolist(), strict=True)
                    ],
                }
                for query, own, near in zip(
                    self.queries, self.positions, self.similarity, strict=True
                )
            ],
        }


def search(
    run: str | Path | Pretrained,
    data: Any,
    query: Any,
    out: str | Path | None = None,
    *,
    k: int = 10,
    store: str | Path | None = None,
    seed: int = 0,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    overwrite: bool = False,
    device: str = "auto",
) -> Found:
    """Find the samples of a data set that are nearest to others.

    The embeddings of the data set are computed once: they are stored, by default in the run's
    folder, under a name that follows from run, data and settings, and found there the next time.
    The search is exact. Of a sample of the data set itself, that sample is no hit.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Samples to search in.
        query: Names of samples of the data set as they are written to files (in a list, or one as
            text): a row's number, a file's name, or where samples have names how manieth of them,
            from 0; or other data: a file, or an object in memory.
        out: File to write: .parquet or .csv, a row per hit with query, rank, sample, position and
            similarity.
        k: Hits of each query.
        store: Folder for the embeddings; without it and with a loaded run nothing is stored.
        seed: Of the subsample that the spread of the embeddings is measured on.
        skip_bad: How many bad samples of each data set may be left out.
        settings: Settings of the reader by name, in place of those of the run.
        overwrite: Whether a file that is there may be replaced.
        device: Where to embed.

    Raises:
        ConfigError: If a setting is refused.
        DataError: If data do not fit the run, or a query is neither a sample nor a file.
        ArtifactError: If the run cannot be loaded, or the file cannot be written.
    """
    check_at_least("Search.k", k, 1)
    check_at_least("Search.seed", seed, 0)
    path = None if out is None else check_out(Path(out), (".parquet", ".csv"), overwrite, "Search")
    pretrained = run if isinstance(run, Pretrained) else load(run, device=device)
    records = pretrained.records(read_sound(pretrained, data, skip_bad, settings))
    names = sample_names(records)
    itself, others = _queries(pretrained, query, names, skip_bad, settings)
    folder = Path(store) if store is not None else None
    if folder is None and not isinstance(run, Pretrained):
        folder = Path(run) / FOLDER
    vectors, place, reused = _embedded(pretrained, data, records, folder, settings)
    if others is None:
        assert itself is not None
        asked, shown = np.asarray(vectors[itself]), [names[at] for at in itself.tolist()]
    else:
        asked, shown = _embed(pretrained, others), sample_names(others)
    positions, similarity = nearest(asked, vectors, Space(vectors, seed), k, itself)
    found = Found(records.source, shown, names, positions, similarity, place, reused)
    if path is not None:
        write_atomically(path, lambda place: _write(place, path.suffix.lower(), found))
    return found


def _queries(
    pretrained: Pretrained,
    query: Any,
    names: list[Any],
    skip_bad: int,
    settings: Mapping[str, Any] | None,
) -> tuple[Index | None, Records | None]:
    """Positions of queries that are samples of the data set, or the samples of other data."""
    asked = _texts(query)
    if asked is None:
        other = read_sound(pretrained, query, skip_bad, settings)
        return None, pretrained.records(other)
    known = {str(name): at for at, name in enumerate(names)}
    if names and isinstance(names[0], str):
        # Who does not know the names can say how manieth; a name of that form goes first.
        known = {str(at): at for at in range(len(names))} | known
    missing = [text for text in asked if text not in known]
    if not missing:
        if not asked:
            raise ConfigError("Search.query must name a sample or a file; got nothing.")
        return np.array([known[text] for text in asked]), None
    if len(asked) == 1 and (Path(asked[0]).exists() or any(c in asked[0] for c in "*?/\\")):
        return None, pretrained.records(read_sound(pretrained, asked[0], skip_bad, settings))
    if names and not isinstance(names[0], str):
        hint = f" Its rows are numbered {min(names)} to {max(names)}, as in its file."
    else:
        hint = did_you_mean(missing[0], [str(name) for name in names[:20]])
    raise DataError(
        f"Search.query must be a sample of the data set, by its number or its file's name, or a "
        f"file; got {missing[0]!r}.{hint}"
    )


def _texts(query: Any) -> list[str] | None:
    """Queries that may be names of samples; None for what can only be data."""
    if isinstance(query, str | int | np.integer | Path):
        return [str(query)]
    if isinstance(query, Sequence) and all(isinstance(q, str | int | np.integer) for q in query):
        return [str(q) for q in query]
    return None


def _embed(pretrained: Pretrained, records: Records) -> Vectors:
    vectors = pretrained.embed(records)
    assert isinstance(vectors, np.ndarray)
    return vectors


def _embedded(
    pretrained: Pretrained,
    data: Any,
    records: Records,
    folder: Path | None,
    settings: Mapping[str, Any] | None,
) -> tuple[Vectors, Path | None, bool]:
    """The embeddings of a data set, where they are stored, and whether they were there."""
    if folder is None:
        return _embed(pretrained, records), None, False
    identity = identity_of(pretrained, data, records, tokens=False, settings=settings)
    mark = hashlib.blake2b(json.dumps(identity, sort_keys=True).encode(), digest_size=12)
    path = folder / f"{mark.hexdigest()}.npy"
    stored = _read(path, len(records))
    if stored is not None:
        return stored, path, True
    vectors = _embed(pretrained, records)
    try:
        make_folder(folder)
        write_atomically(path, lambda place: _save(place, vectors))
    except ArtifactError as error:
        # A run may be shared and read-only; what is found is worth no less.
        log.warning("the embeddings were not stored: %s", error)
        return vectors, None, False
    return vectors, path, False


def _read(path: Path, num: int) -> Vectors | None:
    """Stored embeddings, mapped from disk; None if there are none, or they are damaged."""
    if not path.is_file():
        return None
    try:
        vectors: Vectors = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        log.warning("%s was damaged and is written anew: %s", path, error)
        return None
    return vectors if vectors.ndim == 2 and len(vectors) == num else None


def _save(path: Path, vectors: Vectors) -> None:
    with path.open("wb") as file:
        np.save(file, vectors)


def _write(path: Path, kind: str, found: Found) -> None:
    import pyarrow as pa

    Q, k = found.positions.shape
    table = pa.table(
        {
            "query": [name for name in found.queries for _ in range(k)],
            "rank": np.tile(np.arange(1, k + 1), Q),
            "sample": [found.names[at] for at in found.positions.ravel().tolist()],
            "position": found.positions.ravel(),
            "similarity": found.similarity.ravel(),
        }
    )
    if kind == ".csv":
        from pyarrow import csv

        csv.write_csv(table, path)
    else:
        import pyarrow.parquet as pq

        pq.write_table(table, path)
