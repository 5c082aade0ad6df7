"""Where on an image a network saw a class."""

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from senet.acceleration import accelerate
from senet.errors import InputError, UnsupportedError
from senet.explanation.gates import as_inputs, split
from senet.explanation.placement import Place, Places, enlarge, fix_inputs
from senet.graph import functional, inbound, rebuild
from senet.models.graph import activation_of, find_end
from senet.models.layout import Layout


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    layer: str | None = None,
    classes: np.ndarray | Sequence[int] | int | None = None,
    *,
    resize: bool = False,
    batch_size: int = 32,
) -> np.ndarray:
    """Grad-CAM: the part of each image that speaks for a class.

    `L = relu(sum_k a_k A_k)` with `a_k` the mean over the pixels of the gradient of the score of
    the class with respect to map `A_k`. The score is the logit, before the softmax; of a network
    that ends in sigmoids it is what these give. Where a global mean and one dense layer follow the
    maps this is the class activation map over the number of pixels.

    Args:
        model: a functional Keras model of images with one output `(N, classes)`, or a Sequential
            one that is built.
        images: inputs of the model, `(N, H, W, C)`.
        layer: whose maps are read; by default the last one that gives maps of more than a pixel.
        classes: index of the class, one for all images or one for each, `(N,)`; by default the
            predicted one.
        resize: whether maps come in the size of the images. Each cell is put on the middle of the
            pixels that it is computed from, which is not the middle of its part of the image.
        batch_size: images in a batch.

    Returns:
        `(N, h, w)` float32 in the size of the maps, or `(N, H, W)` in that of the images; at least
        0, not normalised.

    Raises:
        ValueError: the model is not functional, no layer gives maps, something passes the layer by,
            a class is unknown, or there are no images or they do not fit.
        NotImplementedError: the backend has no gradients.

    Example:
        >>> images = np.random.default_rng(0).random((2, 224, 224, 3))
        >>> model = senet.SEResNet18()
        >>> senet.grad_cam(model, images).shape
        (2, 7, 7)
        >>> senet.grad_cam(model, images, resize=True).shape
        (2, 224, 224)

    Reference:
        Selvaraju et al., arXiv 1610.02391, equations 1 and 2; class activation maps: Zhou et al.,
        arXiv 1512.04150, equation 2.
    """
    images = as_inputs(model, images)
    halves = Halves.of(model, layer, images)
    heat = halves.compute_heat(images, classes, batch_size)
    return halves.enlarge(heat, images) if resize else heat


