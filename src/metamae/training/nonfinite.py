"""Batches whose loss was not finite, kept for inspection."""

from pathlib import Path

from safetensors.torch import save_file

from metamae.core.atomic import make_folder, write_atomically
from metamae.model.tokens import Batch

MOST_KEPT = 20


def keep_batch(folder: Path, number: int, batch: Batch) -> None:
    """Write a batch to `batch-<number>.safetensors`; no more than 20 of them.

    Raises:
        ArtifactError: If it cannot be written.
    """
    make_folder(folder)
    if len(list(folder.iterdir())) >= MOST_KEPT:
        return
    tensors = {k: v.detach().cpu().contiguous() for k, v in batch.items()}
    write_atomically(
        folder / f"batch-{number:08d}.safetensors", lambda path: save_file(tensors, path)
    )
