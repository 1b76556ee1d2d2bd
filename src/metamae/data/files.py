"""Files and folders of users: found, named, and opened without trusting them."""

import difflib
import logging
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from metamae.core.registry import did_you_mean
from metamae.errors import DataError

_log = logging.getLogger("metamae")

# Largest size in bytes to which a packed file may expand unless it is less than PACKED_MOST
# times its own size: real data seldom packs that well, a decompression bomb always does.
UNPACKED_MOST = 4 * 2**30
PACKED_MOST = 64
PEEKED = 1000  # files of a folder that its kind is told from


def is_path(data: Any) -> bool:
    """Say whether `data` names a file or folder."""
    return isinstance(data, str | os.PathLike)


def find_path(data: Any) -> Path:
    """Return the file or folder that `data` names.

    Raises:
        DataError: If it is no path, or nothing is there; the message offers a near name.
    """
    if not is_path(data) or not os.fspath(data):
        raise DataError(
            f"data must be a path for this reader; got {_brief(data)}. "
            "The path of a file or folder would do."
        )
    try:
        path = Path(data).expanduser()
        if path.exists():
            return path
    except (OSError, ValueError, RuntimeError) as error:
        # The text of an OSError repeats the path, however long.
        reason = getattr(error, "strerror", None) or error
        raise DataError(
            f"data must be the path of something that exists; got {_brief(data)} ({reason}). "
            "Text goes in a list, one string per sample."
        ) from error
    raise DataError(
        f"data must be the path of something that exists; got {_brief(data)}. {_beside(path)}"
    )


def find_file(data: Any) -> Path:
    """Return the file that `data` names, else raise DataError as `find_path` does."""
    path = find_path(data)
    # Opening a pipe or a device could wait for ever.
    if not path.is_file():
        got = "a folder" if path.is_dir() else "a pipe, socket or device"
        raise DataError(f"{data} must be a file; got {got}. Give the path of a file.")
    return path


def _brief(data: Any) -> str:
    text = repr(os.fspath(data)) if is_path(data) else type(data).__name__
    return text if len(text) <= 200 else text[:200] + "..."


def _beside(path: Path) -> str:
    folder = path.parent
    try:
        # A folder may hold millions of files; the first thousand are enough for a hint.
        names = sorted(entry.name for entry in islice(folder.iterdir(), 1000))
    except OSError:
        return f"There is no readable folder {str(folder)!r} either."
    near = difflib.get_close_matches(path.name, names, n=1)
    hint = f"Did you mean {str(folder / near[0])!r}? " if near else ""
    shown = ", ".join(names[:8]) or "nothing"
    return f"{hint}{str(folder)!r} holds: {shown}{', ...' if len(names) > 8 else ''}."


@contextmanager
def legible(owner: str, rule: str, remedy: str) -> Iterator[None]:
    """Turn whatever a decoder raises into a DataError.

    Decoders of damaged files raise far more than OSError (struct.error, zlib.error, SyntaxError,
    IndexError, ...), which is why everything is caught. Keep the block to the decoder's call.

    Args:
        owner: File, or file and column, that opens the message.
        rule: What it must be, e.g. "must be a complete .npy file".
        remedy: What would work.

    Raises:
        DataError: If the block raises anything.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
        raise DataError(
            f"{owner} {rule}; got an error on reading it: {reason}. {remedy}"
        ) from error


def check_unpacked(source: str, packed: int, unpacked: int, most: int) -> None:
    """Refuse a file that would fill the memory, all sizes in bytes.

    Raises:
        DataError: If it expands both to more than `most` and by more than a factor of 64.
    """
    if unpacked > most and unpacked > PACKED_MOST * packed:
        raise DataError(
            f"{source} must not expand beyond {most} bytes; got {unpacked} bytes from "
            f"{packed} packed ones. If that is meant, max_bytes={unpacked} would do."
        )


def check_field(source: str, field: str | None, names: Iterable[str]) -> None:
    """Raise DataError if `field` is asked for and is not one of `names`."""
    if field is not None and field not in (names := list(names)):
        raise DataError(
            f"{source} must hold the field asked for; got field={field!r}."
            f"{did_you_mean(str(field), names)}"
        )


def check_names(source: str, names: Iterable[str]) -> None:
    """Raise DataError if a column's name is empty or occurs twice."""
    seen: set[str] = set()
    for position, name in enumerate(names):
        if not name.strip():
            raise DataError(
                f"{source} must name every column; got no name for column {position + 1}. "
                "Name it or remove it (pandas writes its index so; index=False leaves it out)."
            )
        if name in seen:
            raise DataError(
                f"{source} must name every column differently; got {name!r} twice. Rename one."
            )
        seen.add(name)


def find_in_folder(root: Path, source: str, extensions: tuple[str, ...], what: str) -> list[Path]:
    """Return the files below a folder that have one of some extensions, sorted by their path.

    Links to folders are followed, each folder is entered once, and what is hidden is left out.

    Args:
        root: The folder.
        source: What messages call it.
        extensions: Ends of the names in lower case, e.g. (".png",).
        what: What one such file is called, e.g. "image".

    Raises:
        DataError: If there is none, or a folder cannot be read.
    """
    found, others = [], Counter[str]()
    with legible(source, "must be a folder that can be read", "Check its permissions."):
        for path in _walk(root):
            if not path.name.startswith(".") and path.name.lower().endswith(extensions):
                found.append(path)
            else:
                others["hidden" if path.name.startswith(".") else path.suffix.lower()] += 1
    kinds = ", ".join(f"{count} {end or 'without extension'}" for end, count in others.items())
    if not found:
        raise DataError(
            f"{source} must hold at least one {what} ({', '.join(extensions)}); got "
            f"{kinds or 'an empty folder'}. Give a folder of such files, or the path of a file."
        )
    if others:
        many = "file" if others.total() == 1 else "files"
        _log.info("%s: left out %d %s: %s", source, others.total(), many, kinds)
    return sorted(found, key=lambda path: path.relative_to(root).as_posix())


def peek(root: Path) -> list[str]:
    """Return the names in lower case of some of the files below a folder, hidden ones left out.

    Raises:
        DataError: If a folder cannot be read.
    """
    with legible(str(root), "must be a folder that can be read", "Check its permissions."):
        some = list(islice(_walk(root), PEEKED))
    return [path.name.lower() for path in some if not path.name.startswith(".")]


def class_folders(names: Sequence[str]) -> list[str] | None:
    """Return the first folder of every name, if they stand in several folders: their classes."""
    labels = [name.split("/")[0] for name in names]
    if all("/" in name for name in names) and len(set(labels)) > 1:
        return labels
    return None


def _walk(root: Path) -> Iterator[Path]:
    # Follows links to folders, but enters each folder once, so that a circle of links ends.
    def refuse(error: OSError) -> None:
        raise error

    seen = {_identity(root)}
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=refuse):
        entered = []
        for name in sorted(subfolders):
            identity = _identity(Path(folder, name))
            if not name.startswith(".") and identity not in seen:
                seen.add(identity)
                entered.append(name)
        subfolders[:] = entered
        yield from (Path(folder, name) for name in files if _may_open(Path(folder, name)))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _may_open(path: Path) -> bool:
    # A dangling link stays, to be refused by name; opening a pipe could wait for ever.
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return True
