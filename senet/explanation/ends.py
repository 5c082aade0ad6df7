"""The range of a gate: what its activation can give, and what is done to it on the way."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from senet.errors import InputError
from senet.graph import call_sources, calls, open_path
from senet.models.graph import UNCHANGING, SEBlock, activation_of

ENDS = {
    keras.activations.sigmoid: (0.0, 1.0),
    keras.activations.hard_sigmoid: (0.0, 1.0),
    keras.activations.tanh: (-1.0, 1.0),
    keras.activations.relu: (0.0, math.inf),
    keras.activations.relu6: (0.0, 6.0),
}
"""Smallest and largest value of what a gate may end in."""
SHAPING = (
    *("Reshape", "ExpandDims", "Squeeze", "Identity", "GetItem", "Cast", "Transpose"),
    *("BroadcastTo", "Flatten", "Ravel", "Swapaxes", "Moveaxis"),
)
"""Operations of `keras.ops` that leave every value as it is."""


def gate_ends(model: keras.Model, blocks: Iterable[SEBlock]) -> dict[str, tuple[float, float]]:
    """Smallest and largest value that the gate of each block can have, by what scales.

    Raises:
        ValueError: something between an activation and a gate is none of what can be followed.
    """
    graphs: dict[str, _Graph] = {}  # one for each model that blocks lie in
    found = {}
    for block in blocks:
        around, name = block.gate.rpartition("/")[0], block.gate.rpartition("/")[2]
        if around not in graphs:
            graphs[around] = _Graph(open_path(model, block.gate)[0])
        found[block.scale] = graphs[around].find_ends(name, block)
    return found


class _Graph:
    """A functional model, read once."""

    def __init__(self, model: keras.Model) -> None:
        self.sources, self.calls = call_sources(model), calls(model)
        self.operations = {operation.name: operation for operation in model.operations}

    def find_ends(self, name: str, block: SEBlock) -> tuple[float, float]:
        """Smallest and largest value of what a layer gives, which is the gate of a block."""
        scale, offset = 1.0, 0.0  # of what was met on the way, from the gate to its activation
        while True:
            operation = self.operations[name]
            if found := ENDS.get(activation_of(operation)):
                low, high = found
                if isinstance(operation, keras.layers.ReLU) and operation.max_value is not None:
                    high = float(operation.max_value)
                ends = sorted((low * scale + offset, high * scale + offset))
                return ends[0], ends[1]
            factor, shift = _affine(operation, self.calls[name])
            if factor is None:
                raise InputError(
                    f"What a gate of {block.scale} can be at most cannot be told behind {name} "
                    f"({type(operation).__name__}): of what comes between an activation and its "
                    "gate, factors, offsets and changes of shape can be followed."
                )
            scale, offset = scale * factor, offset + scale * shift
            name = self.sources[name, 0][0][0]


def _affine(operation: Any, given: list[Any]) -> tuple[float | None, float]:
    """Factor and offset by which an operation changes every value; `None` if it is none such."""
    if isinstance(operation, keras.layers.Rescaling):
        both = (operation.scale, operation.offset)
        single = all(np.ndim(number) == 0 for number in both)
        return (float(both[0]), float(both[1])) if single else (None, 0.0)
    if isinstance(operation, UNCHANGING):
        return 1.0, 0.0
    if isinstance(operation, keras.layers.Layer):
        plain = not operation.weights and hasattr(operation, "activation")
        return (1.0, 0.0) if plain else (None, 0.0)
    kind, node = type(operation).__name__, given[0]
    values = (*node["args"], *node["kwargs"].values())
    numbers = [value for value in values if type(value) in (int, float)]
    if kind in SHAPING:
        return 1.0, 0.0
    if kind == "Negative":
        return -1.0, 0.0
    if len(values) != 2 or len(numbers) != 1:
        return None, 0.0
    number, is_second = float(numbers[0]), values[1] is numbers[0]
    if kind == "Multiply":
        return number, 0.0
    if kind == "Add":
        return 1.0, number
    if kind == "Subtract":
        return (1.0, -number) if is_second else (-1.0, number)
    if kind in ("Divide", "TrueDivide") and is_second and number:
        return 1 / number, 0.0
    return None, 0.0
