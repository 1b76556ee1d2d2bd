"""Predict what is missing and put it in its place, in the user's units.

A token with a gap is hidden as a whole, and what is known of it stays as it is. Where that would
hide more of a sample than training did, tokens that are partly known are hidden in turns, so that
what is known of the others helps. A prediction is that after MetaMAE's inner step, in which only
visible tokens have a say.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metamae.data.columns.base import Index, Stretches
from metamae.data.records import Records
from metamae.encoder.embedding import at_once, by_length
from metamae.encoder.masked_prediction import check_reconstructs, predict_hidden
from metamae.encoder.pretrained import Pretrained
from metamae.methods.base import Method
from metamae.modalities.base import Modality
from metamae.modalities.gaps import Canvas, Opened
from metamae.training.batches import to_device
from metamae.uses.impute.gaps import check_fillable, has_gaps, open_gaps


@dataclass(frozen=True)
class Filled:
    """Samples with their gaps filled.

    Attributes:
        columns: Each input column that had gaps, with all of its values, (S, ...).
        counts: Values filled in each of them.
        left: Values that were not filled, by the reason.
    """

    columns: Mapping[str, NDArray[Any]]
    counts: Mapping[str, int]
    left: Mapping[str, int]


def fill(
    pretrained: Pretrained, records: Records, *, blank: str | None = None, step: bool = True
) -> Filled:
    """Fill the gaps of samples.

    Args:
        pretrained: The run.
        records: Samples with the columns that are its input.
        blank: A letter or code that stands for an unknown one.
        step: Whether to predict after the inner step, where the method has one.

    Raises:
        ConfigError: If the method cannot predict, or nothing of this modality can be filled.
        DataError: If a sample does not fit the run.
    """
    spec = pretrained.schema.modality
    check_reconstructs(pretrained.module)
    check_fillable(spec, blank)
    parts = spec.leaves
    gappy = {name: has_gaps(part, records, blank) for name, part in parts}
    some = np.logical_or.reduce(list(gappy.values()))
    there = np.zeros(len(records), dtype=bool)
    rows = np.flatnonzero(some)
    there[rows] = _present(spec, records, rows)
    sheets = {
        column: part.gaps().canvas(column, records)
        for name, part in parts
        if gappy[name].any() and part.gaps().refusal is None
        for column in part.columns
    }
    chosen = np.flatnonzero(some & there)
    left = {"in samples of which nothing is known": int((some & ~there).sum())}
    pretrained.module.eval()
    if len(chosen):
        _fill_rows(pretrained, records, chosen, sheets, blank, step)
    for name, part in parts:
        why = part.gaps().refusal
        if name and why is None and part.varies:
            why = "how long it would be is unknown"
        if why is not None:
            lacking = len(records) - int(part.given(records.only(part.columns)).sum())
            left[f"in {name}: {why}"] = lacking
    counts = {column: sheet.count for column, sheet in sheets.items() if sheet.count}
    filled = {column: sheets[column].values for column in counts}
    return Filled(filled, counts, {reason: num for reason, num in left.items() if num})


def _present(spec: Modality, records: Records, rows: Index) -> NDArray[np.bool_]:
    return spec.present(records, rows) if len(rows) else np.empty(0, dtype=bool)


def _fill_rows(
    pretrained: Pretrained,
    records: Records,
    chosen: Index,
    sheets: Mapping[str, Canvas],
    blank: str | None,
    step: bool,
) -> None:
    spec = pretrained.schema.modality
    module, tokenizer = pretrained.module, pretrained.module.backbone.tokenizer
    device = next(module.parameters()).device
    ratio = check_reconstructs(module).ratio
    donors = _donors(spec, records)
    pieces, owner = spec.unfold(records.subset(chosen))
    for positions, size in by_length(spec, pieces, at_once(spec, device)):
        for start in range(0, len(positions), size):
            index = positions[start : start + size]
            read, at = pieces, index
            if len(donors):
                # A mixture's field that all samples lack would have no tokens to predict.
                read, at = records, np.concatenate([chosen[index], donors])
            opened = open_gaps(spec, read, at, blank)
            if not (opened.empty | opened.partly).any():
                continue
            batch = to_device(opened.batch, device)
            there = Opened(batch, opened.empty.to(device), opened.partly.to(device))
            predicted = predict(module, there, ratio, step=step)
            decoded = tokenizer.decode(predicted, batch)[: len(index)]
            samples = chosen[index if owner is None else owner[index]]
            begins = _begins(pieces, owner, index)
            for row, (sample, begin) in enumerate(zip(samples.tolist(), begins, strict=True)):
                for name, part in spec.leaves:
                    value = decoded[row][name] if name else decoded[row]
                    if value is None:
                        continue
                    for column in part.columns:
                        if column in sheets:
                            sheets[column].put(sample, value, begin, blank)


def _donors(spec: Modality, records: Records) -> Index:
    """For each part of a mixture a sample that has it."""
    found = []
    for name, part in spec.leaves:
        if name and part.gaps().refusal is None:
            own = records.only(part.columns)
            has = np.flatnonzero(part.given(own))
            for start in range(0, len(has), 1024):
                good = has[start : start + 1024][part.present(own, has[start : start + 1024])]
                if len(good):
                    found.append(int(good[0]))
                    break
    return np.array(found, dtype=np.int64)


def _begins(pieces: Records, owner: Index | None, index: Index) -> list[int]:
    """Where each piece begins in its sample."""
    if owner is None:
        return [0] * len(index)
    for column in pieces.columns.values():
        if isinstance(column, Stretches):
            return [int(column.start[position]) for position in index]
    return [0] * len(index)


def predict(method: Method, opened: Opened, ratio: float, *, step: bool = True) -> Tensor:
    """Predict the tokens that have gaps, (B, N, P); what stands elsewhere means nothing.

    Args:
        method: In evaluation mode.
        opened: Samples, and which tokens have gaps.
        ratio: Share of the tokens that is hidden at a time at most, as in training.
        step: Whether to predict after the inner step.
    """
    tokens = method.backbone.tokenizer.embed(opened.batch)
    there = torch.ones_like(opened.empty) if tokens.padding is None else ~tokens.padding
    room = (there.sum(dim=1) * ratio).floor() - opened.empty.sum(dim=1)
    groups = (opened.partly.sum(dim=1) / room.clamp(min=1)).ceil().long().clamp(min=1)  # (B,)
    rank = opened.partly.cumsum(dim=1) - 1
    total: Tensor | None = None
    times = torch.zeros_like(there, dtype=torch.float32)[..., None]
    for turn in range(int(groups.max())):
        # Those of a group stand apart, so that each is beside tokens of others.
        now = (rank % groups[:, None]) == (turn % groups)[:, None]
        hidden = opened.empty | (opened.partly & now)
        found = predict_hidden(method, opened.batch, hidden)
        values = found.after if step and found.after is not None else found.before
        own = values * hidden[..., None]
        total = own if total is None else total + own
        times = times + hidden[..., None]
    assert total is not None
    return total / times.clamp(min=1)
