"""Squeeze and excitation into a network that has none."""

import fnmatch
import re
from collections.abc import Callable, Iterable
from typing import Any

import keras
from keras import layers

from senet.errors import InputError
from senet.graph import calls, fresh_inputs
from senet.models.blocks import channel_axis, full_precision

Where = str | Iterable[str] | Callable[[keras.layers.Layer], bool]
PLACES = {
    r"resnet(50|101|152)": ["conv*_block*_3_bn"],
    r"resnet(50|101|152)v2": ["conv*_block*_3_conv"],
    r"vgg(16|19)": ["block*_conv*"],
    r"mobilenet_.*": ["conv_pw_*_relu"],
    r"mobilenetv2_.*": ["expanded_conv_project_BN", "block_*_project_BN"],
    r"inception_resnet_v2": ["block35_*_conv", "block17_*_conv", "block8_*_conv"],
    r"densenet(121|169|201)": ["conv*_block*_2_conv"],
    r"efficientnet.*": ["block*_project_bn"],
    r"convnext_.*": ["*_layer_scale"],
    r"xception": [
        *(f"block{i}_sepconv2_bn" for i in (2, 3, 4, 13)),
        *(f"block{i}_sepconv3_bn" for i in range(5, 13)),
    ],
}
"""Where `insert` puts the blocks of networks of `keras.applications`, by the model's name: at the
end of each residual branch or, where there are none, of each convolution."""
INITS = ("identity", "paper")


def insert(
    model: keras.Model, ratio: int = 16, where: Where | None = None, *, init: str = "identity"
) -> keras.Model:
    """A copy of a network with squeeze and excitation behind chosen layers.

    With `init="identity"` the copy computes exactly what the model does, bit for bit, until it is
    trained. The last layer of each excitation starts with zeros, so that its sigmoid gives 0.5, and
    the gate is twice that: doubling is exact in floating point. The sigmoid is at its steepest
    there, so that the gates begin to move with the first step, and may grow beyond 1, up to 2.

    Args:
        model: a functional Keras model, for instance of `keras.applications`. It stays as it is.
        ratio: integer that divides the channels in the squeeze.
        where: names of layers or shell patterns of names, or a function of a layer; the outputs of
            these layers, which must be maps `(N, H, W, C)`, are scaled. By default the rule for the
            network, which is known for ResNet, ResNetV2, VGG, MobileNet, MobileNetV2,
            Inception-ResNet-v2, DenseNet, EfficientNetV2 (its blocks without a gate of their own),
            ConvNeXt and Xception of `keras.applications`.
        init: `"identity"`, or `"paper"` for a sigmoid between 0 and 1 from He-normal weights, which
            changes what the network gives until it is trained.

    Returns:
        A functional model of the layers of the given one and stock Keras layers. What was compiled
        is left behind. `senet.find_se_blocks` lists the new blocks, named `LAYER_se_...`.

    Raises:
        ValueError: the model is not functional, no layer fits `where`, no rule is known, an output
            is no map, or a layer is called more than once.

    Example:
        >>> model = keras.applications.MobileNet(weights=None)  # or "imagenet"
        >>> better = senet.insert(model)
        >>> better.count_params() - model.count_params()
        479744

    Reference:
        Hu et al., arXiv 1709.01507, section 6.1 and table 3 (SE-MobileNet).
    """
    if init not in INITS:
        raise InputError(f"init must be {' or '.join(INITS)}; got {init!r}.")
    chosen = _chosen(model, where)

    def call(layer, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        return _scaled(outputs, ratio, init, layer.name) if layer.name in chosen else outputs

    made = keras.models.clone_model(model, input_tensors=fresh_inputs(model), call_function=call)
    for layer in model.layers:
        if layer.weights:
            made.get_layer(layer.name).set_weights(layer.get_weights())
            made.get_layer(layer.name).trainable = layer.trainable
    return keras.Model(made.input, made.output, name=f"se_{model.name}")


def _scaled(x: Any, ratio: int, init: str, name: str) -> Any:
    """The maps, scaled by a gate that starts at 1 or as the paper has it."""
    if len(x.shape) != 4 or x.shape[channel_axis()] is None:
        raise InputError(
            f"Squeeze and excitation scales maps (N, H, W, C) with a known number of channels; "
            f"{name!r} gives {tuple(x.shape)}."
        )
    filters = x.shape[channel_axis()]
    if not isinstance(ratio, int) or not 1 <= ratio <= filters:
        raise InputError(
            f"ratio must be an integer from 1 to the number of channels, {filters} behind "
            f"{name!r}; got {ratio!r}."
        )
    options = dict(use_bias=False, kernel_initializer="he_normal", dtype=full_precision())
    last = options | ({"kernel_initializer": "zeros"} if init == "identity" else {})
    z = layers.GlobalAveragePooling2D(dtype=full_precision(), name=f"{name}_se_squeeze")(x)
    z = layers.Dense(filters // ratio, activation="relu", name=f"{name}_se_reduce", **options)(z)
    s = layers.Dense(filters, activation="sigmoid", name=f"{name}_se_excite", **last)(z)
    per_channel = (filters, 1, 1) if channel_axis() == 1 else (1, 1, filters)
    s = layers.Reshape(per_channel, dtype=full_precision(), name=f"{name}_se_gate")(s)
    if init == "identity":
        s = layers.Rescaling(2.0, dtype=full_precision(), name=f"{name}_se_double")(s)
    return layers.Multiply(name=f"{name}_se_scale")([x, s])


def _chosen(model: keras.Model, where: Where | None) -> set[str]:
    """Names of the layers to scale behind."""
    nodes = calls(model)
    called = {layer.name: nodes[layer.name] for layer in model.layers if nodes[layer.name]}
    if where is None:
        where, said = _rule(model), f"the rule for {model.name!r}"
    else:
        said = f"where={where!r}"
    if callable(where):
        chosen = {n for n in called if where(model.get_layer(n))}
    else:
        patterns = [where] if isinstance(where, str) else list(where)
        chosen = set()
        for pattern in patterns:
            fitting = fnmatch.filter(called, pattern)
            chosen.update(fitting)
            if not fitting:
                raise InputError(f"No layer of {model.name!r} is called like {pattern!r}.")
    # blocks of EfficientNet that have a gate of their own
    chosen = {n for n in chosen if f"{n.removesuffix('_project_bn')}_se_excite" not in called}
    if not chosen:
        raise InputError(f"No layer of {model.name!r} without a gate of its own fits {said}.")
    several = [name for name in chosen if len(called[name]) != 1]
    if several:
        raise InputError(
            f"Layers that are called more than once cannot be chosen: {', '.join(sorted(several))}."
        )
    return chosen


def _rule(model: keras.Model) -> list[str]:
    for pattern, places in PLACES.items():
        if re.fullmatch(pattern, model.name):
            return places
    raise InputError(
        f"No rule is known for {model.name!r}: say where, as names or patterns of layers, for "
        'example senet.insert(model, where="*_bn").'
    )
