"""What the machine has, memory and cores, as far as it tells; and more processes on it."""

import os
import pathlib
import sys
import time
from collections.abc import Callable

MOST_MEMORY = 2**40
"""Bytes that a machine is thought to have where it does not say."""
LIMIT_OF_CONTAINER = pathlib.Path("/sys/fs/cgroup/memory.max")
"""Where Linux says how much a container may use; `max` where it sets no limit."""


def count_memory() -> int:
    """Bytes of memory that this process may use: those of the machine, or of its container."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # as on Windows
        there = MOST_MEMORY
    try:
        return min(there, int(LIMIT_OF_CONTAINER.read_text()))
    except (OSError, ValueError):
        return there


def count_cores() -> int:
    """Processors of the machine."""
    return os.cpu_count() or 1


def count_usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else count_cores()


def read_peak_memory() -> int | None:
    """Most bytes that this process had in memory since it began; `None` where nothing tells."""
    try:
        # ru_maxrss would be that of the process that started this one, where it was larger.
        status = pathlib.Path("/proc/self/status").read_text()
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    kilobytes = sys.platform != "darwin"
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1024 if kilobytes else 1)


def read_own_seconds() -> float:
    """Seconds that processors worked for this process."""
    times = os.times()
    return times.user + times.system


class Others:
    """How busy other processes keep the machine, from now on.

    Args:
        read_own: seconds that processors worked for those that are not others: by default for this
            process.
    """

    def __init__(self, read_own: Callable[[], float] = read_own_seconds) -> None:
        self.began, self.read_own = time.monotonic(), read_own
        self.all, self.own = _read_busy_seconds(), read_own()

    def count_busy_cores(self) -> float | None:
        """Cores that others used since then, on average; `None` where nothing tells.

        In a container what tells may be of the whole machine, which has more cores: no use then.
        """
        busy = _read_busy_seconds()
        if busy is None or self.all is None:
            return None
        taken = busy - self.all - (self.read_own() - self.own)
        cores = max(0.0, taken / max(1e-9, time.monotonic() - self.began))
        return cores if cores <= count_usable_cores() else None


def _read_busy_seconds() -> float | None:
    """Seconds that all processors worked since the machine started, as Linux counts them."""
    try:
        with open("/proc/stat") as file:
            user, nice, system, _, _, *interrupts = map(int, file.readline().split()[1:9])
        return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None


def own_program(module: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """What starts a module of this package in a process of its own.

    It imports from where this one does, but not what happens to lie in the current folder: people
    work in folders of others.

    Args:
        module: to run as a program.
        arguments: of it.

    Returns:
        The command, and the environment for it.
    """
    own, here = str(pathlib.Path(__file__).parent.parent), pathlib.Path.cwd()
    others = [str(place) for place in sys.path if str(place) and pathlib.Path(place) != here]
    command = [sys.executable, "-P", "-m", module, *arguments]
    return command, os.environ | {"PYTHONPATH": os.pathsep.join([own, *others])}
