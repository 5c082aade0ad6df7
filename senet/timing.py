"""How long things take: repeated, in turn, medians."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

LEAST, MOST = 5, 40
"""Rounds that count, at least and at most."""


def in_turn(functions: Sequence[Callable[[], Any]], budget: float = 2.0) -> list[list[float]]:
    """Seconds that functions take, called one after the other in every round.

    What slows the machine down for a while slows all of them down, so that they can be compared.
    Three rounds before are not counted.

    Args:
        functions: to call.
        budget: seconds after which no further round begins, once five have counted.

    Returns:
        For each function its seconds, round by round.
    """
    for _ in range(3):
        for function in functions:
            function()
    seconds: list[list[float]] = [[] for _ in functions]
    begun = time.perf_counter()
    for turn in range(MOST):
        if turn >= LEAST and time.perf_counter() - begun > budget:
            break
        for function, taken in zip(functions, seconds, strict=True):
            started = time.perf_counter()
            function()
            taken.append(time.perf_counter() - started)
    return seconds


def ratio(seconds: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios of two functions in the same rounds."""
    return statistics.median(a / b for a, b in zip(seconds, others, strict=True))
