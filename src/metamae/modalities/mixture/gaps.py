"""Gaps of mixtures: those of each field, and fields that are missing as a whole."""

import torch

from metamae.data.columns.base import Index
from metamae.data.records import Records, hold
from metamae.modalities.gaps import NoGaps, Opened, declare_present
from metamae.modalities.mixture.slots import find_slots
from metamae.modalities.mixture.spec import MixtureSpec
from metamae.model.tokens import Batch


class MixtureGaps(NoGaps):
    """Everything is asked of the fields, one by one; only a batch is opened as a whole."""

    def __init__(self, spec: MixtureSpec):
        super().__init__("the fields of a mixture have gaps, each its own")
        self.spec = spec

    def open(self, records: Records, index: Index, batch: Batch, blank: str | None) -> Opened:
        """Some of the samples have each field that is to be filled."""
        slots = find_slots(self.spec.fields, batch)
        shape = (len(index), max(slot.start + slot.places for slot in slots))
        valid = batch.get("valid", torch.ones(shape, dtype=torch.bool)).clone()
        empty, partly = torch.zeros(shape, dtype=torch.bool), torch.zeros(shape, dtype=torch.bool)
        for slot in slots:
            name, part = self.spec.parts[slot.number]
            gaps = part.gaps()
            if gaps.refusal is not None:
                continue
            own = dict(slot.batch)
            marks = gaps.marks(hold(records.only(part.columns), index), own, blank)
            lacking = ~slot.weight.any(dim=1)[:, None, None]
            missing = torch.where(lacking, marks.extent, marks.gaps)
            touched = missing.any(dim=2)
            nothing = touched & ~(marks.known & ~lacking).any(dim=2)
            declare_present(own, nothing)
            if "valid" in own:
                batch[f"{name}/valid"] = own["valid"]
            # Its weight counts in errors of visible tokens only; here it says that a token is
            # there.
            batch[f"{name}/weight"] = torch.where(nothing, 1.0, slot.weight)
            valid[:, slot.range] |= nothing
            empty[:, slot.range], partly[:, slot.range] = nothing, touched & ~nothing
        if not valid.all():
            batch["valid"] = valid
        else:
            batch.pop("valid", None)
        return Opened(batch, empty, partly)
