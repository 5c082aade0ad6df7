"""Networks whose gates are constants: the gate leaves, layers around it take the constant in.

With a constant gate `g` the scaled map is `g x`. Where `x` comes of a batch normalisation,
`g (gamma x' + beta) = (g gamma) x' + g beta`; where it comes of a linear convolution,
`g (W h + b) = (g W) h + g b`. A convolution that reads the scaled map takes it in as well:
`W (g x) + b = (W g) x + b`. ReLU and pooling may lie between: `relu(g x) = g relu(x)` for `g >= 0`.
All of this is exact but for the rounding of the products; where none of it fits, the constant is
refused.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from senet.errors import InputError
from senet.graph import call_sources, find_tensor, functional, inbound, rebuild, set_weights
from senet.models.graph import SEBlock, activation_of, se_blocks
from senet.models.layout import Layout

LINEAR = (
    *(layers.Identity, layers.Dropout, layers.SpatialDropout2D, layers.UpSampling2D),
    *(layers.AveragePooling2D, layers.GlobalAveragePooling2D),
    *(layers.ZeroPadding2D, layers.Cropping2D),
)
"""Layers that give `g y` for `g x`, whatever the constant `g` of a channel."""
POSITIVE = (layers.MaxPooling2D, layers.GlobalMaxPooling2D, layers.LeakyReLU, layers.PReLU)
"""Layers that do so for constants that are not below 0."""
BENT = (keras.activations.relu, keras.activations.leaky_relu)
"""Activations that do so for constants that are not below 0."""


CONVOLUTIONS = (
    *(layers.Conv2D, layers.Conv2DTranspose, layers.DepthwiseConv2D, layers.SeparableConv2D),
    layers.Dense,
)
"""Layers whose kernels, and the biases of what they give, take a constant in."""


class _Refused(Exception):
    """Why no layer takes a constant in, half a sentence."""


@dataclasses.dataclass(frozen=True)
class _Taker:
    """A layer that takes a constant in: with what it gives, or with what it reads."""

    layer: str
    gives: bool


def with_constant_gates(
    model: keras.Model, constants: Mapping[str, np.ndarray | None]
) -> keras.Model:
    """A copy of a network in which the gates of some blocks are constants.

    Args:
        model: a functional Keras model. It stays as it is.
        constants: for each block, by the name of the layer that scales, its gate `(C,)`, or `None`
            for 1, which is no gate at all.

    Returns:
        A functional model of the layers of the given one without the excitations of these blocks.

    Raises:
        ValueError: the model is not functional, has no such block, a constant is of another shape,
            or no layer takes it in exactly.

    Example:
        >>> model = senet.create("se_resnet18")
        >>> folded = with_constant_gates(model, {"stage1_block1_se_scale": np.full(64, 0.5)})
        >>> len(senet.find_se_blocks(model)), len(senet.find_se_blocks(folded))
        (8, 7)
    """
    blocks = {block.scale: block for block in blocks_to_fold(model, constants)}
    model = functional(model)
    around = _Around(model)
    around.hold(blocks.values())
    gates = {name: around.check(blocks[name], gate) for name, gate in constants.items()}
    takers = [
        (taker, gate)
        for name, gate in gates.items()
        if gate is not None
        for taker in around.find_takers(blocks[name], gate)
    ]
    folded = _without(model, blocks)
    kept = {layer.name: layer for layer in folded.layers}
    for layer in model.layers:
        if layer.weights and layer.name in kept:
            set_weights(kept[layer.name], layer.get_weights())
            kept[layer.name].trainable = layer.trainable
    for taker, gate in takers:
        _multiply(kept[taker.layer], gate, taker.gives)
    return folded


def blocks_to_fold(model: keras.Model, names: Iterable[str] | None = None) -> list[SEBlock]:
    """`se_blocks`, of which none may lie in a model inside the model: only its layers are rebuilt.

    Raises:
        ValueError: one does, or as for `se_blocks`.
    """
    blocks = se_blocks(model, names)
    for block in blocks:
        around, _, name = block.scale.rpartition("/")
        if around:
            raise InputError(
                f"The block {name!r} lies in {around!r}, a model inside {model.name!r}: fold that "
                "model by itself, and put what it becomes in its place."
            )
    return blocks


def explain_refusals(model: keras.Model, gates: Mapping[str, np.ndarray]) -> dict[str, str]:
    """Why constants cannot be taken in, each as the only one, by the name of its block.

    Args:
        model: a functional Keras model.
        gates: constants `(C,)` by the name of the layer that scales.

    Returns:
        A sentence for each that `with_constant_gates` would refuse.

    Raises:
        ValueError: the model is not functional, or has no such block.
    """
    model, refused = functional(model), {}
    around = _Around(model)
    for block in blocks_to_fold(model, gates):
        around.hold([block])
        gate = around.check(block, gates[block.scale])
        if gate is None:
            continue
        try:
            around.find_takers(block, gate)
        except InputError as error:
            refused[block.scale] = str(error)
    return refused


class _Around:
    """What lies before and behind gates that are to be constants.

    Args:
        model: a functional model.
    """

    def __init__(self, model: keras.Model) -> None:
        self.operations = {operation.name: operation for operation in model.operations}
        self.called = Counter(name for name, _ in call_sources(model))
        self.layout = Layout(model)
        outputs = keras.tree.flatten(model.get_config()["output_layers"])
        self.outputs = [name for name in outputs if isinstance(name, str)]
        self.all_sources = inbound(model)

    def hold(self, blocks: Iterable[SEBlock]) -> None:
        """Look at the graph in which only these gates are constants, without their excitations."""
        alone = {block.scale: [block.scaled] for block in blocks}
        self.constant, sources = set(alone), self.all_sources | alone
        self.sources: dict[str, list[str]] = {}
        waiting = list(self.outputs)
        while waiting:  # what no output needs any more is left out
            name = waiting.pop()
            if name not in self.sources:
                self.sources[name] = sources[name]
                waiting += sources[name]
        self.readers: dict[str, list[str]] = {name: [] for name in self.sources}
        for reader, read in self.sources.items():
            for source in read:
                self.readers[source].append(reader)

    def check(self, block: SEBlock, gate: Any) -> np.ndarray | None:
        """A constant as an array; `None` where it is 1.

        Raises:
            ValueError: it has another shape than `(C,)`, or is not finite.
        """
        if gate is None:
            return None
        axis = self.layout.find_channel_axis(block.scaled)
        channels = self.operations[block.scale].output.shape[axis]
        constant = np.asarray(gate, "float64")
        if constant.shape != (channels,):
            raise InputError(
                f"The gate of {block.scale!r} must be of shape ({channels},), one number for each "
                f"channel; got {constant.shape}."
            )
        if not np.isfinite(constant).all():
            raise InputError(f"The gate of {block.scale!r} must be finite; got {constant}.")
        return None if (constant == 1).all() else constant

    def find_takers(self, block: SEBlock, gate: np.ndarray) -> list[_Taker]:
        """The layers that take a constant in, all before the block or all behind it.

        Raises:
            ValueError: there are none.
        """
        axis = self.layout.find_channel_axis(block.scaled)
        positive = bool((gate >= 0).all())
        try:
            return self._before(block.scale, block.scaled, axis, positive)
        except _Refused as error:
            before = error
        try:
            return self._behind(block.scale, axis, positive)
        except _Refused as behind:
            raise InputError(
                f"The gate of {block.scale!r} cannot become a constant in the weights: before it, "
                f"{before}; behind it, {behind}. Leave it as it is, or drop it."
            ) from None

    def _before(self, reader: str, name: str, axis: int, positive: bool) -> list[_Taker]:
        """The layers that make the map which `reader` reads of `name`."""
        operation, known = self.operations[name], self._describe(name)
        self._require_one_call(name)
        if self.readers[name] != [reader] or name in self.outputs:
            others = list(self.readers[name])
            others.remove(reader)  # once: what reads a map twice is another reader of it
            other = repr(others[0]) if others else "the outputs of the network"
            raise _Refused(f"the map of {known} goes to {other} too")
        if type(operation).__name__ == "Add" and self._sums_alike(name):  # a layer, or `a + b`
            return [t for s in self.sources[name] for t in self._before(name, s, axis, positive)]
        if _weights(operation, gives=True) and self._channels_on(axis, name):
            if activation_of(operation) is not None:
                self._require_bent(name, positive)
            return [_Taker(name, True)]
        self._require_passing(name, positive)
        (source,) = self.sources[name]
        return self._before(name, source, axis, positive)

    def _behind(self, name: str, axis: int, positive: bool) -> list[_Taker]:
        """The layers that read the map of `name`."""
        if name in self.outputs:
            raise _Refused("it is what the network gives")
        takers: list[_Taker] = []
        for reader in self.readers[name]:
            self._require_one_call(reader)
            operation = self.operations[reader]
            if _weights(operation, gives=False) and self._channels_on(axis, reader):
                takers.append(_Taker(reader, False))
                continue
            self._require_passing(reader, positive)
            takers += self._behind(reader, axis, positive)
        return takers

    def _require_one_call(self, name: str) -> None:
        if self.called[name] > 1:
            raise _Refused(f"{self._describe(name)} is called several times")

    def _require_passing(self, name: str, positive: bool) -> None:
        """Refuse what gives something else than `g y` for `g x`, or has weights of its own."""
        operation = self.operations[name]
        if name in self.constant or type(operation) in LINEAR:
            return
        is_activation = type(operation) in (layers.ReLU, layers.Activation)
        if not isinstance(operation, layers.Layer):
            is_activation = activation_of(operation) is not None
        if type(operation) not in POSITIVE and not is_activation:
            raise _Refused(f"{self._describe(name)} does not take it in")
        self._require_bent(name, positive)

    def _require_bent(self, name: str, positive: bool) -> None:
        """Refuse an activation that gives something else than `g y` for `g x`."""
        operation, known = self.operations[name], self._describe(name)
        activation = activation_of(operation)
        if activation is None and type(operation) is layers.Activation:
            return
        bounded = getattr(operation, "max_value", None) is not None
        bent = type(operation) in POSITIVE or activation in BENT
        if not bent or bounded or getattr(operation, "threshold", None):
            bends = getattr(activation, "__name__", "activation")
            raise _Refused(f"the {bends} of {known} gives other values for scaled ones")
        if not positive:
            raise _Refused(f"{known} lets only constants pass that are not below 0")

    def _sums_alike(self, name: str) -> bool:
        """Whether what is added has the shape of the sum, so that channels meet channels."""
        shapes = [self.operations[source].output.shape for source in self.sources[name]]
        return len(shapes) > 1 and all(shape == shapes[0] for shape in shapes)

    def _channels_on(self, axis: int, name: str) -> bool:
        """Whether a layer with weights for each channel has them on this axis."""
        operation = self.operations[name]
        if isinstance(operation, layers.Dense):
            return axis == -1 or len(operation.input.shape) == 2
        if isinstance(operation, layers.BatchNormalization):
            return operation.axis in (axis, axis % 4)
        return (operation.data_format == "channels_first") == (axis == 1)

    def _describe(self, name: str) -> str:
        return f"{name!r} ({type(self.operations[name]).__name__})"


def _weights(layer: Any, gives: bool) -> list[tuple[Any, int]]:
    """The weights of a layer by which a constant is multiplied, and on which of their axes.

    Axes are those of the channels that it gives, or that it reads; none where it has no such
    weights, or they are no plain numbers.
    """
    if getattr(layer, "quantization_mode", None) or getattr(layer, "lora_enabled", False):
        return []
    kind = type(layer)
    bias = [(layer.bias, 0)] if kind in CONVOLUTIONS and layer.use_bias else []
    if kind is layers.BatchNormalization and gives:
        shift = [(layer.beta, 0)] if layer.center else []
        return [(layer.gamma, 0), *shift] if layer.scale else []
    if kind in (layers.Conv2D, layers.Dense):
        return [(layer.kernel, -1), *bias] if gives else [(layer.kernel, -2)]
    if kind is layers.Conv2DTranspose:
        return [(layer.kernel, -2), *bias] if gives else [(layer.kernel, -1)]
    if kind is layers.SeparableConv2D:
        pointwise = [(layer.pointwise_kernel, -1), *bias]
        return pointwise if gives else [(layer.depthwise_kernel, -2)]
    if kind is layers.DepthwiseConv2D and (layer.depth_multiplier == 1 or not gives):
        return [(layer.kernel, -2), *(bias * gives)]
    return []


def _multiply(layer: Any, gate: np.ndarray, gives: bool) -> None:
    """Take a constant into the weights of a layer."""
    for variable, axis in _weights(layer, gives):
        value = keras.ops.convert_to_numpy(variable).astype("float64")
        groups = layer.groups if type(layer) is layers.Conv2D and not gives else 1
        # a kernel of groups lists for each output the inputs of its group only
        parts = np.split(value, groups, axis=-1)
        shape = [1] * value.ndim
        shape[axis] = -1
        scaled = [
            part * own.reshape(shape)
            for part, own in zip(parts, np.split(gate, groups), strict=True)
        ]
        with np.errstate(over="ignore"):
            variable.assign(np.concatenate(scaled, axis=-1))
            stored = keras.ops.convert_to_numpy(variable).astype("float64")
        if np.isfinite(value).all() and not np.isfinite(stored).all():
            raise InputError(
                f"A constant of up to {np.abs(gate).max():.3g} makes weights of {layer.name!r} too "
                f"large for {variable.dtype}."
            )


def _without(model: keras.Model, blocks: Mapping[str, SEBlock]) -> keras.Model:
    """The graph without these blocks; weights are still to be set."""
    sources = call_sources(model)

    def call(layer, *args, **kwargs):
        if layer.name not in blocks:
            return layer(*args, **kwargs)
        return find_tensor(blocks[layer.name].scaled, sources[layer.name, 0], args, kwargs)

    made = rebuild(model, call=call)
    return keras.Model(made.input, made.output, name=model.name)
