"""Samples in the forms in which a report shows them: whole, and with predictions of a part."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.methods.base import Reconstruction
from metamae.modalities.base import Modality
from metamae.modalities.form import Form
from metamae.model.tokenizer import Leaf, Tokenizer
from metamae.model.tokens import Batch
from metamae.pages.form import Guess, Sample, Seen
from metamae.training.batches import to_device

AT_ONCE = 64  # samples that are read at once
Parts = list[tuple[Form, Any]]


def first_pieces(pretrained: Pretrained, inputs: Records, index: Index) -> tuple[Records, Index]:
    """Return what is shown of some samples: each whole, or the first window of a long one.

    Args:
        pretrained: The run.
        inputs: Samples, with the columns that are input only.
        index: Positions among them.

    Returns:
        Records, and positions among them in the order of `index`.
    """
    pieces, owner = pretrained.schema.modality.unfold(inputs.subset(index))
    if owner is None:
        return pieces, np.arange(len(index))
    return pieces, owner.searchsorted(np.arange(len(index)))


def see_whole(
    pretrained: Pretrained, inputs: Records, index: Index
) -> Iterator[tuple[int, Sample, int]]:
    """Read samples as they are shown, a few at a time.

    Yields:
        Position, sample, and how many numbers were read for it.
    """
    spec, tokenizer = pretrained.schema.modality, pretrained.module.backbone.tokenizer
    device = next(pretrained.module.parameters()).device
    for start in range(0, len(index), AT_ONCE):
        some = index[start : start + AT_ONCE]
        pieces, at = first_pieces(pretrained, inputs, some)
        batch = to_device(spec.batch(pieces, at), device)
        cost = sum(v.numel() for v in batch.values()) // len(some)
        for position, parts in zip(some.tolist(), show(spec, tokenizer, batch), strict=True):
            yield position, Sample("", tuple(parts)), cost


def see_partly(pretrained: Pretrained, inputs: Records, seed: int) -> list[list[Seen]]:
    """Hide a part of each sample and predict it.

    Args:
        pretrained: The run.
        inputs: Samples, few enough for one batch.
        seed: Of the choice of what is hidden.

    Returns:
        For each sample its parts, without fields of a mixture that are missing.

    Raises:
        ConfigError: If the method has no decoder.
        DataError: If a sample does not fit the schema.
    """
    spec, module = pretrained.schema.modality, pretrained.module
    device = next(module.parameters()).device
    pieces, at = first_pieces(pretrained, inputs, np.arange(len(inputs)))
    batch = to_device(spec.batch(pieces, at), device)
    module.eval()
    found = module.reconstruct(batch, torch.Generator(device).manual_seed(seed))
    rows: list[list[Seen]] = [[] for _ in found.hidden]
    with torch.no_grad():
        for leaf in module.backbone.tokenizer.leaves(batch):
            name, own = spec.leaves[leaf.number]
            seen = _seen(own.form(name), leaf, found)
            for row in leaf.present.nonzero().flatten().tolist():
                rows[row].append(seen[row])
    return rows


def show(spec: Modality, tokenizer: Tokenizer, batch: Batch) -> list[Parts]:
    """Turn samples of a batch into the values that are shown, one list of parts per sample."""
    rows: list[Parts] = [[] for _ in next(iter(batch.values()))]
    for leaf in tokenizer.leaves(batch):
        name, own = spec.leaves[leaf.number]
        form, values = own.form(name), leaf.tokenizer.shown(leaf.batch)
        for row in leaf.present.nonzero().flatten().tolist():
            rows[row].append((form, values[row]))
    return rows


def _seen(form: Form, leaf: Leaf, found: Reconstruction) -> list[Seen]:
    """One field of all samples of a batch, and what is predicted for it."""
    original = leaf.tokenizer.elements(leaf.batch)
    hidden = leaf.tokenizer.spread(found.hidden[:, leaf.range], leaf.batch)
    before = _guesses(leaf, found.before)
    after = [None] * len(before) if found.after is None else _guesses(leaf, found.after)
    rows = zip(original, hidden, before, after, strict=True)
    return [Seen(form, o, h, b, a) for o, h, b, a in rows]


def _guesses(leaf: Leaf, predicted: torch.Tensor) -> list[Guess]:
    guesses = leaf.tokenizer.guesses(leaf.complete(predicted), leaf.batch)
    return [Guess(values, chances) for values, chances in guesses]
