"""What the machine has: memory and cores, as far as it tells."""

import os
import pathlib

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
