"""Find squeeze-and-excitation blocks in any functional Keras model, by structure, not by name."""

import dataclasses
from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras
from keras import layers

from senet.errors import InputError
from senet.graph import Call, Given, call_sources, functional, has_graph, inner_models, open_path

POOLS = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
POOLING_OPERATIONS = ("Mean", "Max")
REDUCTIONS = (*POOLING_OPERATIONS, "Min", "Sum")
SPATIAL_AXES = ([1, 2], [2, 3])
"""Axes of the pixels in maps, channels last and first."""
GATES = (
    *(keras.activations.sigmoid, keras.activations.hard_sigmoid, keras.activations.tanh),
    *(keras.activations.relu, keras.activations.relu6),
)
ACTIVATIONS: dict[str, Any] = {
    "Sigmoid": keras.activations.sigmoid,
    "HardSigmoid": keras.activations.hard_sigmoid,
    "Tanh": keras.activations.tanh,
    "Relu": keras.activations.relu,
    "Relu6": keras.activations.relu6,
}
"""What `keras.ops.sigmoid(x)` and others of `keras.ops` are, by the class of the operation that a
graph holds; the classes themselves are not public."""

WITHIN = (layers.TimeDistributed, layers.Bidirectional)
"""Layers with layers of their own in them."""
UNCHANGING = (
    *(layers.Reshape, layers.Flatten, layers.Identity, layers.Permute),
    *(layers.Dropout, layers.RepeatVector),
)
"""Layers that leave every value as it is when a network is used."""


@dataclasses.dataclass(frozen=True)
class SEBlock:
    """Layer names of one squeeze-and-excitation block.

    In place of a layer an operation may stand, as for `x * s`. What lies in a model that is itself
    a layer is named with it, as `"backbone/block1_se_scale"`.

    Args:
        squeeze: the global pooling, or `None` where the map is not pooled (the paper's table 16).
        excitation: the layers with weights between squeeze and gate, in order.
        scale: the multiplication of gate and map.
        gate: what gives the gate to the multiplication.
        scaled: what gives the map.
        calls: how often the layer that scales is called in the model that it lies in.
    """

    squeeze: str | None
    excitation: tuple[str, ...]
    scale: str
    gate: str
    scaled: str
    calls: int = 1

    def inside(self, model: str) -> "SEBlock":
        """The names of this block as seen from outside of the model that it lies in."""
        return SEBlock(
            squeeze=None if self.squeeze is None else f"{model}/{self.squeeze}",
            excitation=tuple(f"{model}/{name}" for name in self.excitation),
            **{name: f"{model}/{getattr(self, name)}" for name in ("scale", "gate", "scaled")},
            calls=self.calls,
        )


def find_se_blocks(model: keras.Model) -> list[SEBlock]:
    """The squeeze-and-excitation blocks of a model, in network order.

    A block is a multiplication of a map, and nothing else, by a gate computed from that same map: a
    global pooling of it, then layers with weights, then a sigmoid, hard sigmoid, tanh or ReLU. Two
    1x1 convolutions without the pooling count too (table 16). Names play no part, so hand-built
    blocks are found as well, those written `x * s`, and those of models inside this one.

    Args:
        model: a functional Keras model, or a Sequential one that is built.

    Returns:
        One `SEBlock` for each block found; where a layer or a model is called several times, one
        for each time, of the same names.

    Raises:
        ValueError: the model is not functional, so that its graph cannot be read.

    Example:
        >>> len(find_se_blocks(senet.SEResNet50()))
        16
    """
    model = functional(model)
    sources, inner = call_sources(model), inner_models(model)
    operations = {operation.name: operation for operation in model.operations}
    called = Counter(name for name, _ in sources)
    found = []
    for name, operation in operations.items():
        if name in inner:
            blocks = [block.inside(name) for block in find_se_blocks(inner[name])]
            found += blocks * called[name]
        elif _multiplies(operation):
            for number in range(called[name]):
                for scaled, gate in _pairs(sources[name, number]):
                    if block := _trace(operations, sources, gate, scaled, name):
                        found.append(dataclasses.replace(block, calls=called[name]))
    return found


def se_blocks(model: keras.Model, names: Iterable[str] | None = None) -> list[SEBlock]:
    """The blocks of a model that must have some, each of another name; those of these names.

    Args:
        model: a functional Keras model.
        names: of the layers that scale; by default all.

    Raises:
        ValueError: the model has no squeeze-and-excitation blocks, or none of a name, or one is
            called several times.
    """
    blocks = find_se_blocks(model)
    if not blocks:
        raise InputError(
            f"{model.name!r} has no squeeze-and-excitation blocks: no map is multiplied by a gate "
            f"that is computed from it. senet.insert adds them.{_name_unread(model)}"
        )
    counted = Counter(block.scale for block in blocks)
    several = [b for b in blocks if b.calls > 1 or counted[b.scale] > 1]
    if several:
        around = several[0].scale.rpartition("/")[0]
        alone = several[0].calls == 1 and around and "/" not in around  # the model is called again
        look = f" Look at model.get_layer({around!r}) alone." if alone else ""
        raise InputError(
            f"The block {several[0].scale!r} of {model.name!r} is called several times, so that "
            f"its gates have no name of their own each time.{look}"
        )
    if names is None:
        return blocks
    wanted, known = list(names), [block.scale for block in blocks]
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise InputError(
            f"{model.name!r} has no squeeze-and-excitation block {', '.join(map(repr, unknown))}; "
            f"its blocks are {', '.join(known)}."
        )
    return [block for block in blocks if block.scale in wanted]


