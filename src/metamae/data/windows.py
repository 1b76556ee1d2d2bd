"""Long samples cut into windows: where each begins and ends, and the windows as records."""

from dataclasses import replace

import numpy as np

from metamae.data.columns.base import Column, Index, Stretches, Subset, sizes_of
from metamae.data.records import Records
from metamae.errors import ConfigError


def windows(sizes: Index, window: int | Index, stride: int | Index) -> tuple[Index, Index, Index]:
    """Lay windows over samples so that together they cover each sample wholly.

    Every sample has at least one window. The last one is moved back to end where its sample
    ends; a sample that is shorter than a window has one that is as long as itself.

    Args:
        sizes: Length of each sample, (S,).
        window: Length of a window, for all samples or for each, (S,).
        stride: Distance between the starts of two windows, at most the window; likewise.

    Returns:
        Position of the sample that each window is cut from, ascending, where it starts, and the
        position behind its end, (W,) each.

    Raises:
        ConfigError: If a window is empty, or a stride is below 1 or leaves gaps between windows.
    """
    length, step = (np.broadcast_to(np.asarray(n), sizes.shape) for n in (window, stride))
    if len(sizes) and (length.min() < 1 or step.min() < 1 or (step > length).any()):
        raise ConfigError(
            f"window and stride must be at least 1, and the stride at most the window; got window "
            f"{int(length.min())} and stride {int(step.max())}. A stride of half the window "
            f"would do."
        )
    counts = 1 + -(-np.maximum(sizes - length, 0) // step)
    owner = np.repeat(np.arange(len(sizes)), counts)
    turn = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    latest = np.maximum(sizes - length, 0)[owner]
    start = np.minimum(turn * step[owner], latest)
    stop = np.minimum(start + length[owner], sizes[owner])
    return owner, start, stop


def cut(
    records: Records,
    name: str,
    window: int | Index,
    stride: int | Index,
    *,
    axis: int = -1,
) -> tuple[Records, Index | None]:
    """Cut one field of every sample into windows; the other fields are repeated for each window.

    Args:
        records: S samples.
        name: The field: arrays that are cut along `axis`, or strings.
        window: As in `windows`.
        stride: As in `windows`.
        axis: Axis of one value to cut along, counted from the last, -1.

    Returns:
        The windows as records, which name the sample that they come from in messages, and the
        position of that sample for each window, (W,) ascending. The records themselves and None
        if no sample is longer than a window.
    """
    whole = sizes_of(records[name])
    sizes = whole[:, axis]
    if not (sizes > window).any():
        return records, None
    owner, start, stop = windows(sizes, window, stride)
    columns: dict[str, Column] = {
        key: Stretches(column, owner, start, stop, whole, axis)
        if key == name
        else Subset(column, owner)
        for key, column in records.columns.items()
    }
    origin = owner if records.index is None else records.index[owner]
    return replace(records, columns=columns, index=origin), owner
