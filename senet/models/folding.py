"""Networks whose gates are constants: the gate leaves, what came before takes the constant in.

With a constant gate `g` the scaled map is `g x`. Where `x` comes of a batch normalisation,
`g (gamma x' + beta) = (g gamma) x' + g beta`; where it comes of a linear convolution,
`g (W h + b) = (g W) h + g b`. Both are exact but for the rounding of the products. Elsewhere a
depthwise 1x1 convolution holds the constant, or nothing where it is 1.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers

from senet.errors import InputError
from senet.graph import call_sources, find_tensor, functional, inbound, rebuild, set_weights
from senet.models.graph import SEBlock, se_blocks
from senet.models.layout import Layout


def with_constant_gates(
    model: keras.Model, constants: Mapping[str, np.ndarray | None]
) -> keras.Model:
    """A copy of a network in which the gates of some blocks are constants.

    Args:
        model: a functional Keras model. It stays as it is.
        constants: for each block, by the name of the layer that scales, its gate `(C,)`, or `None`
            for 1, which is no gate at all.

    Returns:
        A functional model of stock Keras layers without the excitations of these blocks.

    Raises:
        ValueError: the model is not functional, has no such block, or a constant is of another
            shape.

    Example:
        >>> model = senet.create("se_resnet18")
        >>> folded = with_constant_gates(model, {"stage1_block1_se_scale": np.full(64, 0.5)})
        >>> len(senet.find_se_blocks(model)), len(senet.find_se_blocks(folded))
        (8, 7)
    """
    blocks = {block.scale: block for block in blocks_to_fold(model, constants)}
    model = functional(model)
    sources, layout = inbound(model), Layout(model)
    takes = {name: _find_taker(model, blocks[name], sources, layout) for name in constants}
    scaled = {name for name, constant in constants.items() if constant is not None}
    folded = _without(model, blocks, scaled, takes, layout)
    for layer in model.layers:
        if layer.weights and layer.name in {kept.name for kept in folded.layers}:
            _copy(layer, folded.get_layer(layer.name))
    for name, gate in constants.items():
        if gate is not None:
            place = takes[name] or f"{name}_constant"
            _multiply(folded.get_layer(place), np.asarray(gate, "float64"), name)
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


def _find_taker(
    model: keras.Model, block: SEBlock, sources: dict[str, list[str]], layout: Layout
) -> str | None:
    """Name of the layer that can take a constant gate in; `None` if there is none.

    It must be a batch normalisation of the channels or a linear convolution whose map goes to this
    block and nowhere else.
    """
    first = block.squeeze or block.excitation[0]
    readers = [name for name, read in sources.items() if block.scaled in read]
    elsewhere = set(readers) - {block.scale, first} or block.scaled in model.output_names
    if elsewhere or len(sources[block.scaled]) != 1:
        return None
    layer: Any = next((layer for layer in model.layers if layer.name == block.scaled), None)
    if type(layer) is layers.BatchNormalization:
        fits = layer.axis % 4 == layout.find_channel_axis(first) % 4
        return layer.name if fits and layer.scale else None
    linear = type(layer) is layers.Conv2D and layer.activation is keras.activations.linear
    return layer.name if linear else None


def _without(
    model: keras.Model,
    blocks: Mapping[str, SEBlock],
    scaled: set[str],
    takes: Mapping[str, str | None],
    layout: Layout,
) -> keras.Model:
    """The graph without these blocks; weights are still to be set."""
    sources = call_sources(model)

    def call(layer, *args, **kwargs):
        if layer.name not in blocks:
            return layer(*args, **kwargs)
        name = layer.name
        x = find_tensor(blocks[name].scaled, sources[name, 0], args, kwargs)
        if name in scaled and takes[name] is None:
            # of an operation, as of `x * s`, nothing says a policy: the type of its map does
            policy = getattr(layer, "dtype_policy", x.dtype)
            first = layout.find_channel_axis(blocks[name].scaled) == 1
            options = dict(
                use_bias=False,
                data_format="channels_first" if first else "channels_last",
                dtype=policy,
                name=f"{name}_constant",
            )
            return layers.DepthwiseConv2D(1, depthwise_initializer="ones", **options)(x)
        return x

    made = rebuild(model, call=call)
    return keras.Model(made.input, made.output, name=model.name)


def _copy(layer: Any, copy: Any) -> None:
    set_weights(copy, layer.get_weights())
    copy.trainable = layer.trainable


def _multiply(layer: Any, gate: np.ndarray, name: str) -> None:
    """Take a constant into the weights of a layer."""
    depthwise = type(layer) is layers.DepthwiseConv2D
    if type(layer) is layers.BatchNormalization:
        variables = [layer.gamma] + ([layer.beta] if layer.center else [])
    else:
        variables = [layer.kernel] + ([layer.bias] if layer.use_bias else [])
    channels = variables[0].shape[-2 if depthwise else -1]
    if gate.shape != (channels,):
        raise InputError(
            f"The gate of {name!r} must be of shape ({channels},), one number for each channel; "
            f"got {gate.shape}."
        )
    for variable in variables:
        value = keras.ops.convert_to_numpy(variable).astype("float64")
        value *= gate[:, None] if depthwise else gate
        variable.assign(value.astype("float32"))
