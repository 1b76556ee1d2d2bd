"""Samples of every modality in the forms in which a report shows them.

This is the one place behind the tokens that asks what the data are: a page must.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metamae.data.columns.base import Array, Index
from metamae.data.records import Records
from metamae.encoder.pretrained import Pretrained
from metamae.methods.base import Reconstruction
from metamae.modalities.base import Modality
from metamae.modalities.mixture.mixture import Mixture, MixtureTokenizer
from metamae.modalities.mixture.slots import find_slots
from metamae.modalities.symbols.symbols import Symbols, SymbolsTokenizer
from metamae.modalities.symbols.units import UNKNOWN
from metamae.modalities.table.table import TableTokenizer
from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch
from metamae.pages.form import Form, Guess, Sample, Seen
from metamae.training.batches import to_device
from metamae.uses.forms import form_of

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
        For each sample its parts.

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
    with torch.no_grad():
        return _seen(spec, module.backbone.tokenizer, batch, found)


def show(spec: Modality, tokenizer: Tokenizer, batch: Batch, part: str = "") -> list[Parts]:
    """Turn samples of a batch into the values that are shown, one list of parts per sample."""
    if isinstance(spec, Mixture):
        assert isinstance(tokenizer, MixtureTokenizer)
        rows: list[Parts] = [[] for _ in next(iter(batch.values()))]
        for slot in find_slots(spec.fields, batch):
            name, own = spec.parts[slot.number]
            shown = show(own, tokenizer.tokenizers[slot.number], slot.batch, name)
            for row in slot.weight.any(dim=1).nonzero().flatten().tolist():
                rows[row] += shown[row]
        return rows
    form = form_of(spec, part)
    if isinstance(spec, Symbols):
        unit = spec.vocabulary.unit
        return [[(form, unit.join(symbols))] for symbols in _symbols(spec, batch)]
    return [[(form, value)] for value in tokenizer.original(batch)]


def _seen(
    spec: Modality, tokenizer: Tokenizer, batch: Batch, found: Reconstruction, part: str = ""
) -> list[list[Seen]]:
    if isinstance(spec, Mixture):
        return _seen_fields(spec, tokenizer, batch, found)
    guess: Callable[[Tensor], list[Guess]]
    if isinstance(spec, Symbols):
        assert isinstance(tokenizer, SymbolsTokenizer)
        names = [spec.vocabulary.unit.join([symbol]) for symbol in spec.alphabet]
        original: Any = [
            [UNKNOWN if symbol is None else spec.vocabulary.unit.join([symbol]) for symbol in own]
            for own in _symbols(spec, batch)
        ]
        guess = _guess_symbols(tokenizer, names)
    else:
        original = tokenizer.original(batch)
        guess = _guess_values(tokenizer, batch)
    form, hidden = form_of(spec, part), tokenizer.spread(found.hidden, batch)
    before = guess(found.before)
    after = [None] * len(before) if found.after is None else guess(found.after)
    rows = zip(original, hidden, before, after, strict=True)
    return [[Seen(form, o, h, b, a)] for o, h, b, a in rows]


def _seen_fields(
    spec: Mixture, tokenizer: Tokenizer, batch: Batch, found: Reconstruction
) -> list[list[Seen]]:
    """The parts of samples of a mixture, without those that are missing."""
    assert isinstance(tokenizer, MixtureTokenizer)
    rows: list[list[Seen]] = [[] for _ in found.hidden]
    for slot in find_slots(spec.fields, batch):
        head, at = tokenizer.heads[slot.number], slot.range
        after = None if found.after is None else head(found.after[:, at])
        own = Reconstruction(found.hidden[:, at], head(found.before[:, at]), after)
        name, part = spec.parts[slot.number]
        seen = _seen(part, tokenizer.tokenizers[slot.number], slot.batch, own, name)
        for row in slot.weight.any(dim=1).nonzero().flatten().tolist():
            rows[row] += seen[row]
    return rows


def _symbols(spec: Symbols, batch: Batch) -> list[list[str | int | None]]:
    """The symbols of each sample up to its last one, None for an unknown one."""
    codes = batch["codes"].cpu()
    valid = batch["valid"].cpu() if "valid" in batch else torch.ones_like(codes, dtype=torch.bool)
    rows: list[list[str | int | None]] = []
    for own, known in zip(codes.tolist(), valid.tolist(), strict=True):
        end = max((n + 1 for n, is_known in enumerate(known) if is_known), default=0)
        rows.append([spec.alphabet[own[n]] if known[n] else None for n in range(end)])
    return rows


def _guess_symbols(
    tokenizer: SymbolsTokenizer, names: list[str]
) -> Callable[[Tensor], list[Guess]]:
    def guess(predicted: Tensor) -> list[Guess]:
        best = tokenizer.logits(predicted).softmax(dim=-1).max(dim=-1)
        rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [Guess([names[n] for n in ids], tuple(chances)) for ids, chances in rows]

    return guess


def _guess_values(tokenizer: Tokenizer, batch: Batch) -> Callable[[Tensor], list[Guess]]:
    def guess(predicted: Tensor) -> list[Guess]:
        values: Array = tokenizer.decode(predicted, batch)
        if not isinstance(tokenizer, TableTokenizer):
            return [Guess(value) for value in values]
        chances: Array = np.full(values.shape, None, dtype=object)
        if tokenizer.table is not None:
            logits = predicted[:, tokenizer.categorical].masked_fill(~tokenizer.legal, -torch.inf)
            known = logits.softmax(dim=-1).amax(dim=-1)
            chances[:, tokenizer.spec.rows.categorical] = known.cpu().numpy()
        return [Guess(v, tuple(c)) for v, c in zip(values, chances.tolist(), strict=True)]

    return guess
