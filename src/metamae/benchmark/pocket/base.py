"""What a data set of the pocket benchmark is."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PurePosixPath
from typing import ClassVar
from zipfile import BadZipFile

from metamae.benchmark.dataset import Challenge
from metamae.data.columns.base import Column
from metamae.data.records import Records
from metamae.errors import ConfigError, DataError, MetaMAEError


class PocketData(ABC):
    """A real data set whose files lie inside an installed package, which is never imported.

    Attributes:
        description: One line for a list of them: what a sample and what the label is.
        modality: Its family, a word for tables: "image", "series", "table", "dna", ...
        package: Distribution that holds the files, as it is called on PyPI.
        licence: Of the data.
        source: Where the data come from: authors, year, and what was published.
        long: Whether baselines and probes take minutes; a quick benchmark goes without it.
    """

    description: ClassVar[str]
    modality: ClassVar[str]
    package: ClassVar[str]
    licence: ClassVar[str]
    source: ClassVar[str]
    long: ClassVar[bool] = False

    @property
    def name(self) -> str:
        """Registered name: a plug-in's module is its key."""
        return type(self).__module__.rpartition(".")[2]

    def load(self) -> Challenge:
        """Return the samples and the question about them.

        Raises:
            ConfigError: If the package is not installed.
            DataError: If its files are not what they were.
        """
        try:
            return self.read()
        except MetaMAEError:
            raise
        except (ValueError, LookupError, OSError, BadZipFile) as error:
            raise DataError(
                f"Pocket data set {self.name!r} must find files of {self.package!r} as they were "
                f'when it was written; reading them failed: {error}. pip install "metamae[bench]" '
                "takes a version that has them."
            ) from error

    @abstractmethod
    def read(self) -> Challenge:
        """Read the files of the package; what is wrong with them may show as any error."""

    def records(self, columns: Mapping[str, Column], num: int) -> Records:
        """Return the samples, of which the package has always held `num`.

        Raises:
            DataError: If there are more or fewer: scores of other samples do not compare.
        """
        records = Records(columns, self.name)
        if len(records) != num:
            raise DataError(
                f"Pocket data set {self.name!r} must have {num} samples; the files of this "
                f"version of {self.package!r} gave {len(records)}. pip install "
                f'"metamae[bench]" takes one that has them.'
            )
        return records

    def files(self, pattern: str, package: str | None = None) -> list[Path]:
        """Return the package's files whose path matches a pattern such as "*/data/*.csv", sorted.

        Args:
            pattern: Of paths below the folder into which packages are installed.
            package: Another distribution than `self.package`, for data that lie in two.

        Raises:
            ConfigError: If the package is not installed or has no such file.
        """
        package = package or self.package
        try:
            listed = distribution(package).files or []
        except PackageNotFoundError as error:
            raise ConfigError(
                f"Pocket data set {self.name!r} must find the package {package!r}, whose "
                f'files it reads; it is not installed. pip install "metamae[bench]" would do.'
            ) from error
        found = [Path(str(one.locate())) for one in listed if PurePosixPath(one).match(pattern)]
        if not found:
            raise ConfigError(
                f"Pocket data set {self.name!r} must find {pattern} in the package "
                f"{package!r}; this version of it has none. pip install "
                f'"metamae[bench]" takes one that has.'
            )
        return sorted(found)
