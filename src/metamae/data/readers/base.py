"""What a reader is."""

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any, ClassVar

from metamae.data.bad_samples import Aside
from metamae.data.files import find_path, is_path, peek
from metamae.data.records import Records
from metamae.errors import DataError


class Reader(ABC):
    """Turns one kind of source into records. Its keyword-only arguments are its settings.

    Attributes:
        description: One line for a list of the readers.
        extensions: Ends of the file names it reads, in lower case.
        folders: Whether it reads a folder of such files, each of them one sample.
        local: Settings that belong to one source; they are not used for other data of a run.
        uniform: Whether shards must hold values of one shape, because its files always do.
        parts: Shards of the data set that it is about to read; they share limits of memory.
    """

    description: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]] = ()
    folders: ClassVar[bool] = False
    local: ClassVar[tuple[str, ...]] = ("max_bytes",)
    uniform: ClassVar[bool] = False
    parts: int = 1

    def accepts(self, data: Any) -> bool:
        """Say whether this reader is the one for `data`, judging by types and names only."""
        if not is_path(data):
            return False
        path = find_path(data)
        if path.is_dir():
            return self.folders and any(n.endswith(self.extensions) for n in peek(path))
        return str(data).lower().endswith(self.extensions)

    def read(self, data: Any, field: str | None = None, *, skip_bad: int = 0) -> Records:
        """Return the samples of `data`.

        Args:
            data: What a user has: a path or an object in memory.
            field: The one field to keep; None keeps all.
            skip_bad: How many bad samples may be set aside.

        Raises:
            DataError: If it cannot be read, is empty, holds what cannot be a sample, or holds
                more bad samples than are allowed; then it lists them.
        """
        aside = Aside(skip_bad)
        try:
            records = self.load(data, field, aside)
        except DataError:
            # Where all samples are bad, the list of them says more than "none is left".
            aside.settle(str(data))
            raise
        aside.settle(records.source)
        return replace(records, aside=(*records.aside, *aside.found)) if aside.found else records

    @abstractmethod
    def load(self, data: Any, field: str | None, aside: Aside) -> Records:
        """Return the good samples of `data`, and note the bad ones.

        A bad sample is one that can be told from its neighbours, such as a damaged image in a
        folder or a row with too few cells; damage that leaves no neighbour to trust, such as a
        truncated archive, is raised.

        Args:
            data: What a user has: a path or an object in memory.
            field: The one field to keep; None keeps all.
            aside: Where to note bad samples: `aside.add(where, reason, source)`.

        Raises:
            DataError: As `read` does.
        """
