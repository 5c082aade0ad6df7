"""On which axis of what a layer gives the channels lie, in networks that anybody may have made."""

from typing import Any

import keras
from keras import layers

from senet.graph import functional, inbound, inner_models

MOVING = ("Permute", "Reshape", "Flatten", "Transpose", "Moveaxis", "Swapaxes")
"""Layers and operations behind which channels may lie on another axis."""


class Layout:
    """What the layers of a functional model say of the axis of the channels.

    Args:
        model: a functional model.
        around: the axis, 1 or -1, where nothing in the model says one; by default that of the
            configuration of Keras.

    Raises:
        ValueError: its graph cannot be read.
    """

    def __init__(self, model: keras.Model, around: int | None = None) -> None:
        model = functional(model)
        self.around, self.output = around, model.output_names[0]
        self.operations = {operation.name: operation for operation in model.operations}
        self.inner = {name: Layout(inside) for name, inside in inner_models(model).items()}
        self.sources = inbound(model)
        self.readers: dict[str, list[str]] = {name: [] for name in self.sources}
        for reader, read in self.sources.items():
            for source in read:
                self.readers[source].append(reader)

    def find_channel_axis(self, name: str) -> int:
        """The axis of the channels in what a layer gives, 1 or -1.

        It is said by the layer, by the nearest one before it, or by the nearest behind it; else by
        what is around the model.
        """
        configured = -1 if keras.config.image_data_format() == "channels_last" else 1
        return self._before(name) or self._behind(name) or self.around or configured

    def _before(self, name: str) -> int | None:
        """What a layer says of its output, or the nearest one before it."""
        waiting, seen = [name], {name}
        while waiting:
            near = waiting.pop(0)
            inside = self.inner.get(near)
            axis = inside._before(inside.output) if inside else _own_axis(self.operations[near])
            if axis:
                return axis
            if type(self.operations[near]).__name__ not in MOVING:
                waiting += [other for other in self.sources[near] if other not in seen]
                seen.update(self.sources[near])
        return None

    def _behind(self, *names: str) -> int | None:
        """What the nearest layer behind these says of its input."""
        waiting, seen = [r for name in names for r in self.readers[name]], set(names)
        while waiting:
            near = waiting.pop(0)
            inside = self.inner.get(near)
            if type(self.operations[near]).__name__ in MOVING:
                continue  # what is behind it may have them on another axis
            axis = inside._behind(*inside._inputs()) if inside else _own_axis(self.operations[near])
            if axis:
                return axis
            waiting += [other for other in self.readers[near] if other not in seen]
            seen.update(self.readers[near])
        return None

    def _inputs(self) -> list[str]:
        return [n for n, op in self.operations.items() if isinstance(op, layers.InputLayer)]


def _own_axis(layer: Any) -> int | None:
    """The axis of the channels that a layer says, 1 or -1, if it says one."""
    if isinstance(layer, layers.BatchNormalization | layers.GroupNormalization):
        return {1: 1, -3: 1, 3: -1, -1: -1}.get(layer.axis)
    return {"channels_first": 1, "channels_last": -1}.get(getattr(layer, "data_format", ""))
