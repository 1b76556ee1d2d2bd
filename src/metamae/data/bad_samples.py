"""Bad samples: found, counted, listed, and set aside if the user allows so many."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from metamae.errors import DataError

LISTED = 10  # offenders that a message names
LOOKED_FOR = 1000  # offenders beyond the allowed number after which the search ends


@dataclass(frozen=True)
class Bad:
    """A file or a row that cannot be used.

    Attributes:
        where: Source, and file or row.
        reason: What is wrong with it, and what would work.
        sample: Its position in the source; None if it was set aside before samples were counted.
    """

    where: str
    reason: str
    sample: int | None = None

    @property
    def key(self) -> "int | Bad":
        """The same for all that is wrong with one sample, such as a recording in many windows."""
        return self if self.sample is None else self.sample


@dataclass
class Aside:
    """The bad samples of a data set, of which a user allows some.

    Attributes:
        most: How many may be set aside; 0 means that each one stops the run.
        found: Those found so far.
    """

    most: int = 0
    found: list[Bad] = field(default_factory=list)

    def add(self, where: str, reason: str, source: str, sample: int | None = None) -> None:
        """Note a bad sample and go on, so that a message can list them all.

        Raises:
            DataError: If there are so many more than allowed that looking on is pointless.
        """
        self.found.append(Bad(where, reason, sample))
        if len(self.found) > self.most + LOOKED_FOR:
            self.settle(source)

    def add_new(self, found: Iterable[Bad]) -> bool:
        """Note those that are not noted yet; say whether there were any."""
        known, before = {one.key for one in self.found}, len(self.found)
        for one in found:
            if one.key not in known:
                self.found.append(one)
                known.add(one.key)
        return len(self.found) > before

    @property
    def samples(self) -> list[int]:
        """Positions in the source of the bad samples that have one, ascending."""
        return sorted(one.sample for one in self.found if one.sample is not None)

    def settle(self, source: str) -> None:
        """Go on if the bad samples are no more than allowed.

        Raises:
            DataError: If they are; it lists them.
        """
        if len(self.found) <= self.most:
            return
        if len(self.found) == 1 and self.most == 0:
            (bad,) = self.found
            raise DataError(f"{bad.where}: {bad.reason} --skip-bad 1 would set it aside.")
        lines = [f"- {bad.where}: {bad.reason}" for bad in self.found[:LISTED]]
        if len(self.found) > LISTED:
            lines.append(f"- and {len(self.found) - LISTED} more")
        raise DataError(
            f"{source} must hold at most {self.most} bad samples (--skip-bad); got "
            f"{len(self.found)}. Repair or remove them; --skip-bad {len(self.found)} would set "
            f"them aside:\n" + "\n".join(lines)
        )
