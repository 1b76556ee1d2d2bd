"""The command line as a test uses it: in this process, or in one of its own to be killed."""

import contextlib
import io
import logging
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metamae.cli import main

# A network that learns nothing much, but in milliseconds.
TINY = {
    "width": 16,
    "depth": 1,
    "heads": 2,
    "decoder_width": 8,
    "decoder_depth": 1,
    "decoder_heads": 2,
}


@dataclass(frozen=True)
class Said:
    """What a command left: exit status, standard output, standard error."""

    status: int
    out: str
    err: str


def settings(**values: Any) -> list[str]:
    """Return settings as options: settings(lr=1) is ["--set", "lr=1"]."""
    return [part for key, value in values.items() for part in ("--set", f"{key}={value}")]


def metamae(*arguments: Any) -> Said:
    """Run a command in this process; an exception that a user would see as a traceback fails."""
    out, err = io.StringIO(), io.StringIO()
    logger = logging.getLogger("metamae")
    before = logger.handlers[:], logger.level, logger.propagate
    status: Any = None
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main([str(argument) for argument in arguments])
    except SystemExit as end:
        status = end.code
    finally:
        logger.handlers[:], logger.level, logger.propagate = before
    assert isinstance(status, int)
    return Said(status, out.getvalue(), err.getvalue())


def pretrain(data: Path, out: Path, *options: Any, **values: Any) -> Said:
    """Run `metamae pretrain` with the tiny network and other settings, without a report."""
    given = ("--skip-report", *options, *settings(**TINY, **values))
    return metamae("pretrain", data, "--out", out, *given)


def refused(said: Said) -> str:
    """Return the message of a command that refused: exit status 2, nothing on standard output."""
    assert said.status == 2, said
    assert said.out == ""
    before, error, message = said.err.rpartition("error: ")
    assert error and (not before or before.endswith("\n"))
    assert not any(line.startswith(("error", "Traceback")) for line in before.splitlines())
    # A list of bad samples has a line for each; all else is one line.
    assert all(line.startswith("- ") for line in message.splitlines()[1:])
    return error + message.rstrip("\n")


def start(code: str, *arguments: Any) -> "subprocess.Popen[str]":
    """Run Python code in a process of its own, with arguments for its `sys.argv`."""
    command: Sequence[str] = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def children(pid: int) -> list[int]:
    """Return the processes that the first thread of one has started (Linux)."""
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def running(pid: int) -> bool:
    """Say whether a process is there and not only waits to be forgotten (Linux)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
