"""Turn samples into vectors and write them to a file."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metamae.core.checks import check_one_of
from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.encoder.embedding import Part, Progress, Vectors, embed_parts
from metamae.encoder.identity import identity_of
from metamae.encoder.pretrained import Pretrained, read_sound, take
from metamae.errors import ConfigError
from metamae.training.device import PRECISIONS
from metamae.uses.embed.partial_file import Unfinished
from metamae.uses.embed.vector_files import WRITERS, Held, TokenVectors
from metamae.uses.outputs import check_out


def embed(
    run: str | Path | Pretrained,
    data: Any,
    out: str | Path | None = None,
    *,
    tokens: bool = False,
    overwrite: bool = False,
    skip_bad: int = 0,
    settings: Mapping[str, Any] | None = None,
    adapted: bool = False,
    precision: str = "float32",
    device: str = "auto",
    progress: Progress | None = None,
) -> Vectors | list[Vectors] | TokenVectors:
    """Embed samples: nothing is hidden and nothing drawn.

    With `out`, memory does not grow with the number of samples: vectors wait in the folder
    `<out>.partial`, and the file appears when it is whole. After a stop, even a kill, the same
    call goes on, and its file is the same bit for bit (on a CPU with as many threads). A file
    other than .npy needs that much room on the disk twice.

    Args:
        run: Folder of a run, or what `load` returned.
        data: Samples like those of the training.
        out: File to write: .npy holds the array; .npz "X" and "sample" (with `tokens` also
            "offsets": sample s has rows offsets[s] to offsets[s + 1]); .parquet and .csv a
            column "sample" (with `tokens` also "token") and a column per dimension.
        tokens: One vector per token instead of one per sample.
        overwrite: Whether a file that is there may be replaced, and the beginning of another
            embedding in `<out>.partial` removed.
        skip_bad: How many bad samples may be left out; the names of the others tell which.
        settings: Settings of the reader by name, in place of those of the run.
        adapted: Whether to embed after the method's inner step, which all tokens support; vectors
            then depend on the samples beside them in their last digits.
        precision: "float32", "bfloat16", or "auto" for the faster: bfloat16 on a GPU, and on a CPU
            with a unit for it (AMX) for networks at least 128 wide. Its vectors are rounded.
        device: Where to compute.
        progress: Called now and then with the samples done and their number.

    Returns:
        (S, D) float32; with `tokens` a list of S arrays (N, D). With `out` the same mapped from
        disk, to be read and not written: an array, or a sequence of arrays.

    Raises:
        ConfigError: If the kind of file is unknown or cannot hold tokens, or a setting is refused.
        DataError: If the data do not fit the run's schema. With `out`, the vectors of the samples
            before the one to blame are kept.
        ArtifactError: If the run cannot be loaded, the file cannot be written, or `<out>.partial`
            holds something else or is being written by another process.
    """
    path = None if out is None else Path(out)
    if path is not None:
        check_out(path, list(WRITERS), overwrite, "Embed")
    check_one_of("Embed.precision", precision, PRECISIONS)
    pretrained = take(run, adapted=adapted, device=device)
    records = pretrained.records(read_sound(pretrained, data, skip_bad, settings))
    if path is None:
        return pretrained.embed(records, tokens=tokens, precision=precision, progress=progress)
    identity = identity_of(
        pretrained, data, records, tokens=tokens, precision=precision, settings=settings
    )
    backbone, spec = pretrained.encoder, pretrained.schema.modality
    width = backbone.tokenizer.width if tokens else pretrained.embedding_width
    with Unfinished(path, identity, width=width, anew=overwrite) as partial:
        done = partial.state.samples
        parts = embed_parts(
            backbone,
            spec,
            records,
            tokens=tokens,
            start=done,
            precision=precision,
            progress=progress,
        )
        alike = _Alike(partial.counts()[:1]) if tokens and path.suffix.lower() == ".npy" else None
        for part in parts:
            if alike is not None and not alike.takes(part):
                partial.clear()
                raise ConfigError(
                    "Embed.out must be .npz, .parquet or .csv for samples of different numbers of "
                    "tokens; got .npy. .npz would do."
                )
            partial.add(part)
        return _finish(path, partial, records, tokens)


class _Alike:
    """Notices when samples differ in their number of tokens; `counts` are known ones, (K,)."""

    def __init__(self, counts: Index):
        self.counts = counts

    def takes(self, part: Part) -> bool:
        assert part.counts is not None
        self.counts = np.unique(np.concatenate([self.counts, part.counts]))
        return len(self.counts) == 1


def _finish(
    path: Path, partial: Unfinished, records: Records, tokens: bool
) -> Vectors | TokenVectors:
    """Make the file of the rows, and return them as they lie on disk."""
    write = WRITERS[path.suffix.lower()]
    num, width = partial.state.rows, partial.state.width
    if write is None:
        shape = (len(records), num // len(records), width) if tokens else (num, width)
        partial.close_rows(shape)
        partial.put(None)
        partial.clear()
        vectors: Vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        return vectors
    offsets = np.concatenate([[0], np.cumsum(partial.counts())]) if tokens else None
    held = Held(partial.close_rows((num, width)), records, offsets)
    mapped = held.vectors
    partial.put(lambda file: write(file, held))
    # What is mapped stays on the disk, without a name, until the caller drops it.
    partial.clear()
    return mapped
