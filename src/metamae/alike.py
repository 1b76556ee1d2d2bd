"""Samples in micro-batches whose shape follows from the samples' own length alone.

Matrix products of different sizes may round differently: so that what is computed of a sample
does not depend on those beside it, a micro-batch that is not full is filled up with copies.
"""

from collections.abc import Iterator

import numpy as np
import torch

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.embedding import at_once, by_length
from metamae.modalities.base import Modality
from metamae.model.tokens import Batch
from metamae.training.batches import to_device


def micro_batches(
    spec: Modality, records: Records, device: torch.device
) -> Iterator[tuple[Index, Batch]]:
    """Yield positions of samples, and the batch whose first rows they are.

    Raises:
        DataError: If a sample does not fit the spec.
    """
    for positions, rows in by_length(spec, records, at_once(spec, device)):
        for start in range(0, len(positions), rows):
            index = positions[start : start + rows]
            filled = np.concatenate([index, np.repeat(index[-1:], rows - len(index))])
            yield index, to_device(spec.batch(records, filled), device)
