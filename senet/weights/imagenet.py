"""ImageNet as Keras users meet it: its classes, inputs for its networks, names for predictions."""

import functools
import importlib.resources
import json
from typing import Any

import numpy as np

from senet.errors import InputError
from senet.weights import catalogue


@functools.cache
def classes() -> tuple[tuple[str, str], ...]:
    """WordNet id and name of each of the 1000 classes: `("n01440764", "tench")` is the first."""
    file = importlib.resources.files("senet.weights") / "imagenet_classes.json"
    return tuple((synset, name) for synset, name in json.loads(file.read_text("utf-8")))


def class_names() -> tuple[str, ...]:
    """The names alone."""
    return tuple(name for _, name in classes())


def preprocess_input(x: Any, weights: str = "imagenet", data_format: str | None = None) -> Any:
    """Images as the published networks read them: `(x / 255 - mean) / std` of each channel.

    The size is left as it is; `senet predict` resizes and crops as each network was scored.

    Args:
        x: RGB images, values 0-255: array or tensor `(N, H, W, 3)` or `(H, W, 3)`.
        weights: tag of `senet.list_weights()`, or `"imagenet"`.
        data_format: `"channels_last"` or `"channels_first"`; by default that of Keras.

    Returns:
        Floating point values of the same shape: a NumPy array for an array, else a tensor.

    Raises:
        ValueError: no published weights have the tag, or `x` has not three channels.

    Example:
        >>> grey = np.full((1, 224, 224, 3), 124.0)
        >>> float(senet.preprocess_input(grey)[0, 0, 0, 0])
        0.0055...
    """
    import keras

    published = catalogue.with_tag(weights)
    first = (data_format or keras.config.image_data_format()) == "channels_first"
    axis = -3 if first else -1
    if len(x.shape) < 3 or x.shape[axis] != 3:
        raise InputError(
            f"Images must be RGB, with 3 channels at axis {axis}; got the shape {tuple(x.shape)}."
        )
    per_channel = (3, 1, 1) if first else (3,)
    mean = np.reshape(published.mean, per_channel).astype("float32")
    std = np.reshape(published.std, per_channel).astype("float32")
    if not isinstance(x, np.ndarray):
        x = keras.ops.cast(x, keras.config.floatx())
    return (x / np.float32(255) - mean) / std


def decode_predictions(preds: Any, top: int = 5) -> list[list[tuple[str, str, float]]]:
    """Name the most probable ImageNet classes, as `keras.applications` does.

    Args:
        preds: probabilities or logits, `(N, 1000)`.
        top: classes for each image.

    Returns:
        For each image `top` tuples of WordNet id, name and score, the highest score first.

    Raises:
        ValueError: the shape is another one.

    Example:
        >>> scores = np.eye(1000)[[281]]  # of one image
        >>> senet.decode_predictions(scores, top=1)
        [[('n02123045', 'tabby', 1.0)]]
    """
    preds = np.asarray(preds)
    if preds.ndim != 2 or preds.shape[1] != len(classes()):
        raise InputError(
            f"decode_predictions names the {len(classes())} classes of ImageNet and needs an array "
            f"(N, {len(classes())}); got the shape {preds.shape}."
        )
    best = np.argsort(-preds, axis=1, kind="stable")[:, :top]
    return [
        [(*classes()[i], float(row[i])) for i in order]
        for row, order in zip(preds, best, strict=True)
    ]
