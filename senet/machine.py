"""What the machine has, memory and cores, as far as it tells; and more processes on it."""

import os
import pathlib
import sys

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
