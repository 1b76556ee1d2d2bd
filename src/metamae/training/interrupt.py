"""Ctrl-C and SIGTERM as a request to stop after the current step."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any


class Interrupt:
    """While entered, the first SIGINT or SIGTERM is only noted; a second one acts as usual.

    Args:
        active: Whether to note anything at all.

    Attributes:
        signal: Name of the signal that came, or None.
    """

    def __init__(self, *, active: bool = True) -> None:
        self.active = active
        self.signal: str | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupt":
        # Python lets only the main thread set handlers; elsewhere nothing is caught.
        if self.active and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = signal.Signals(number).name
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
