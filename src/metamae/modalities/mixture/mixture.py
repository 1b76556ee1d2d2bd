"""Several fields of one sample learnt together: image and caption, sensors, table and text."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from metamae.data.columns.base import Index
from metamae.data.records import Records
from metamae.modalities.base import FieldRow, Modality
from metamae.modalities.form import Form
from metamae.modalities.gaps import Gaps
from metamae.modalities.mixture.gaps import MixtureGaps
from metamae.modalities.mixture.spec import MixtureSpec
from metamae.modalities.mixture.tokenizer import MixtureTokenizer
from metamae.model.tokenizer import Tokenizer
from metamae.model.tokens import Batch


class Mixture(MixtureSpec):
    """The tokens of every field stand one behind the other."""

    words: ClassVar[Mapping[str, Mapping[str, Any]]] = {"mixture": {}}

    def tokenizer(self, width: int) -> Tokenizer:
        return MixtureTokenizer(self, width)

    def gaps(self) -> Gaps:
        return MixtureGaps(self)

    @property
    def leaves(self) -> tuple[tuple[str, Modality], ...]:
        return self.parts

    def whole_batch(self, records: Records, index: Index) -> Batch:
        batch = self.batch(records, index)
        batch.pop("valid", None)  # the weights say the same
        for name, own in self.parts:
            content = batch.get(f"{name}/{own.content}")
            if content is not None and f"{name}/valid" not in batch:
                batch[f"{name}/valid"] = torch.ones(content.shape[:3], dtype=torch.bool)
        return batch

    def form(self, part: str = "") -> Form:
        raise AssertionError("a mixture is drawn field by field")

    def describe_fields(self, part: str = "") -> list[FieldRow]:
        return [row for name, own in self.parts for row in own.describe_fields(name)]