def find_end(model: keras.Model) -> str:
    """Path of what a model of one output ends in, before layers that change no value.

    Where it ends in a model inside it, of what that ends in.
    """
    model = functional(model)
    sources, name = call_sources(model), model.output_names[0]
    operations = {operation.name: operation for operation in model.operations}
    while sources[name, 0] and _changes_nothing(operations[name]):
        name = sources[name, 0][0][0]
    inside = inner_models(model).get(name)
    return f"{name}/{find_end(inside)}" if inside else name


def _changes_nothing(operation: Any) -> bool:
    linear = getattr(operation, "activation", None) is keras.activations.linear
    is_activation = isinstance(operation, layers.Activation)
    return isinstance(operation, UNCHANGING) or (is_activation and linear)


def name_final_activation(model: keras.Model) -> str | None:
    """What a model of one output ends in, as `"softmax"`; `None` where it gives logits."""
    inside, name = open_path(model, find_end(model))
    end = next(operation for operation in inside.operations if operation.name == name)
    if _kind(end) == "Softmax":  # a layer or an operation
        return "softmax"
    activation = activation_of(end)
    return getattr(activation, "__name__", "?") if activation else None


def _name_unread(model: keras.Model) -> str:
    """What in a model was not looked into, a sentence or two."""
    known = inner_models(model)
    unread = [
        layer.name
        for layer in functional(model).layers
        if isinstance(layer, (keras.Model, *WITHIN)) and layer.name not in known
    ]
    told = f" What is in {', '.join(unread)} cannot be read: no functional model." if unread else ""
    if known:
        told += " An excitation that is a model of its own is not looked through: call its layers."
    return told


def _kind(operation: Any) -> str:
    """The class of a layer or an operation; `keras.ops` has no public names of its classes."""
    return type(operation).__name__


def _multiplies(operation: Any) -> bool:
    """Whether it is Keras' multiplication, as a layer or an operation."""
    if isinstance(operation, layers.Layer):
        return isinstance(operation, layers.Multiply)
    return _kind(operation) == "Multiply"


def _pairs(read: list[Given]) -> list[tuple[Given, Given]]:
    """Map and gate, either way round; a third factor would be lost with the gate."""
    if len(read) != 2 or read[0] == read[1]:
        return []
    return [(read[0], read[1]), (read[1], read[0])]


def _trace(
    operations: dict[str, Any],
    sources: dict[Call, list[Given]],
    gate: Given,
    scaled: Given,
    scale: str,
) -> SEBlock | None:
    """Walk back from a gate to the map it scales; a block if what lies between is an excitation."""
    weighted: list[str] = []
    last_activation, call = None, gate[:2]
    while len(sources[call]) == 1:
        name, operation = call[0], operations[call[0]]
        if _is_pool(operation):
            found = weighted and last_activation in GATES and sources[call] == [scaled]
            return SEBlock(name, tuple(weighted), scale, gate[0], scaled[0]) if found else None
        if _kind(operation) in REDUCTIONS:
            return None
        last_activation = last_activation or activation_of(operation)
        if getattr(operation, "weights", None):
            weighted.insert(0, name)
            if not _is_pointwise(operation):
                return None
        if sources[call] == [scaled] and len(weighted) == 2:
            found = last_activation in GATES
            return SEBlock(None, tuple(weighted), scale, gate[0], scaled[0]) if found else None
        call = sources[call][0][:2]
    return None


def _is_pool(operation: Any) -> bool:
    """Whether it gives one number of each channel of maps."""
    if isinstance(operation, POOLS):
        return True
    if isinstance(operation, layers.Layer) or _kind(operation) not in POOLING_OPERATIONS:
        return False
    axes = operation.axis if isinstance(operation.axis, (list, tuple)) else ()
    return sorted(axis % 4 for axis in axes) in SPATIAL_AXES


def activation_of(operation: Any) -> Any:
    """What a layer or an operation ends in, if that is a nonlinear function."""
    if isinstance(operation, layers.ReLU):
        if operation.negative_slope:
            return keras.activations.leaky_relu
        bounded = operation.max_value is not None
        return keras.activations.relu6 if bounded else keras.activations.relu
    if not isinstance(operation, layers.Layer):
        return ACTIVATIONS.get(_kind(operation))
    activation = getattr(operation, "activation", None)
    return None if activation is keras.activations.linear else activation


def _is_pointwise(layer: Any) -> bool:
    """Whether a layer mixes channels only, as the layers of an excitation do."""
    return set(getattr(layer, "kernel_size", (1,))) == {1} and not has_graph(layer)
