"""The graph of a functional Keras model: who feeds whom, and what a rewriting has to remember."""

from collections import Counter
from typing import Any

import keras

from senet.errors import InputError


def inbound(model: keras.Model) -> dict[str, list[str]]:
    """For each layer of a functional model the names of the layers that feed it.

    Read from `model.get_config()`, which is public and is what a saved file holds. A layer that is
    called several times lists the sources of all its calls.

    Raises:
        ValueError: the model is not functional.
    """
    return {
        name: [source for node in nodes for source in _tensors(node)]
        for name, nodes in calls(model).items()
    }


def calls(model: keras.Model) -> dict[str, list[Any]]:
    """For each layer of a functional model its calls, as `model.get_config()` writes them.

    Raises:
        ValueError: the model is not functional.
    """
    return {entry["name"]: entry["inbound_nodes"] for entry in _config(model)["layers"]}


def fresh_inputs(model: keras.Model) -> Any:
    """New inputs of the same structure, shapes, types and names, to rebuild a model on."""
    return keras.tree.map_structure(
        lambda t: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name), model.input
    )


class Rebuilding:
    """What is known while a graph is rebuilt from its inputs to its outputs.

    Layers that nothing reads in the end are dropped when a model is made of the outputs.

    Args:
        model: a functional model.

    Raises:
        ValueError: the model is not functional.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.readers = Counter(name for names in inbound(model).values() for name in names)
        """For each layer by name, how many read what it gives; the outputs of the model count."""
        outputs = keras.tree.flatten(_config(model)["output_layers"])
        self.readers.update(name for name in outputs if isinstance(name, str))
        self.made: dict[int, tuple[Any, Any, Any]] = {}

    def remember(self, outputs: Any, layer: keras.layers.Layer, read: Any) -> Any:
        """Say that `layer` gave `outputs` when it read `read`; returns the outputs."""
        if keras.utils.is_keras_tensor(outputs):
            self.made[id(outputs)] = outputs, layer, read  # as long as it lives its id is its own
        return outputs

    def maker(self, tensor: Any, *kinds: type) -> tuple[Any, Any]:
        """The layer that gave a tensor, if of one of these kinds, and what it read; or `None`s."""
        _, layer, read = self.made.get(id(tensor), (None, None, None))
        return (layer, read) if not kinds or type(layer) in kinds else (None, None)

    def read_once(self, tensor: Any) -> bool:
        """Whether what a layer gave has one reader."""
        layer, _ = self.maker(tensor)
        return layer is not None and self.readers[layer.name] == 1


def _config(model: keras.Model) -> dict[str, Any]:
    config = model.get_config()
    if "output_layers" not in config:
        raise InputError(
            f"The graph of {model.name!r} cannot be read: only functional models have one; got "
            f"{type(model).__name__}. Rebuild it as keras.Model(inputs, outputs)."
        )
    return config


def _tensors(item: Any) -> list[str]:
    """Names of the layers whose outputs appear in one serialised call, in order."""
    if isinstance(item, dict):
        if item.get("class_name") == "__keras_tensor__":
            return [item["config"]["keras_history"][0]]
        item = list(item.values())
    if isinstance(item, (list, tuple)):
        return [name for part in item for name in _tensors(part)]
    return []
