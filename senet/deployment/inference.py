"""The graph of a network for inference: the same answers from fewer layers.

Two exact rewrites, and what only training needs is left out.

Batch norm folded. With running statistics `y = gamma (Wx - mean) / sqrt(variance + epsilon) + beta`
is affine in `x`: the convolution before it takes over, with the kernel
`W gamma / sqrt(variance + epsilon)` and a bias.

Squeeze before expand. Once folded, the last convolution of a bottleneck is `y = W3 h + b3`, 1x1
with stride 1. The mean over the pixels commutes with it, `mean(y) = W3 mean(h) + b3`, so that the
squeeze can read `h`, which has a quarter of the channels, and the first layer of the excitation
takes the convolution in: `W1 mean(y) + b1 = (W1 W3) mean(h) + (W1 b3 + b1)`. The gate is known
before the expanded map is. This holds for running statistics only, and not where a 3x3 comes last.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from senet.graph import (
    Rebuilding,
    call_sources,
    copy_layer,
    functional,
    is_readable,
    rebuild,
    set_weights,
)

FOLDABLE = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
IN_TRAINING_ONLY = (
    layers.Dropout,
    layers.SpatialDropout2D,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.ActivityRegularization,
    # of those that augment, RandomCrop alone has something to do when a network is used
    *(getattr(layers, n) for n in dir(layers) if n.startswith("Random") and n != "RandomCrop"),
)


def inference_model(model: keras.Model) -> keras.Model:
    """The same function as `model(x, training=False)`, of fewer stock layers, in float32.

    Batch normalisation is folded into the convolution or dense layer before it, squeezes read what
    comes before a last 1x1 convolution, and dropout is gone; see the module for the derivation.
    Outputs agree within the rounding of float32. Weights are copies: the given model stays as it
    is.

    Args:
        model: a functional model, built.

    Returns:
        A functional model with the inputs and outputs of the given one.

    Raises:
        ValueError: the model is not functional.

    Example:
        >>> model = senet.create("se_resnet50")
        >>> len(model.layers), len(inference_model(model).layers)
        (273, 220)

    Reference:
        Batch norm folding: Jacob et al., arXiv 1712.05877, section 3.2.
    """
    rewriting = _Rewriting(model)
    clone = rebuild(model, rewriting.fresh, rewriting.call)
    return keras.Model(clone.input, clone.output, name=model.name)


def in_float32(model: keras.Model) -> keras.Model:
    """The network with every layer in float32: itself where they are so already.

    Raises:
        ValueError: as for `inference_model`.
    """
    if _computes_in_float32(model):
        return model
    made = rebuild(
        model,
        lambda layer: (
            in_float32(layer) if is_readable(layer) else copy_layer(layer, dtype="float32")
        ),
    )
    for layer in functional(model).layers:
        if layer.weights and not is_readable(layer):
            set_weights(made.get_layer(layer.name), layer.get_weights())
    return made


def _computes_in_float32(model: keras.Model) -> bool:
    return all(
        _computes_in_float32(layer) if is_readable(layer) else layer.compute_dtype == "float32"
        for layer in functional(model).layers
        if not isinstance(layer, layers.InputLayer)
    )


class _Rewriting(Rebuilding):
    """Calls what can stand in for each layer."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        self.sources = call_sources(model)
        self.operations = {operation.name: operation for operation in functional(model).operations}

    @staticmethod
    def fresh(layer: keras.layers.Layer) -> keras.layers.Layer:
        """A new layer of the same kind in float32; of a model inside the model, its own rewriting.

        An operation, as that of `x / 6`, has no type of its own.
        """
        if is_readable(layer):
            return inference_model(layer)
        return copy_layer(layer, dtype="float32")

    def call(self, layer, *args, **kwargs):
        """Call a fresh layer on rebuilt tensors, or what can stand in for it."""
        if type(layer) in IN_TRAINING_ONLY:
            if args[0].dtype == "float32":
                return args[0]
            return keras.ops.cast(args[0], "float32")  # as those that augment do with pixels
        if type(layer) is layers.BatchNormalization:
            folded = self._folded(layer, args[0])
            if folded is not None:
                return folded
        if type(layer) is layers.Dense:
            moved = self._squeezed_before_expand(layer, args[0])
            if moved is not None:
                return moved
        stock = self.operations[layer.name]
        own = isinstance(stock, layers.Layer) and not is_readable(stock)
        weights = stock.get_weights() if own else []
        return self._made(layer, weights, *args, **kwargs)

    def _made(self, layer, weights, *args, **kwargs):
        outputs = layer(*args, **kwargs)
        if weights:
            set_weights(layer, weights)
        return self.remember(outputs, layer, args[0] if args else None)

    def _folded(self, norm, x):
        before, read = self.maker(x, *FOLDABLE)
        if before is None or self.readers[before.name] > 1 or not _is_linear(before):
            return None
        if _axis(norm) != _channels(before):
            return None
        stock = self.model.get_layer(norm.name)
        scale = 1 / np.sqrt(_array(stock.moving_variance) + stock.epsilon)
        if stock.scale:
            scale = scale * _array(stock.gamma)
        offset = -_array(stock.moving_mean) * scale
        if stock.center:
            offset = offset + _array(stock.beta)
        kernel = _array(before.weights[0])
        if before.use_bias:
            offset = offset + _array(before.bias) * scale
        per_filter = scale.reshape(kernel.shape[2:]) if _is_depthwise(before) else scale
        return self._made(_with_bias(before), [kernel * per_filter, offset], read)

    def _squeezed_before_expand(self, dense, pooled):
        pool, x = self.maker(pooled, layers.GlobalAveragePooling2D)
        if pool is None or pool.keepdims or (dense.name, 1) in self.sources:  # called again
            return None
        expand, read = self.maker(x, layers.Conv2D)
        if expand is None or not _is_affine_per_pixel(expand) or not _is_linear(expand):
            return None
        stock = self.model.get_layer(dense.name)
        kernel, after = _array(expand.kernel)[0, 0], _array(stock.kernel)
        if kernel.shape[0] >= kernel.shape[1]:  # there is nothing to win
            return None
        offset = _array(stock.bias) if stock.use_bias else 0
        if expand.use_bias:
            offset = offset + _array(expand.bias) @ after
        squeeze = type(pool).from_config(pool.get_config())
        z = self._made(squeeze, [], read)
        return self._made(_with_bias(dense), [kernel @ after, offset + np.zeros(after.shape[1])], z)


def _array(variable: Any) -> np.ndarray:
    return keras.ops.convert_to_numpy(variable).astype("float64")


def _with_bias(layer: Any) -> Any:
    """A layer of the same kind that has a bias."""
    return type(layer).from_config(layer.get_config() | {"use_bias": True})


def _is_linear(layer: Any) -> bool:
    return layer.activation is keras.activations.linear


def _is_depthwise(layer: Any) -> bool:
    return type(layer) is layers.DepthwiseConv2D


def _is_affine_per_pixel(conv: Any) -> bool:
    return tuple(conv.kernel_size) == (1, 1) and tuple(conv.strides) == (1, 1) and conv.groups == 1


def _axis(norm: Any) -> int:
    """The axis that a batch normalisation keeps, 1 or -1."""
    rank = len(norm.input_spec.shape) if norm.built and norm.input_spec.shape else 4
    return -1 if norm.axis in (-1, rank - 1) else norm.axis


def _channels(layer: Any) -> int:
    """The axis of the channels that a layer gives."""
    return 1 if getattr(layer, "data_format", None) == "channels_first" else -1
