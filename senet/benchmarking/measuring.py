"""Times of a subject, and what else is known when they were taken."""

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

from senet import machine
from senet.benchmarking.limits import Limits, measure_limits
from senet.benchmarking.subjects import Subject
from senet.progress import meter, working

WARM_UP = 2
"""Steps after the first one that do not count."""
LEAST = 0.2
"""Seconds of a repeat: of short steps several make one."""


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What was measured of a subject.

    Args:
        first: seconds of the first step, which compiles.
        seconds: of a step, one value for each repeat.
        steps: in each repeat.
        peak_memory: most bytes that the process had in memory up to the end of the last step;
            `None` where nothing tells.
        busy_cores: that other processes used meanwhile, on average; `None` where nothing tells.
        limits: of the machine, measured after the steps; `None` where there are none to measure.
    """

    first: float
    seconds: tuple[float, ...]
    steps: int
    peak_memory: int | None
    busy_cores: float | None
    limits: Limits | None


def measure(subject: Subject, repeats: int) -> Measurement:
    """Time the steps of a subject, and then what the machine could do.

    Args:
        subject: to time.
        repeats: that count; one is as many steps as take a fifth of a second.
    """
    with working("the first step, which compiles"):
        first = time_steps(subject.step)
    warm = min(time_steps(subject.step) for _ in range(WARM_UP))
    steps = max(1, math.ceil(LEAST / warm))
    others, seconds = machine.Others(), []
    with meter("measuring", repeats, "repeats") as progress:
        for _ in range(repeats):
            seconds.append(time_steps(subject.step, steps))
            rate = subject.batch_size / statistics.median(seconds)
            progress.advance(1, f"{rate:.1f} images/s")
    busy, peak = others.count_busy_cores(), machine.read_peak_memory()
    limits = None
    if subject.limiting_precision:
        with working("measuring what the machine could do"):
            limits = measure_limits(subject.limiting_precision)
    return Measurement(first, tuple(seconds), steps, peak, busy, limits)


def time_steps(step: Callable[[], Any], count: int = 1) -> float:
    """Seconds of one step, of so many in a row."""
    started = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - started) / count
