"""What the layout of a published data set is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from metamae.challenge import Challenge
from metamae.records import Records


@dataclass(frozen=True, kw_only=True)
class Published:
    """A published data set as it lies on disk.

    Attributes:
        pretrain: Samples to learn from, without labels among the inputs.
        challenges: What encoders are judged on.
        settings: How the samples to learn from are read: settings of `pretrain` by name.
    """

    pretrain: Records
    challenges: Sequence[Challenge]
    settings: Mapping[str, Any] = field(default_factory=dict)


class Layout(ABC):
    """Reads a data set from the files in which its authors distribute it.

    Its keyword-only arguments are its settings, such as which of several published splits.

    Attributes:
        description: One line: what the files are.
    """

    description: ClassVar[str]

    @abstractmethod
    def read(self, folder: Path) -> Published:
        """Read the data set from the folder that holds its files as they were unpacked.

        Raises:
            DataError: If files are missing or not in that layout; it names the first of them.
        """
