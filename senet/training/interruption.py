"""Ctrl-C and SIGTERM between two steps, where nothing is half done."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, Self


class Stopped(Exception):
    """A signal asked the run to end, and it is between two steps."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)


class Interruption:
    """Takes Ctrl-C and SIGTERM while its body runs and hands them over where the loop asks.

    Python raises `KeyboardInterrupt` between any two instructions, in the middle of a step or of
    the construction of a loader too. Here the first signal is a request that `check` grants at the
    next step; a second Ctrl-C raises at once, wherever the program is, but never inside `writing`.

    Example:
        >>> with Interruption() as interruption:
        ...     for step in range(3):
        ...         interruption.check()
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self._held = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python tells no other of it
            for signum in (signal.SIGINT, signal.SIGTERM):
                self._before[signum] = signal.signal(signum, self._note_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def check(self) -> None:
        """Raise `Stopped` if a signal came."""
        if self.requested is not None:
            raise Stopped(self.requested)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Put off even a second Ctrl-C until the body is done, so that files are of one epoch."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _note_signal(self, signum: int, _: object) -> None:
        """Remember the first signal; the second Ctrl-C is for people who cannot wait."""
        if self.requested is not None and signum == signal.SIGINT and not self._held:
            raise KeyboardInterrupt
        if self.requested is None:
            again = "; Ctrl-C again stops at once" if signum == signal.SIGINT else ""
            print(f"\nstopping after this step{again}", file=sys.stderr)
            self.requested = signum
