"""Writing files so that a reader finds the old one or the new one, never a half."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from metamae.errors import ArtifactError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in the place of `path`.

    Args:
        path: The file to make or to replace; its folder must exist.
        write: Writes a whole file at the path that it is given.

    Raises:
        ArtifactError: If the file cannot be written, e.g. on a full disk; an old file of that
            name is then still there, whole.
    """
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        # mkstemp makes the file private; a run folder is as open as the user's other files.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except BaseException as error:  # Ctrl-C included: nothing half-written may stay behind
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()
        # safetensors reports a full disk as an error of its own, which is no OSError.
        if isinstance(error, OSError) or type(error).__name__ == "SafetensorError":
            raise ArtifactError(
                f"{path} must be writable; got: {error}. Free some space or choose another folder."
            ) from error
        raise


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, unless they are there.

    Raises:
        ArtifactError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ArtifactError(
            f"{folder} must be a folder that can be written; got: {error}. Choose another --out."
        ) from error


def write_text_atomically(path: Path, text: str) -> None:
    """Write a text file in one piece; raises as `write_atomically` does."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
