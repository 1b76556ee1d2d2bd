"""Is it learning? Numbers that need no labels and compare between modalities; bad batches, kept."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from metamae.core.atomic import make_folder, write_atomically
from metamae.model.tokens import Batch


def effective_rank(features: Tensor) -> float:
    """How many directions the features use, between 1 and min(S, D).

    The exponential of the entropy of the normalised singular values. A low number means that
    the encoder gives all samples nearly the same vector.

    Source: Garrido et al., RankMe, ICML 2023, arXiv:2210.02885, section 3.
    Differs: the mean is taken off first; otherwise one large common vector would hide the rest.

    Args:
        features: One vector per sample, (S, D).
    """
    values = torch.linalg.svdvals((features - features.mean(dim=0)).double())
    shares = values / values.sum().clamp(min=1e-12)
    entropy = -(shares * shares.clamp(min=1e-12).log()).sum()
    return float(entropy.exp())


def spread(features: Tensor) -> float:
    """Mean standard deviation of the features (S, D) over samples; 0 means collapse."""
    return float(features.double().std(dim=0, correction=0).mean())


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
