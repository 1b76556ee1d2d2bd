"""Labelled samples on which encoders are held against each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from metamae.data.records import Records


@dataclass(frozen=True, kw_only=True)
class Challenge:
    """A data set with a question that a good encoder makes easy.

    Attributes:
        name: What tables call it.
        records: Input fields, the label and, where there is one, the group.
        label: Name of the label's field; several with commas for a multilabel task.
        test: The published test samples, with the same fields; None to draw a test part.
        group: Field that says which samples belong together, e.g. to one person: none is on both
            sides of a split.
        task: "classification", "regression", "multilabel", or "auto".
        settings: How the samples are read: settings of `pretrain` by name, e.g. the modality.
    """

    name: str
    records: Records
    label: str
    test: Records | None = None
    group: str | None = None
    task: str = "auto"
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def not_input(self) -> list[str]:
        """Names of the fields that no encoder may see."""
        labels = [name.strip() for name in self.label.split(",")]
        return labels if self.group is None else [*labels, self.group]
