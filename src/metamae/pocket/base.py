"""What a data set of the pocket benchmark is."""

from abc import ABC, abstractmethod
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import ClassVar

from metamae.challenge import Challenge
from metamae.errors import ConfigError


class PocketData(ABC):
    """A real data set whose files lie inside an installed package, which is never imported.

    Attributes:
        description: One line for a list of them: what a sample and what the label is.
        modality: Its family, a word for tables: "image", "series", "table", "dna", ...
        package: Distribution that holds the files, as it is called on PyPI.
        licence: Of the data.
        source: Where the data come from: authors, year, and what was published.
    """

    description: ClassVar[str]
    modality: ClassVar[str]
    package: ClassVar[str]
    licence: ClassVar[str]
    source: ClassVar[str]

    @property
    def name(self) -> str:
        """Registered name: a plug-in's module is its key."""
        return type(self).__module__.rpartition(".")[2]

    @abstractmethod
    def load(self) -> Challenge:
        """Read the samples from the files of the package.

        Raises:
            ConfigError: If the package is not installed.
            DataError: If its files are not what they were.
        """

    def files(self, pattern: str) -> list[Path]:
        """Return the package's files whose path matches a pattern such as "*/data/*.csv", sorted.

        Raises:
            ConfigError: If the package is not installed or has no such file.
        """
        try:
            listed = distribution(self.package).files or []
        except PackageNotFoundError as error:
            raise ConfigError(
                f"Pocket data set {self.name!r} must find the package {self.package!r}, whose "
                f'files it reads; it is not installed. pip install "metamae[bench]" would do.'
            ) from error
        found = [Path(str(one.locate())) for one in listed if PurePosixPath(one).match(pattern)]
        if not found:
            raise ConfigError(
                f"Pocket data set {self.name!r} must find {pattern} in the package "
                f"{self.package!r}; this version of it has none. pip install "
                f'"metamae[bench]" takes one that has.'
            )
        return sorted(found)
