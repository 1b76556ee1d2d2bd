"""Vectors on their way into a file: they wait in a folder beside it, so that a stop loses few.

The folder of `v.parquet` is `v.parquet.partial`. Its files only grow; `state.json`, replaced in one
piece after each section, says how much of them counts. What was written after it, when the process
was killed, is cut off and computed again. The file itself appears when it is whole.
"""

import contextlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO

import numpy as np

from metamae.core.atomic import make_folder, write_text_atomically
from metamae.data.columns.base import Index
from metamae.encoder.embedding import Part
from metamae.encoder.identity import KIND, TOKENS
from metamae.errors import ArtifactError
from metamae.uses.embed.vector_files import HEADER, npy_header

STATE, ROWS, COUNTS, WHOLE, LOCK = "state.json", "vectors.npy", "counts", "whole", "lock"
_log = logging.getLogger("metamae")


@dataclass(frozen=True)
class _State:
    """What the folder holds: of which embedding, the width of a row, samples and rows done."""

    identity: dict[str, str]
    width: int
    samples: int = 0
    rows: int = 0

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of the files that count, by name."""
        sizes = {ROWS: HEADER + 4 * self.width * self.rows}
        if self.identity[KIND] == TOKENS:
            sizes[COUNTS] = 8 * self.samples
        return sizes

    @classmethod
    def read(cls, folder: Path) -> "_State | None":
        """Read what was noted last; None if that cannot be gone on with."""
        try:
            state = cls(**json.loads((folder / STATE).read_text(encoding="utf-8")))
            whole = all((folder / n).stat().st_size >= size for n, size in state.sizes.items())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return state if whole else None

    def write(self, folder: Path) -> None:
        write_text_atomically(folder / STATE, json.dumps(asdict(self), indent=1) + "\n")


class Unfinished:
    """The folder beside a file that is being made; enter it to write.

    Args:
        path: The file.
        identity: What the vectors follow from, by name, as `identity_of` tells it: those of
            another identity are not gone on with.
        width: Numbers of a row.
        anew: Whether vectors of another identity may be removed.

    Attributes:
        folder: The folder.
        state: What is done.

    Raises:
        ArtifactError: If the folder holds other files or vectors, another process writes there,
            or it cannot be written.
    """

    def __init__(self, path: Path, identity: dict[str, str], *, width: int, anew: bool = False):
        self.path, self.anew = path, anew
        self.folder = path.with_name(path.name + ".partial")
        self.state = _State(identity, width)
        self._open = ExitStack()
        self._files: dict[str, IO[bytes]] = {}

    def __enter__(self) -> "Unfinished":
        self._check_folder()
        new = not self.folder.exists()
        make_folder(self.folder)
        try:
            with self._writing(), ExitStack() as opened:
                self._begin(opened)
                self._open = opened.pop_all()
        except BaseException:
            if new:
                self._remove()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()
        if error is None:
            return
        if self.state.samples == 0:
            self._remove()
        else:
            _log.warning(
                "%s keeps the first %d samples: the same command goes on after them",
                self.folder,
                self.state.samples,
            )

    def add(self, part: Part) -> None:
        """Append the vectors of the next samples.

        Raises:
            ArtifactError: If they cannot be written, e.g. on a full disk.
        """
        with self._writing():
            self._files[ROWS].write(np.ascontiguousarray(part.rows, dtype="<f4").data)
            if part.counts is not None:
                self._files[COUNTS].write(part.counts.astype("<i8").tobytes())
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            num_rows = self.state.rows + len(part.rows)
            self.state = replace(self.state, samples=part.stop, rows=num_rows)
            self.state.write(self.folder)

    def counts(self) -> Index:
        """Tokens of each sample that is done, (S,)."""
        return np.fromfile(self.folder / COUNTS, dtype="<i8", count=self.state.samples)

    def close_rows(self, shape: tuple[int, ...]) -> Path:
        """Make the rows an .npy file of some shape, and return where it is."""
        with self._writing():
            self._files[ROWS].seek(0)
            self._files[ROWS].write(npy_header(shape))
            self._files[ROWS].flush()
            os.fsync(self._files[ROWS].fileno())
        return self.folder / ROWS

    def put(self, write: Callable[[Path], None] | None) -> None:
        """Put the file in its place.

        Args:
            write: Writes it at the path that it is given; None where the rows are the file.

        Raises:
            ArtifactError: If it cannot be written.
        """
        with self._writing():
            source = self.folder / (ROWS if write is None else WHOLE)
            if write is not None:
                write(source)
                with source.open("rb+") as file:
                    os.fsync(file.fileno())
            source.replace(self.path)

    def clear(self) -> None:
        """Remove the folder, once the file is in its place or there is nothing to keep."""
        self._open.close()
        self._remove()

    def _remove(self) -> None:
        # What is still mapped cannot be removed on some systems; it is in nobody's way.
        with contextlib.suppress(OSError):
            for path in filter(_is_own, sorted(self.folder.iterdir())):
                with contextlib.suppress(OSError):
                    path.unlink()
            self.folder.rmdir()

    def _begin(self, opened: ExitStack) -> None:
        self._lock(opened)
        self._take_up()
        for name, size in self.state.sizes.items():
            file = opened.enter_context(_grown(self.folder / name))
            file.truncate(size)
            file.seek(size)
            self._files[name] = file
        self.state.write(self.folder)

    def _check_folder(self) -> None:
        found = [self.folder] if self.folder.exists() else []
        if self.folder.is_dir():
            found = [path for path in self.folder.iterdir() if not _is_own(path)]
        if found:
            raise ArtifactError(
                f"{self.folder} must hold nothing but the beginning of {self.path.name}; got "
                f"{found[0].name}, which is never removed. Another --out would do."
            )

    def _lock(self, opened: ExitStack) -> None:
        try:
            import fcntl
        except ImportError:
            return  # a system without such locks
        file = opened.enter_context((self.folder / LOCK).open("wb"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ArtifactError(
                f"{self.path} must be written by one process at a time; another one is at it. "
                f"Wait for it, or choose another --out."
            ) from error

    def _take_up(self) -> None:
        """Go on with what is there, if there is something and it is of this embedding."""
        state = _State.read(self.folder)
        if state is None or state.samples == 0:
            return
        now = self.state.identity
        differ = [name for name in now if state.identity.get(name) != now[name]]
        if not differ:
            self.state = state
            _log.info("going on after the first %d samples, from %s", state.samples, self.folder)
        elif self.anew:
            _log.warning("%s differed in %s: begun anew", self.folder, ", ".join(differ))
        else:
            raise ArtifactError(
                f"{self.folder} must hold the beginning of the same embedding; got "
                f"{state.samples} samples of one that differs in {', '.join(differ)}. "
                f"--overwrite begins anew, another --out keeps it."
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ArtifactError(
                f"{self.path} must be writable; got: {error}. Free some space or choose another "
                f"folder."
            ) from error


def _is_own(path: Path) -> bool:
    """Whether a file is one that `Unfinished` writes, or a killed process left of one."""
    names = (STATE, ROWS, COUNTS, WHOLE, LOCK)
    return path.is_file() and (path.name in names or path.name.startswith(f".{STATE}."))


def _grown(path: Path) -> IO[bytes]:
    """Open a file to write at any place, its old bytes kept."""
    return os.fdopen(
        os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666), "r+b"
    )
