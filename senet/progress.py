"""Progress on standard error: a bar on a terminal, a line now and then elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

LINE_EVERY = 20.0
"""Seconds between lines where there is no terminal."""


class Meter:
    """Counts items of one task and shows rate, remaining time and a note.

    Args:
        label: what is being done.
        total: number of items.
        unit: of an item, in the plural.
        done: items that were done before, and do not count for the rate.
    """

    def __init__(self, label: str, total: int, unit: str, done: int = 0) -> None:
        self.label, self.total, self.unit = label, total, unit
        self.done, self.before, self.note = done, done, ""
        self.started = self.shown = time.monotonic()

    @property
    def rate(self) -> float:
        """Items per second since the start."""
        return (self.done - self.before) / max(time.monotonic() - self.started, 1e-9)

    @property
    def remaining(self) -> float:
        """Seconds to the end at this rate; infinite before the first item."""
        return (self.total - self.done) / self.rate if self.rate else float("inf")

    def advance(self, items: int, note: str = "") -> None:
        """Count items as done and show where things stand."""
        self.done, self.note = self.done + items, note
        if time.monotonic() - self.shown >= LINE_EVERY:
            self.shown = time.monotonic()
            print(self, file=sys.stderr, flush=True)

    def __str__(self) -> str:
        left = f"{clock(self.remaining)} left"
        parts = (f"{self.done}/{self.total} {self.unit}", f"{self.rate:.1f}/s", left, self.note)
        return f"{self.label}: " + ", ".join(part for part in parts if part)


@contextmanager
def meter(label: str, total: int, unit: str = "images", done: int = 0) -> Iterator[Meter]:
    """Show the progress of a task while the body runs.

    Args:
        label: what is being done.
        total: number of items.
        unit: of an item, in the plural.
        done: items that were done before, as when a run goes on.

    Yields:
        A `Meter` to advance.

    Example:
        >>> with meter("evaluating", 100) as progress:
        ...     for _ in range(100):
        ...         progress.advance(1)
    """
    if not sys.stderr.isatty():
        yield Meter(label, total, unit, done)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        TextColumn("{task.fields[state]}"),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(label, total=total, completed=done, state="")

        class Bar(Meter):
            def advance(self, items: int, note: str = "") -> None:
                self.done, self.note = self.done + items, note
                state = str(self).removeprefix(f"{self.label}: ")
                bars.update(task, completed=self.done, state=state)

        yield Bar(label, total, unit, done)


@contextmanager
def working(label: str) -> Iterator[None]:
    """Show on a terminal that something goes on whose length is not known.

    Args:
        label: what is being done.

    Example:
        >>> with working("writing onnx"):
        ...     pass
    """
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(label):
        yield


def clock(seconds: float) -> str:
    """A duration as people read it: `45 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds == float("inf"):
        return "?"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
