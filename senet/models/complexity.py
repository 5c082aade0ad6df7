"""Parameters and multiply-adds of any functional Keras model of stock layers."""

import dataclasses
import math

import keras
from keras import layers


@dataclasses.dataclass(frozen=True)
class LayerCost:
    """What one layer costs for one image.

    Args:
        name: of the layer.
        kind: class of the layer.
        output_shape: without the batch.
        parameters: trainable and not.
        multiply_adds: of one forward pass.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class Complexity:
    """What a model costs for one image; `layers` has the same for each layer.

    Args:
        layers: costs in network order.
        trainable_parameters: weights that training changes; the running statistics of batch
            normalisation are not among them.
    """

    layers: tuple[LayerCost, ...]
    trainable_parameters: int

    @property
    def parameters(self) -> int:
        """All parameters, running statistics included: Keras' `count_params()`."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one forward pass of one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    def by_stage(self) -> dict[str, list[LayerCost]]:
        """Layers by the first part of their names: stem, stage1, ..., classifier."""
        stages: dict[str, list[LayerCost]] = {}
        for layer in self.layers:
            stages.setdefault(layer.name.split("_")[0], []).append(layer)
        return stages


def complexity(model: keras.Model) -> Complexity:
    """Count parameters and multiply-adds of a model.

    One convention: convolutions and dense layers count one multiply-add for each product, global
    average pooling one for each addition of the squeeze, and a multiplication one for each value
    it scales. Normalisation, activations, additions and other pooling count nothing.

    Args:
        model: a functional model of stock layers whose input size is known.

    Returns:
        A `Complexity`.

    Raises:
        ValueError: the input size is open, so that nothing can be counted.

    Example:
        >>> complexity(senet.SEResNet50()).trainable_parameters
        28071976

    Reference:
        Hu et al., arXiv 1709.01507, table 2 counts in the same unit, though no single convention
        gives all of its last digits.
    """
    costs = []
    for layer in model.layers:
        shape = tuple(layer.output.shape[1:])
        if None in shape:
            raise ValueError(
                f"The output of {layer.name!r} has an open size, {shape}: build the model with a "
                "fixed input_shape, for example (224, 224, 3), to count its multiply-adds."
            )
        kind = type(layer).__name__
        costs.append(
            LayerCost(layer.name, kind, shape, layer.count_params(), _multiply_adds(layer, shape))
        )
    trainable = sum(math.prod(v.shape) for v in model.trainable_variables)
    return Complexity(tuple(costs), trainable)


def _multiply_adds(layer: layers.Layer, shape: tuple[int, ...]) -> int:
    outputs = math.prod(shape)
    match layer:
        case layers.DepthwiseConv2D():
            return outputs * math.prod(layer.kernel_size)
        case layers.Conv2D():
            fan_in = math.prod(layer.kernel.shape[:-1])
            return outputs * fan_in
        case layers.Dense():
            return outputs * layer.kernel.shape[0]
        case layers.GlobalAveragePooling2D():
            return math.prod(layer.input.shape[1:])
        case layers.Multiply():
            return outputs
    return 0
