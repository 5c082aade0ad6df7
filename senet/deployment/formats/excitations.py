"""Excitations in the graph of another library, which stay in floating point where the rest is int8.

Those that end in a sigmoid are found. They are a thousandth of the work, and a gate in 256 steps
multiplies a whole channel.
"""

from collections.abc import Callable
from typing import Any

POOLS = ("ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool")
LONGEST = 20
"""Most nodes between a squeeze and its gate; converters add some that move axes or change types."""


def find_excitation(
    sigmoid: Any, before: Callable[[Any], Any], kind: Callable[[Any], str]
) -> list[Any]:
    """The nodes from a global pooling to a gate, without the pooling; none if there is no such.

    Args:
        sigmoid: a node that may be a gate.
        before: the node whose output another one reads first, or `None`.
        kind: what a node computes, by name.
    """
    chain: list[Any] = []
    node = sigmoid
    while node is not None and len(chain) < LONGEST:
        if kind(node) in POOLS:
            return chain
        chain.append(node)
        node = before(node)
    return []
