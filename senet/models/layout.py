"""On which axis of what a layer gives the channels lie, in networks that anybody may have made."""

from typing import Any

import keras
from keras import layers

from senet.graph import functional, has_graph, inbound

MOVING = ("Permute", "Reshape", "Flatten", "Transpose", "Moveaxis", "Swapaxes")
"""Layers and operations behind which channels may lie on another axis."""


class Layout:
    """What the layers of a functional model say of the axis of the channels.

    Args:
        model: a functional model.

    Raises:
        ValueError: its graph cannot be read.
    """

    def __init__(self, model: keras.Model) -> None:
        model = functional(model)
        self.operations = {operation.name: operation for operation in model.operations}
        self.sources = inbound(model)
        self.readers: dict[str, list[str]] = {name: [] for name in self.sources}
        for reader, read in self.sources.items():
            for source in read:
                self.readers[source].append(reader)

    def find_channel_axis(self, name: str) -> int:
        """The axis of the channels in what a layer gives, 1 or -1.

        It is said by the layer, by the nearest one before it, or by the nearest behind it; else by
        the configuration of Keras.
        """
        for edges in (self.sources, self.readers):
            waiting, seen = [name], {name}
            while waiting:
                near = waiting.pop(0)
                moves = type(self.operations[near]).__name__ in MOVING
                if moves and edges is self.readers and near != name:
                    continue  # what is behind it may have them on another axis
                if axis := _own_axis(self.operations[near]):
                    return axis
                if not (moves and edges is self.sources):
                    waiting += [other for other in edges[near] if other not in seen]
                    seen.update(edges[near])
        return -1 if keras.config.image_data_format() == "channels_last" else 1


def _own_axis(layer: Any) -> int | None:
    """The axis of the channels that a layer says, 1 or -1, if it says one."""
    if has_graph(layer):
        inside = functional(layer)
        return Layout(inside).find_channel_axis(inside.output_names[0])
    if isinstance(layer, layers.BatchNormalization | layers.GroupNormalization):
        return {1: 1, -3: 1, 3: -1, -1: -1}.get(layer.axis)
    return {"channels_first": 1, "channels_last": -1}.get(getattr(layer, "data_format", ""))
