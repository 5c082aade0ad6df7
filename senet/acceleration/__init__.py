"""An accelerated twin of a stock model: the same layers and variables, computed faster.

One file for each idea. A file has a class whose instances stand in for one stock layer, or for
several in a row, and says when it helps; `accelerate` is the only place that chooses.
"""

from typing import Any

import keras

from senet.acceleration.batch_normalization import FusedBatchNormalization
from senet.acceleration.convolution import ProductConv2D
from senet.acceleration.fused_tail import FusedTail
from senet.acceleration.grouped_convolution import SlicedConv2D
from senet.acceleration.tied import Tied
from senet.errors import InputError
from senet.graph import Rebuilding, fresh_inputs

IDEAS = (SlicedConv2D, ProductConv2D, FusedBatchNormalization)


def accelerate(model: keras.Model) -> keras.Model:
    """A faster twin of a functional model: the same layers and variables, another way to compute.

    The twin is a stock Keras model of the very layers of the given one. What trains one trains the
    other, what is frozen in one is frozen in the other, and all that Keras or this package writes
    or reads of the twin (`save`, checkpoints, clones, exports, gates) is of the stock network. Only
    what happens when it is called differs, and the results agree within rounding. It starts
    uncompiled.

    On TensorFlow without a GPU grouped and small convolutions, batch normalisation and the end of
    each block are computed in other ways; on PyTorch batch normalisation is. On JAX, and where
    nothing else helps, the twin computes what the original does. `python benchmarks/twin.py`
    measures both.

    Args:
        model: a functional Keras model, built; models inside it are accelerated too.

    Returns:
        The twin, a functional model. Do not add layers to the original afterwards.

    Raises:
        ValueError: the model is not functional, or not built.

    Example:
        >>> images, labels = np.zeros((8, 32, 32, 3)), np.arange(8)
        >>> model = senet.SEResNeXt50(classes=10, input_shape=(32, 32, 3))
        >>> twin = senet.accelerate(model)
        >>> twin.compile("sgd", "sparse_categorical_crossentropy")
        >>> history = twin.fit(images, labels, verbose=0)
        >>> twin.save("trained.keras")  # the stock network, with its optimizer
    """
    fast = rebuild_faster(model)
    if isinstance(model, keras.Sequential):
        twin = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    else:
        twin = keras.Model(model.input, model.output, name=model.name)
    # On the instance, so that the twin's class is Keras' own: a class of ours would be named in
    # every file that Keras writes of it. Keras does not track a method, and so none of what stands
    # in for the layers becomes part of the model.
    twin.call = fast.call
    if hasattr(model, "card"):
        twin.card = model.card
    return twin


def rebuild_faster(model: keras.Model) -> keras.Model:
    """The graph that a twin computes: what stands in for the layers of a model.

    It shares the variables of the model, but neither its layers nor their names: to look at.

    Args:
        model: as for `accelerate`.

    Raises:
        ValueError: as for `accelerate`.
    """
    if not _has_graph(model):
        raise InputError(
            f"{model.name!r} has no graph that a twin could be made of: build it as "
            "keras.Model(inputs, outputs), or give a Sequential model a keras.Input."
        )
    if isinstance(model, keras.Sequential):
        model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    rebuilding = _Faster(model)
    return keras.models.clone_model(
        model,
        input_tensors=fresh_inputs(model),
        clone_function=rebuilding.stand_in,
        call_function=rebuilding.call,
    )


def _has_graph(model: Any) -> bool:
    return bool(getattr(model, "inputs", None)) and bool(model.outputs)


class _Faster(Rebuilding):
    """Rebuilds a graph of what stands in for its layers."""

    @staticmethod
    def stand_in(layer: keras.layers.Layer) -> keras.layers.Layer:
        """What computes as one layer does, with its variables."""
        if isinstance(layer, keras.Model) and _has_graph(layer):
            return accelerate(layer)
        return next((idea(layer) for idea in IDEAS if idea.helps(layer)), None) or Tied(layer)

    def call(self, layer, *args, **kwargs):
        """Call what stands in for a layer, or for several of which it is the last."""
        outputs = FusedTail.ending_in(layer, self, *args)
        if outputs is None:
            outputs = layer(*args, **kwargs)
        made = layer.stock if type(layer) is Tied else layer  # the ideas ask for what they replace
        return self.remember(outputs, made, args[0] if args else None)
