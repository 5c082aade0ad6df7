"""An accelerated twin of a stock model: the same layers and variables, computed faster.

One file for each idea. A file has a class whose instances stand in for one stock layer, or for
several in a row, and says when it helps; `accelerate` is the only place that chooses.
"""

import keras

from senet.acceleration.batch_normalization import FusedBatchNormalization
from senet.acceleration.convolution import ProductConv2D
from senet.acceleration.fused_tail import FusedTail
from senet.acceleration.grouped_convolution import SlicedConv2D
from senet.acceleration.tied import Tied
from senet.errors import InputError
from senet.graph import Rebuilding, find_overrides, has_graph, rebuild, same_layers

REPLACED = ("call", "train_step", "test_step", "predict_step", "compute_loss")
"""What a twin computes or trains in its own way."""
IDEAS = (SlicedConv2D, ProductConv2D, FusedBatchNormalization)


def accelerate(model: keras.Model) -> keras.Model:
    """A faster twin of a functional model: the same layers and variables, another way to compute.

    The twin is a stock Keras model of the very layers of the given one. What trains one trains the
    other, what is frozen in one is frozen in the other, and what is saved, cloned, looked at or
    given to `senet.export` is the stock network. Only what happens when it is called differs (and
    so what Keras' own `export` traces); results and first derivatives agree within rounding. It
    starts uncompiled, and what it computes is compiled at the first step, which may take longer.

    On TensorFlow without a GPU grouped, 1x1 and small convolutions, batch normalisation and the end
    of each block with squeeze and excitation are computed in other ways; on PyTorch batch
    normalisation is. On JAX, and where nothing else helps, the twin computes what the original
    does. `python benchmarks/twin.py` measures both.

    Args:
        model: a functional Keras model, built; models inside it are accelerated too.

    Returns:
        The twin, a functional model. Do not add layers to the original afterwards.

    Raises:
        ValueError: the model is not functional or not built, or its class has a `call`,
            `train_step` or the like of its own.

    Example:
        >>> images, labels = np.zeros((8, 32, 32, 3)), np.arange(8)
        >>> model = senet.SEResNeXt50(classes=10, input_shape=(32, 32, 3))
        >>> twin = senet.accelerate(model)
        >>> twin.compile("sgd", "sparse_categorical_crossentropy")
        >>> history = twin.fit(images, labels, verbose=0)
        >>> twin.save("trained.keras")  # the stock network, with its optimizer
    """
    fast = rebuild_faster(model)
    twin = same_layers(model)
    twin.dtype_policy = model.dtype_policy
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
    if not has_graph(model):
        raise InputError(
            f"{model.name!r} has no graph that a twin could be made of: build it as "
            "keras.Model(inputs, outputs), or give a Sequential model a keras.Input."
        )
    if changed := find_overrides(model, REPLACED):
        raise InputError(
            f"{type(model).__name__} has {', '.join(changed)} of its own, which a twin would not "
            "call: accelerate the functional model inside it, or a keras.Model(inputs, outputs)."
        )
    rebuilding = _Faster(same_layers(model))
    return rebuild(model, rebuilding.stand_in, rebuilding.call)


class _Faster(Rebuilding):
    """Rebuilds a graph of what stands in for its layers."""

    @staticmethod
    def stand_in(layer: keras.layers.Layer) -> keras.layers.Layer:
        """What computes as one layer does, with its variables."""
        if not isinstance(layer, keras.layers.Layer):  # an operation, as that of x / 6
            return layer.__class__.from_config(layer.get_config())
        if has_graph(layer) and not find_overrides(layer, REPLACED):
            return accelerate(layer)
        if layer.activity_regularizer is not None:  # the ideas do not call the layer
            return Tied(layer)
        return next((idea(layer) for idea in IDEAS if idea.helps(layer)), None) or Tied(layer)

    def call(self, layer, *args, **kwargs):
        """Call what stands in for a layer, or for several of which it is the last."""
        # The ideas ask for what they would replace; what has a loss of its own they must not.
        plain = type(layer) is Tied and layer.stock.activity_regularizer is None
        made = layer.stock if plain else layer
        outputs = None
        if plain and len(args) == 1:
            outputs = FusedTail.ending_in(made, self, args[0])
        if outputs is None:
            outputs = layer(*args, **kwargs)
        # What stands in for several layers would not know of a mask, or of training=True. Others
        # are defaults that Keras writes down, and that of the model counts in their place.
        if not all(value is None or value is False for value in kwargs.values()):
            return outputs
        return self.remember(outputs, made, args[0] if args else None)
