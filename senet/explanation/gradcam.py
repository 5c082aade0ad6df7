"""Where on an image a network saw a class."""

from typing import Any

import keras
import numpy as np

from senet.acceleration import accelerate
from senet.errors import InputError, UnsupportedError
from senet.graph import inbound
from senet.models.graph import softmax_of


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    classes: np.ndarray | None = None,
    layer: str | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """Grad-CAM: the part of each image that speaks for a class.

    `L = relu(sum_k a_k A_k)` with `a_k` the mean over the pixels of the gradient of the score of
    the class with respect to map `A_k`. The score is the logit, before the softmax. Where a global
    mean and one dense layer follow the maps this is the class activation map over the number of
    pixels.

    Args:
        model: a functional Keras model of images with one output `(N, classes)`.
        images: inputs of the model, `(N, H, W, C)`.
        classes: index of the class for each image, `(N,)`; by default the predicted one.
        layer: whose maps are read; by default the last one that gives maps of more than a pixel.
        batch_size: images in a batch.

    Returns:
        `(N, h, w)` float32 in the size of the maps, at least 0, not normalised.

    Raises:
        ValueError: the model is not functional, no layer gives maps, something passes the layer by,
            or a class is unknown.
        NotImplementedError: the backend has no gradients.

    Example:
        >>> images = np.random.default_rng(0).random((2, 224, 224, 3))
        >>> model = senet.SEResNet18()
        >>> senet.grad_cam(model, images).shape
        (2, 7, 7)

    Reference:
        Selvaraju et al., arXiv 1610.02391, equations 1 and 2.
    """
    front, back = _halves(model, layer)
    if classes is not None:
        classes = np.asarray(classes)
        known = back.output.shape[-1]
        if classes.shape != (len(images),) or not ((classes >= 0) & (classes < known)).all():
            raise InputError(
                f"classes must be one index from 0 to {known - 1} for each of {len(images)} "
                f"images; got {classes}."
            )
    heat = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        maps = front.predict_on_batch(images[part])
        if classes is None:
            logits = keras.ops.convert_to_numpy(back(maps, training=False))
        chosen = logits.argmax(axis=1) if classes is None else classes[part]
        heat.append(_weighted(maps.astype("float32"), _gradients(back, maps, chosen)))
    return np.concatenate(heat)


def _weighted(maps: np.ndarray, gradients: np.ndarray) -> np.ndarray:
    channels, pixels = (1, (2, 3)) if _channels_first() else (3, (1, 2))
    weights = gradients.mean(axis=pixels, keepdims=True)
    return np.maximum((weights * maps).sum(axis=channels), 0)


def _channels_first() -> bool:
    return keras.config.image_data_format() == "channels_first"


def _halves(model: keras.Model, layer: str | None) -> tuple[keras.Model, keras.Model]:
    """The network from the images to the maps, and from the maps to the logits."""
    sources = inbound(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise InputError(
            f"Grad-CAM needs a network of one input and one output (N, classes); {model.name!r} "
            f"gives {[tuple(t.shape) for t in model.outputs]}."
        )
    known = [found.name for found in model.layers if _gives_maps(found)]
    if layer is None:
        layer = next((name for name in reversed(known) if _every_way(model, sources, name)), None)
    if layer is None or layer not in known:
        wanted = "No layer" if layer is None else f"The layer {layer!r}"
        last = f" Among those that do are {', '.join(known[-3:])}." if known else ""
        raise InputError(
            f"{wanted} of {model.name!r} gives maps (N, H, W, C) of more than a pixel.{last}"
        )
    if not _every_way(model, sources, layer):
        raise InputError(
            f"Grad-CAM cannot read the maps of {layer!r}, for there are ways from the image to the "
            "classes that pass them by: name a layer that every way goes through, as the last of a "
            "stage."
        )
    maps = model.get_layer(layer).output
    return keras.Model(model.inputs[0], maps), accelerate(keras.Model(maps, _logits(model)))


def _every_way(model: keras.Model, sources: dict[str, list[str]], layer: str) -> bool:
    """Whether every way from the input to the output goes through a layer."""
    waiting, seen = [model.output_names[0]], {layer}
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += sources[name]
    return all(sources[name] for name in seen)  # an input has none


def _gives_maps(layer: keras.layers.Layer) -> bool:
    shape = getattr(layer.output, "shape", ())
    if len(shape) != 4 or isinstance(layer, keras.layers.InputLayer):
        return False
    return all(side != 1 for side in (shape[2:] if _channels_first() else shape[1:3]))


def _logits(model: keras.Model) -> Any:
    """What comes before the softmax, if there is one at the end."""
    last: Any = softmax_of(model)
    if last is None:
        return model.outputs[0]
    if isinstance(last, keras.layers.Softmax):
        return last.input
    linear = type(last).from_config(last.get_config() | {"activation": "linear"})
    logits = linear(last.input)
    linear.set_weights(last.get_weights())
    return logits


def _gradients(back: keras.Model, maps: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """Gradient of the score of each image's class with respect to its maps, float32."""
    targets = np.eye(back.output.shape[-1], dtype="float32")[classes]

    def score(features):
        logits = keras.ops.cast(back(features, training=False), "float32")
        return keras.ops.sum(keras.ops.multiply(logits, targets))  # PyTorch takes no `*` here

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        features = tf.convert_to_tensor(maps)
        with tf.GradientTape() as tape:
            tape.watch(features)
            total = score(features)
        gradients = tape.gradient(total, features)
    elif backend == "jax":
        import jax

        gradients = jax.grad(score)(jax.numpy.asarray(maps))
    elif backend == "torch":
        import torch

        features = keras.ops.convert_to_tensor(maps).detach().requires_grad_(True)
        (gradients,) = torch.autograd.grad(score(features), features)
    else:
        raise UnsupportedError(
            f"Grad-CAM needs gradients, which Keras does not have on {backend!r}: set "
            "KERAS_BACKEND to tensorflow, jax or torch."
        )
    return keras.ops.convert_to_numpy(gradients).astype("float32")
