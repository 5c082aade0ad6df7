"""Ctrl-C between two steps, where nothing is half done."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any, Self


class Interruption:
    """Takes Ctrl-C while its body runs and hands it over where the loop asks for it.

    Python raises `KeyboardInterrupt` between any two instructions, in the middle of a step or of
    the construction of a loader too. Here the first Ctrl-C is a request that `check` grants at the
    next step; a second one raises at once, wherever the program is, but never inside `writing`.

    Example:
        >>> with Interruption() as interruption:
        ...     for batch in batches:
        ...         interruption.check()
        ...         step(batch)
    """

    def __init__(self) -> None:
        self.requested = self._held = False
        self._before: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python tells no other of it
            self._before = signal.signal(signal.SIGINT, self._pressed)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def check(self) -> None:
        """Raise `KeyboardInterrupt` if Ctrl-C was pressed."""
        if self.requested:
            raise KeyboardInterrupt

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Put off even a second Ctrl-C until the body is done, so that files are of one epoch."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _pressed(self, *_: object) -> None:
        if self.requested and not self._held:
            raise KeyboardInterrupt
        if not self.requested:
            print("\nstopping after this step; Ctrl-C again stops at once", file=sys.stderr)
        self.requested = True
