"""Where on an image a network saw a class."""

import collections
from typing import Any

import keras
import numpy as np

from senet.acceleration import accelerate
from senet.errors import InputError, UnsupportedError
from senet.explanation.gates import as_inputs, split
from senet.graph import functional, inbound, rebuild
from senet.models.graph import activation_of, find_end
from senet.models.layout import Layout


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
        model: a functional Keras model of images with one output `(N, classes)`, or a Sequential
            one that is built.
        images: inputs of the model, `(N, H, W, C)`.
        classes: index of the class for each image, `(N,)`; by default the predicted one.
        layer: whose maps are read; by default the last one that gives maps of more than a pixel.
        batch_size: images in a batch.

    Returns:
        `(N, h, w)` float32 in the size of the maps, at least 0, not normalised.

    Raises:
        ValueError: the model is not functional, no layer gives maps, something passes the layer by,
            a class is unknown, or there are no images or they do not fit.
        NotImplementedError: the backend has no gradients.

    Example:
        >>> images = np.random.default_rng(0).random((2, 224, 224, 3))
        >>> model = senet.SEResNet18()
        >>> senet.grad_cam(model, images).shape
        (2, 7, 7)

    Reference:
        Selvaraju et al., arXiv 1610.02391, equations 1 and 2.
    """
    front, back, axis = _halves(model, layer)
    images = as_inputs(model, images)
    count = len(keras.tree.flatten(images)[0])
    if classes is not None:
        classes = np.asarray(classes)
        known = back.output.shape[-1]
        if classes.shape != (count,) or not ((classes >= 0) & (classes < known)).all():
            raise InputError(
                f"classes must be one index from 0 to {known - 1} for each of {count} "
                f"images; got {classes}."
            )
    heat, start = [], 0
    for part in split(model, images, batch_size):
        maps = front.predict_on_batch(part)
        if classes is None:
            chosen = keras.ops.convert_to_numpy(back(maps, training=False)).argmax(axis=1)
        else:
            chosen = classes[start : start + len(maps)]
        start += len(maps)
        heat.append(_weighted(maps.astype("float32"), _gradients(back, maps, chosen), axis))
    return np.concatenate(heat)


def _weighted(maps: np.ndarray, gradients: np.ndarray, axis: int) -> np.ndarray:
    weights = gradients.mean(axis=_pixel_axes(axis), keepdims=True)
    return np.maximum((weights * maps).sum(axis=axis), 0)


def _pixel_axes(axis: int) -> tuple[int, int]:
    """The axes of the pixels beside this one of the channels."""
    return (2, 3) if axis == 1 else (1, 2)


def _halves(model: keras.Model, layer: str | None) -> tuple[keras.Model, keras.Model, int]:
    """The network from images to maps and from maps to logits, and the axis of the channels."""
    model = functional(model)
    sources = inbound(model)
    if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
        raise InputError(
            f"Grad-CAM needs a network of one input and one output (N, classes); {model.name!r} "
            f"gives {[tuple(t.shape) for t in model.outputs]}."
        )
    again, made = _call_anew(model, find_end(model))
    layout = Layout(model)
    known = [found.name for found in model.layers if _gives_maps(layout, made, found.name)]
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
    (maps,) = made[layer]
    back = accelerate(keras.Model(maps, again.output))
    return keras.Model(again.input, maps), back, layout.find_channel_axis(layer)


def _call_anew(model: keras.Model, end: str) -> tuple[keras.Model, dict[str, list[Any]]]:
    """The model up to its logits, and what each of its layers gives in it, a tensor for each call.

    It is called anew because a layer that other models have too does not say which of its tensors
    are of this one.

    Args:
        model: a functional model.
        end: path of what it ends in; a softmax is left out.
    """
    name, _, deeper = end.partition("/")
    made: dict[str, list[Any]] = collections.defaultdict(list)

    def call(layer, *args, **kwargs):
        if layer.name == name and deeper:
            outputs = _call_anew(functional(layer), deeper)[0](*args, **kwargs)
        elif layer.name == name and type(layer).__name__ == "Softmax":  # an operation too
            return args[0]
        elif layer.name == name and activation_of(layer) is keras.activations.softmax:
            return args[0] if not layer.weights else _linear(layer, args[0])
        else:
            outputs = layer(*args, **kwargs)
        made[layer.name].append(outputs)
        return outputs

    return rebuild(model, lambda layer: layer, call), made


def _linear(layer: Any, x: Any) -> Any:
    """What a layer gives before its activation."""
    linear = type(layer).from_config(layer.get_config() | {"activation": "linear"})
    logits = linear(x)
    linear.set_weights(layer.get_weights())
    return logits


def _every_way(model: keras.Model, sources: dict[str, list[str]], layer: str) -> bool:
    """Whether every way from the input to the output goes through a layer."""
    waiting, seen = [model.output_names[0]], {layer}
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += sources[name]
    return all(sources[name] for name in seen)  # an input has none


def _gives_maps(layout: Layout, made: dict[str, list[Any]], name: str) -> bool:
    """Whether a layer gives maps of more than a pixel, and is called once."""
    shapes = [getattr(tensor, "shape", ()) for tensor in made.get(name, ())]
    if len(shapes) != 1 or len(shapes[0]) != 4:
        return False
    return all(shapes[0][axis] != 1 for axis in _pixel_axes(layout.find_channel_axis(name)))


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