@dataclasses.dataclass(frozen=True)
class Halves:
    """A network in two: from images to the maps that are read, and from these to the logits.

    Args:
        model: the network.
        front: its first half.
        back: its second half.
        axis: of the channels in the maps, 1 or -1.
        image_axis: of the channels in the images, 1 or -1.
        place: where on the image the cells of the maps lie, if that is known.
    """

    model: keras.Model
    front: keras.Model
    back: keras.Model
    axis: int
    image_axis: int
    place: Place | None

    @classmethod
    def of(cls, model: keras.Model, layer: str | None, images: Any) -> "Halves":
        """Halve a network at a layer, by default the last one that gives maps.

        Args:
            model: the network.
            layer: name of the layer.
            images: inputs of the model; their size decides where cells lie.

        Raises:
            InputError: it cannot be halved there, or is no network that Grad-CAM can read.
        """
        model = functional(model)
        sources = inbound(model)
        if len(model.inputs) != 1 or len(model.outputs) != 1 or len(model.outputs[0].shape) != 2:
            raise InputError(
                f"Grad-CAM needs a network of one input and one output (N, classes); "
                f"{model.name!r} gives {[tuple(t.shape) for t in model.outputs]}."
            )
        sizes = keras.tree.flatten(images)[0].shape[1:]
        try:
            again, made, places = _call_anew(model, find_end(model), fix_inputs(model, sizes))
            known_places = places
        except Exception:  # of layers of users that name a wrong size, which matters to Keras now
            again, made, _ = _call_anew(model, find_end(model))
            known_places = None
        (logits,) = keras.tree.flatten(again.output)
        layout = Layout(model)
        known = [found.name for found in model.layers if _gives_maps(layout, made, found.name)]
        if layer is None and known:
            layer = next((n for n in reversed(known) if _every_way(model, sources, n)), None)
        if not isinstance(layer, str) or layer not in known:
            wanted = "No layer" if layer is None else f"The layer {layer!r}"
            last = f" Among those that do are {', '.join(known[-3:])}." if known else ""
            raise InputError(
                f"{wanted} of {model.name!r} gives maps (N, H, W, C) of more than a pixel.{last}"
            )
        if not _every_way(model, sources, layer):
            raise InputError(
                f"Grad-CAM cannot read the maps of {layer!r}, for there are ways from the image to "
                "the classes that pass them by: name a layer that every way goes through, as the "
                "last of a stage."
            )
        (maps,) = made[layer]
        (start,) = (one.name for one in model.layers if isinstance(one, keras.layers.InputLayer))
        return cls(
            model,
            keras.Model(again.input, maps),
            accelerate(keras.Model(maps, logits)),
            layout.find_channel_axis(layer),
            layout.find_channel_axis(start),
            known_places.find(maps) if known_places else None,
        )

    def compute_heat(
        self,
        images: Any,
        classes: np.ndarray | Sequence[int] | int | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        """The heat maps of images in the size of the maps, `(N, h, w)`.

        Raises:
            InputError: the classes are not ones of the network, or not as many as the images.
        """
        count = len(keras.tree.flatten(images)[0])
        chosen = None if classes is None else self.read_classes(classes, count)
        heat, start = [], 0
        for part in split(self.model, images, batch_size):
            maps = self.front.predict_on_batch(part)
            if chosen is None:
                logits = keras.ops.convert_to_numpy(self.back(maps, training=False))
                wanted = logits.argmax(axis=1)
            else:
                wanted = chosen[start : start + len(maps)]
            start += len(maps)
            gradients = _gradients(self.back, maps, wanted)
            heat.append(_weighted(maps.astype("float32"), gradients, self.axis))
        return np.concatenate(heat)

    def read_classes(self, classes: Any, count: int) -> np.ndarray:
        """An index for each of so many images, `(N,)`.

        Raises:
            InputError: they are not ones of the network, or not as many as the images.
        """
        known = self.back.output.shape[-1]
        try:
            chosen = np.asarray(classes)
        except ValueError:  # lists of unequal length
            chosen = np.array(None)
        whole = chosen.dtype.kind in "iu" and chosen.shape in ((), (count,))
        if not whole or not ((chosen >= 0) & (chosen < known)).all():
            raise InputError(
                f"classes must be an index from 0 to {known - 1}, one for all or one for each of "
                f"{count} image{'s' if count != 1 else ''}; got {classes!r}."
            )
        return np.broadcast_to(chosen, (count,))

    def enlarge(self, heat: np.ndarray, images: Any) -> np.ndarray:
        """Maps `(N, h, w)` in the size of the images, `(N, H, W)`.

        Raises:
            InputError: the inputs of the network are no images.
        """
        shape = keras.tree.flatten(images)[0].shape
        if len(shape) != 4:
            raise InputError(
                f"Maps lie on images (N, H, W, C); {self.model.name!r} takes inputs of shape "
                f"{shape}."
            )
        down, across = pixel_axes(self.image_axis)
        return enlarge(heat, self.place, (shape[down], shape[across]))


def _weighted(maps: np.ndarray, gradients: np.ndarray, axis: int) -> np.ndarray:
    weights = gradients.mean(axis=pixel_axes(axis), keepdims=True)
    return np.maximum((weights * maps).sum(axis=axis), 0)


def pixel_axes(axis: int) -> tuple[int, int]:
    """The axes of the pixels beside this one of the channels."""
    return (2, 3) if axis == 1 else (1, 2)


def _call_anew(
    model: keras.Model, end: str, inputs: Any = None
) -> tuple[keras.Model, dict[str, list[Any]], Places]:
    """The model up to its logits, what its layers give in it, a tensor for each call, and where.

    It is called anew because a layer that other models have too does not say which of its tensors
    are of this one.

    Args:
        model: a functional model.
        end: path of what it ends in; a softmax is left out.
        inputs: to call it on; by default new ones of the same shapes.
    """
    name, _, deeper = end.partition("/")
    made: dict[str, list[Any]] = collections.defaultdict(list)
    places = Places(model)

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
        places.note(layer, (args, kwargs), outputs)
        return outputs

    return rebuild(model, lambda layer: layer, call, inputs), made, places


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
    return all(shapes[0][axis] != 1 for axis in pixel_axes(layout.find_channel_axis(name)))


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
