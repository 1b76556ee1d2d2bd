"""Which samples have something missing that can be filled, and a batch in which it is predicted."""

import numpy as np
from numpy.typing import NDArray

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.errors import ConfigError
from metamae.modalities.base import Modality
from metamae.modalities.gaps import Opened

READ = 2**22  # tokens of samples that are looked at in one go


def check_fillable(spec: Modality, blank: str | None) -> None:
    """Raise ConfigError if nothing of a modality can be filled, or the blank is no symbol."""
    if blank is not None:
        for _, own in spec.leaves:
            own.gaps().check_blank(blank)
    reasons = {name: own.gaps().refusal for name, own in spec.leaves}
    if all(reasons.values()):
        shown = "; ".join(f"{name}: {why}" if name else str(why) for name, why in reasons.items())
        raise ConfigError(
            f"Impute needs a table, a lattice of numbers or single symbols; got {spec.kind_word}: "
            f"{shown}."
        )


def has_gaps(spec: Modality, records: Records, blank: str | None) -> NDArray[np.bool_]:
    """Say which samples have a gap in a field, (S,); one that is missing as a whole is a gap."""
    found = np.zeros(len(records), dtype=bool)
    gaps = spec.gaps()
    if gaps.refusal is not None:
        return found
    step = max(1, READ // max(1, spec.num_tokens))
    for start in range(0, len(records), step):
        index = np.arange(start, min(start + step, len(records)))
        found[index] = gaps.found(records, index, blank)
    return found


def open_gaps(spec: Modality, records: Records, index: Index, blank: str | None) -> Opened:
    """Read samples so that what is missing can be predicted.

    Args:
        spec: What a sample is.
        records: Samples, or pieces of them. Of a mixture, some of those read together have each
            field that is to be filled.
        index: Positions, (B,).
        blank: A letter or code that stands for an unknown one.
    """
    return spec.gaps().open(records, index, dict(spec.batch(records, index)), blank)
