"""An accelerated twin of a stock model: the same variables, faster layers.

One file for each idea. A file has a class whose instances stand in for one stock layer, or for
several in a row, and says when it helps; `accelerate` is the only place that chooses.
"""

import keras

from senet.acceleration.batch_normalization import FusedBatchNormalization
from senet.acceleration.convolution import SmallMapConv2D
from senet.acceleration.fused_tail import FusedTail
from senet.acceleration.grouped_convolution import SlicedConv2D
from senet.acceleration.tied import Tied
from senet.errors import InputError
from senet.graph import Rebuilding, fresh_inputs

IDEAS = (SlicedConv2D, SmallMapConv2D, FusedBatchNormalization)


def accelerate(model: keras.Model) -> keras.Model:
    """A faster twin of a functional model that shares every variable with it.

    Train the twin and keep the original: each update of one is an update of the other, so that the
    original is always the trained network, is made of stock layers only, and is what gets saved.
    Results agree within rounding. The twin starts uncompiled; what is frozen in one is frozen in
    the other.

    On TensorFlow without a GPU this is what makes SE-ResNeXt trainable at all: grouped
    convolution has no CPU gradient there. Batch normalisation is one kernel there and on PyTorch.
    On JAX the twin computes what the original does.

    Args:
        model: a functional Keras model, built.

    Returns:
        The twin, a functional model.

    Raises:
        ValueError: the model is not functional, or not built.

    Example:
        >>> model = senet.SEResNeXt50(classes=10)
        >>> twin = senet.accelerate(model)
        >>> twin.compile("sgd", "sparse_categorical_crossentropy")
        >>> twin.fit(images, labels)
        >>> model.save("trained.keras")
    """
    if not getattr(model, "inputs", None) or not model.outputs:
        raise InputError(
            f"{model.name!r} has no graph that a twin could be made of: build it as "
            "keras.Model(inputs, outputs), or give a Sequential model a keras.Input."
        )
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)

    rebuilding = _Twin(model)
    twin = keras.models.clone_model(
        model,
        input_tensors=fresh_inputs(model),
        clone_function=rebuilding.stand_in,
        call_function=rebuilding.call,
    )
    return keras.Model(twin.input, twin.output, name=model.name)  # without what was compiled


class _Twin(Rebuilding):
    """Rebuilds a graph of what stands in for its layers."""

    @staticmethod
    def stand_in(layer: keras.layers.Layer) -> keras.layers.Layer:
        """What computes as one layer does, with its variables."""
        for idea in IDEAS:
            if idea.helps(layer):
                return idea(layer)
        if layer.variables:
            return Tied(layer)
        return layer.__class__.from_config(layer.get_config())

    def call(self, layer, *args, **kwargs):
        """Call what stands in for a layer, or for several of which it is the last."""
        outputs = FusedTail.ending_in(layer, self, *args)
        if outputs is None:
            outputs = layer(*args, **kwargs)
        return self.remember(outputs, layer, args[0] if args else None)
