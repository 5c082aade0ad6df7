"""Find squeeze-and-excitation blocks in any functional Keras model, by structure, not by name."""

import dataclasses
from collections.abc import Iterable

import keras
from keras import layers

from senet.errors import InputError
from senet.graph import inbound

POOLS = (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D)
GATES = (keras.activations.sigmoid, keras.activations.tanh, keras.activations.relu)


@dataclasses.dataclass(frozen=True)
class SEBlock:
    """Layer names of one squeeze-and-excitation block.

    Args:
        squeeze: the global pooling, or `None` where the map is not pooled (the paper's table 16).
        excitation: the layers with weights between squeeze and gate, in order.
        scale: the multiplication of gate and map.
        gate: what gives the gate to the multiplication.
        scaled: what gives the map.
    """

    squeeze: str | None
    excitation: tuple[str, ...]
    scale: str
    gate: str
    scaled: str


def find_se_blocks(model: keras.Model) -> list[SEBlock]:
    """The squeeze-and-excitation blocks of a model, in network order.

    A block is a multiplication of a map by a gate computed from that same map: a global pooling of
    it, then layers with weights, then a sigmoid, tanh or ReLU. Two 1x1 convolutions without the
    pooling count too (table 16). Names play no part, so hand-built blocks are found as well.

    Args:
        model: a functional Keras model.

    Returns:
        One `SEBlock` for each block found.

    Raises:
        ValueError: the model is not functional, so that its graph cannot be read.

    Example:
        >>> len(find_se_blocks(senet.SEResNet50()))
        16
    """
    sources = inbound(model)
    by_name = {layer.name: layer for layer in model.layers}
    found = []
    for layer in model.layers:
        if isinstance(layer, layers.Multiply):
            for scaled, gate in _pairs(sources[layer.name]):
                if block := _trace(by_name, sources, gate, scaled, layer.name):
                    found.append(block)
    return found


def se_blocks(model: keras.Model, names: Iterable[str] | None = None) -> list[SEBlock]:
    """The blocks of a model that must have some; those of these names, all without names.

    Args:
        model: a functional Keras model.
        names: of the layers that scale.

    Raises:
        ValueError: the model has no squeeze-and-excitation blocks, or none of a name.
    """
    blocks = find_se_blocks(model)
    if not blocks:
        raise InputError(
            f"{model.name!r} has no squeeze-and-excitation blocks: no map is multiplied by a gate "
            "that is computed from it. senet.insert adds them."
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


def softmax_of(model: keras.Model) -> keras.layers.Layer | None:
    """The layer that makes probabilities at the end of a model of one output, if there is one."""
    last = next((found for found in model.layers if found.name == model.output_names[0]), None)
    own = getattr(last, "activation", None) is keras.activations.softmax
    return last if own or isinstance(last, layers.Softmax) else None


def _pairs(names):
    return [(a, b) for a in names for b in names if a != b]


def _trace(by_name, sources, gate, scaled, scale):
    """Walk back from a gate to the map it scales; a block if what lies between is an excitation."""
    weighted, last_activation, name = [], None, gate
    while len(sources[name]) == 1:
        layer = by_name.get(name)  # None for an operation such as x / 6, which has no layer
        if isinstance(layer, POOLS):
            found = weighted and last_activation in GATES and sources[name] == [scaled]
            return SEBlock(name, tuple(weighted), scale, gate, scaled) if found else None
        last_activation = last_activation or _activation(layer)
        if layer and layer.weights:
            weighted.insert(0, name)
            if not _is_pointwise(layer):
                return None
        if sources[name] == [scaled] and len(weighted) == 2:
            found = last_activation in GATES
            return SEBlock(None, tuple(weighted), scale, gate, scaled) if found else None
        name = sources[name][0]
    return None


def _activation(layer):
    """What a layer ends in, if that is a nonlinear function."""
    if isinstance(layer, layers.ReLU):
        return keras.activations.relu if layer.max_value is None else keras.activations.relu6
    activation = getattr(layer, "activation", None)
    return None if activation is keras.activations.linear else activation


def _is_pointwise(layer):
    """Whether a layer mixes channels only, as the layers of an excitation do."""
    return set(getattr(layer, "kernel_size", (1,))) == {1}
