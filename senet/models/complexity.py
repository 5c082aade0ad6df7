"""Parameters, multiply-adds and activations of any functional Keras model of stock layers."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import keras
from keras import layers

from senet.errors import InputError
from senet.graph import calls


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one image.

    Args:
        name: of the layer; `model/layer` inside a nested model.
        kind: class of the layer.
        output_shape: without the batch.
        parameters: trainable and not.
        trainable_parameters: those that training changes.
        multiply_adds: of one forward pass.
        activations: values that a convolution or dense layer gives out, 0 for every other layer.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    trainable_parameters: int
    multiply_adds: int
    activations: int


@dataclasses.dataclass(frozen=True)
class Complexity:
    """What a model costs for one image; `layers` has the same for each layer.

    Args:
        layers: costs in network order.
        trainable_parameters: parameters that training changes; the running statistics of batch
            normalisation are not among them.
        uncounted: layers with weights whose multiply-adds the convention has no rule for.
    """

    layers: tuple[LayerCost, ...]
    trainable_parameters: int
    uncounted: tuple[str, ...] = ()

    @property
    def parameters(self) -> int:
        """All parameters, running statistics included: Keras' `count_params()`."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activations(self) -> int:
        """Values that all convolutions and dense layers give out for one image."""
        return sum(layer.activations for layer in self.layers)

    def __str__(self) -> str:
        return (
            f"{self.trainable_parameters:,} trainable parameters, {self.parameters:,} with running "
            f"statistics, {self.multiply_adds:,} multiply-adds for an image"
        )

    def by_group(self) -> dict[str, list[LayerCost]]:
        """Layers by the first part of their names: stem, stage1, ..., classifier."""
        groups: dict[str, list[LayerCost]] = {}
        for layer in self.layers:
            groups.setdefault(layer.name.split("_")[0], []).append(layer)
        return groups


def shapes_only() -> keras.StatelessScope:
    """A scope in which networks are built with shapes and without values.

    They can be counted and drawn, and not used. Random numbers for the kernels take most of the
    time in which a large network is built.

    Example:
        >>> with shapes_only():
        ...     model = senet.create("se_resnet152")
        >>> complexity(model).trainable_parameters
        66770984
    """
    return keras.StatelessScope(initialize_variables=False)


def complexity(model: keras.Model) -> Complexity:
    """Count parameters, multiply-adds and activations of a model.

    One convention: convolutions and dense layers count one multiply-add for each product, global
    average pooling one for each addition of the squeeze, and a multiplication one for each value
    it scales. Normalisation, activation functions, additions and other pooling count nothing.

    Args:
        model: a functional model of stock layers whose input size is known; models inside it are
            counted layer by layer.

    Returns:
        A `Complexity`.

    Raises:
        ValueError: the input size is open or a layer is called several times, so that there is no
            one shape to count with.

    Example:
        >>> complexity(senet.SEResNet50()).trainable_parameters
        28071976

    Reference:
        Hu et al., arXiv 1709.01507, table 2 counts in the same unit, though no single convention
        gives all of its last digits. Activations: Radosavovic et al., arXiv 2003.13678, who count
        convolutions only.
    """
    costs = tuple(_costs(model))
    trainable = _count_values(model.trainable_variables)
    known = {*_RULES, *_FREE}
    uncounted = [c.name for c in costs if c.parameters and c.kind not in known]
    return Complexity(costs, trainable, tuple(uncounted))


def _costs(model: keras.Model, prefix: str = "") -> Iterator[LayerCost]:
    called = {} if isinstance(model, keras.Sequential) else calls(model)
    for layer in model.layers:
        name = prefix + layer.name
        if len(called.get(layer.name, ())) > 1:
            raise InputError(
                f"{name!r} is called several times in this model, so that it has no one output to "
                "count with: give every call a layer of its own."
            )
        if isinstance(layer, keras.Model):
            yield from _costs(layer, f"{name}/")
            continue
        shape = _output_shape(layer, name)
        kind = type(layer).__name__
        rule = _RULES.get(kind)
        products = rule(layer, math.prod(shape)) if rule else 0
        activations = math.prod(shape) if rule and layer.weights else 0
        trainable = _count_values(layer.trainable_variables)
        yield LayerCost(name, kind, shape, layer.count_params(), trainable, products, activations)


def _count_values(variables: Iterable[keras.Variable]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


def _output_shape(layer: layers.Layer, name: str) -> tuple[int, ...]:
    output = layer.output
    if not isinstance(output, keras.KerasTensor):  # a list, of a recurrent layer for example
        return ()
    shape = tuple(output.shape[1:])
    if None in shape:
        raise InputError(
            f"The output of {name!r} has an open size, {shape}: build the model with a fixed "
            "input_shape, for example (224, 224, 3), to count its multiply-adds."
        )
    return shape


def _convolution(layer, outputs):
    return outputs * math.prod(layer.kernel.shape[:-1])


def _depthwise(layer, outputs):
    return outputs * math.prod(layer.kernel_size)


def _separable(layer, outputs):
    *_, channels, multiplier = layer.depthwise_kernel.shape
    positions = outputs // layer.filters
    return positions * channels * multiplier * (math.prod(layer.kernel_size) + layer.filters)


def _transposed(layer, outputs):
    return math.prod(layer.input.shape[1:]) * math.prod(layer.kernel.shape[:-1])


def _dense(layer, outputs):
    return outputs * layer.kernel.shape[0]


def _squeeze(layer, outputs):
    return math.prod(layer.input.shape[1:])


def _scale(layer, outputs):
    return outputs


_RULES = {
    **dict.fromkeys(("Conv1D", "Conv2D", "Conv3D"), _convolution),
    **dict.fromkeys(("DepthwiseConv1D", "DepthwiseConv2D"), _depthwise),
    **dict.fromkeys(("SeparableConv1D", "SeparableConv2D"), _separable),
    **dict.fromkeys(("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose"), _transposed),
    "Dense": _dense,
    **dict.fromkeys((f"GlobalAveragePooling{n}D" for n in (1, 2, 3)), _squeeze),
    "Multiply": _scale,
}
_FREE = {
    *("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"),
    *("UnitNormalization", "SpectralNormalization", "Normalization", "PReLU", "Embedding"),
}
