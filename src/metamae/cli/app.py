"""The commands and their one way to fail."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from cyclopts import App, CycloptsError

from metamae.cli.attribute import attribute
from metamae.cli.bench import bench
from metamae.cli.console import fail
from metamae.cli.demo import demo
from metamae.cli.detect import detect
from metamae.cli.embed import embed
from metamae.cli.evaluate import evaluate
from metamae.cli.export import export
from metamae.cli.fewshot import fewshot
from metamae.cli.finetune import finetune, predict
from metamae.cli.impute import impute
from metamae.cli.inspect import inspect
from metamae.cli.list import list_plugins
from metamae.cli.pretrain import pretrain
from metamae.cli.report import report
from metamae.cli.search import search
from metamae.cli.serve import serve
from metamae.errors import MetaMAEError

USER_MISTAKE = 2


class Terminated(KeyboardInterrupt):
    """SIGTERM came: as Ctrl-C it lets what is under way put things in order."""


def package_version() -> str:
    """Return the version of the installed package."""
    from metamae.core.version import VERSION

    return VERSION


app = App(
    name="metamae",
    help="Self-supervised learning for data that nobody has a foundation model for.",
    version=package_version,
    # It would end the program without a word; `main` says that it was stopped.
    suppress_keyboard_interrupt=False,
)
for command in (
    inspect,
    pretrain,
    embed,
    evaluate,
    fewshot,
    attribute,
    detect,
    impute,
    search,
    report,
    demo,
    bench,
):
    app.command(command)
app.command(finetune)
app.command(predict)
app.command(export)
app.command(serve)
app.command(list_plugins, name="list")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit: 0 done, 2 a user's mistake, 130 or 143 stopped by a signal."""
    # Read when PyTorch loads. Threads that spin for long while they wait make a small step many
    # times slower as soon as anything else runs on the machine.
    os.environ.setdefault("GOMP_SPINCOUNT", "20000")
    try:
        with _terminating():
            status = app(
                arguments, exit_on_error=False, print_error=False, result_action="return_value"
            )
            sys.stdout.flush()
    except CycloptsError as error:
        fail(str(error))
        sys.exit(USER_MISTAKE)
    except MetaMAEError as error:
        fail(str(error))
        sys.exit(USER_MISTAKE)
    except KeyboardInterrupt as error:
        fail("stopped")
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        sys.exit(128 + number)
    except BrokenPipeError:
        # The reader of our output, e.g. `head`, has gone; there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(status if isinstance(status, int) else 0)


@contextmanager
def _terminating() -> Iterator[None]:
    """Let SIGTERM end a command as an exception: other processes that it started end with it."""
    # Python lets only the main thread set handlers.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated
