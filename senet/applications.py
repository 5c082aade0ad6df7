"""The Keras face: networks by name, with the arguments of `keras.applications`."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

import keras
from keras import layers

from senet.models import family
from senet.models.blocks import channel_axis, full_precision
from senet.weights import transfer

P = ParamSpec("P")
POOLING: dict[str | None, Any] = {
    None: None,
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}
SMALLEST = 32
"""Smallest side of an input, pixels: five halvings of it leave one pixel."""


def create(
    network: str,
    include_top: bool = True,
    weights: str | os.PathLike | None = None,
    input_tensor: Any = None,
    input_shape: tuple[int | None, ...] | None = None,
    pooling: str | None = None,
    classes: int = 1000,
    classifier_activation: str | None = "softmax",
    name: str | None = None,
    *,
    variant: str = "seed",
    **spec_fields: Any,
) -> keras.Model:
    """Build a network of the family by its name.

    The arguments are those of `keras.applications`, with two departures: `weights` is `None` by
    default and else the path of a file that senet or Keras wrote, and `name` defaults to the
    network's. The record of what was built is `model.card`.

    Args:
        network: one of `senet.list_models()`, for example `"se_resnet50"` or `"resnet50"`.
        include_top: whether the classifier is part of the network.
        weights: path of a `.keras` or `.weights.h5` file of the same network, or `None`.
        input_tensor: Keras tensor to use as input, `(N, H, W, channels)`.
        input_shape: `(H, W, channels)`, pixels, at least 32 or `None` for an open side. By default
            the network's own size with its classifier, and `(None, None, 3)` without.
        pooling: without classifier, `"avg"` or `"max"` reduces the maps to `(N, C)`; `None` keeps
            them.
        classes: number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        name: of the model.
        variant: `"seed"` (the default), `"caffe"` (the authors' release: biases in the excitation,
            ceil-mode stem pooling) or `"torch"` (timm: biases, stride in the 3x3).
        **spec_fields: fields of `senet.Spec` that replace the network's own, as `ratio=8`.

    Returns:
        A functional `keras.Model` of stock layers.

    Raises:
        ValueError: a name is unknown, a shape impossible, or the weights do not fit.
        FileNotFoundError: there is no file at `weights`.

    Example:
        >>> model = senet.create("se_resnet50", classes=10, input_shape=(96, 96, 3))
        >>> model.output_shape
        (None, 10)

    Reference:
        Hu et al., arXiv 1709.01507, table 1.
    """
    spec = family.named_spec(network, variant, **spec_fields)
    _check_top(include_top, classes, pooling)
    image = _inputs(input_tensor, input_shape, include_top, spec.input_size)
    outputs = family.build(
        spec, image, classes=classes if include_top else None, activation=classifier_activation
    )
    if not include_top and pooling:
        outputs = POOLING[pooling](dtype=full_precision(), name=f"{pooling}_pool")(outputs)
    inputs = keras.utils.get_source_inputs(image)
    model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=name or network)
    if weights is not None:
        transfer.load_arrays(model, weights)
    if model.inputs[0] is image:  # else layers stand before the network, which no card describes
        model.card = transfer.Card(
            network=network,
            spec=spec,
            input_shape=tuple(image.shape[1:]),
            classes=classes if include_top else None,
            classifier_activation=classifier_activation,
            pooling=pooling,
        )
    return model


def list_models(pattern: str = "*") -> list[str]:
    """Names that `create` knows.

    Args:
        pattern: shell pattern, for example `"se_resnext*"`.

    Returns:
        Names; the plain twins (without `se_`) come last.

    Example:
        >>> list_models("se_resnext*")
        ['se_resnext50_32x4d', 'se_resnext101_32x4d']
    """
    return family.names(pattern)


def save(model: keras.Model, path: str | os.PathLike, **about: Any) -> None:
    """Save a network to one `.keras` file that plain Keras loads too.

    What else it takes to use the network (its spec, the names of its classes, the preprocessing)
    travels inside the file as one extra member, which stock Keras passes over.

    Args:
        model: a network from `create` or `load`.
        path: of the file; must end in `.keras`.
        **about: fields of the card to set, as `class_names=("cat", "dog")`.

    Raises:
        ValueError: the model has no card because it was made elsewhere; `model.save` keeps those.
        OSError: the file cannot be written.

    Example:
        >>> senet.save(model, "pets.keras", class_names=("cat", "dog"))
    """
    card = getattr(model, "card", None)
    if not isinstance(card, transfer.Card):
        raise ValueError(
            f"{model.name!r} was not made by senet.create or senet.load, so there is no record of "
            "how to build it again: save it with model.save."
        )
    transfer.save(model, path, dataclasses.replace(card, **about))


def load(path: str | os.PathLike) -> keras.Model:
    """Load a network that `save` wrote; nothing in the file is run.

    The network is built from the record in the file and filled with its arrays.

    Args:
        path: of the `.keras` file.

    Returns:
        The network; its class names and preprocessing are in `model.card`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged, or was not written by `save`.

    Example:
        >>> model = senet.load("run/model.keras")
        >>> model.card.class_names
        ('cat', 'dog')
    """
    card = transfer.read_card(path)
    model = create(
        card.network,
        include_top=card.classes is not None,
        weights=path,
        input_shape=card.input_shape,
        pooling=card.pooling,
        classes=card.classes or 1000,
        classifier_activation=card.classifier_activation,
        **vars(card.spec),
    )
    model.card = card
    return model


def _inputs(tensor, shape, include_top, size):
    """The tensor that the stem reads."""
    if tensor is not None:
        if not keras.utils.is_keras_tensor(tensor):
            tensor = keras.Input(tensor=tensor)
        _check_shape(tuple(tensor.shape[1:]))
        return tensor
    if shape is None:
        side = size if include_top else None
        shape = (side, side, 3) if channel_axis() == -1 else (3, side, side)
    _check_shape(tuple(shape))
    return keras.Input(tuple(shape), name="image")


def _check_shape(shape):
    if channel_axis() == -1:
        *sides, channels = shape or (None,)
        example = "(224, 224, 3)"
    else:
        channels, *sides = shape or (None,)
        example = "(3, 224, 224)"
    if len(sides) != 2 or not channels:
        raise ValueError(
            f"input_shape must be height, width and channels in the order of "
            f"{keras.config.image_data_format()!r}, for example {example}; got {shape}."
        )
    if any(side is not None and side < SMALLEST for side in sides):
        raise ValueError(
            f"The sides of the input must be at least {SMALLEST} pixels, or None where they are "
            f"open; got input_shape={shape}. Enlarge the images first."
        )


def _check_top(include_top, classes, pooling):
    if pooling not in POOLING:
        raise ValueError(f'pooling must be None, "avg" or "max"; got {pooling!r}.')
    if include_top and (not isinstance(classes, int) or classes < 1):
        raise ValueError(f"classes must be a positive integer; got {classes!r}.")


def _like(
    function: Callable[Concatenate[str, P], keras.Model],
) -> Callable[[Callable[..., keras.Model]], Callable[P, keras.Model]]:
    """Give a constructor the arguments of `create` after the name, so they are written once."""
    signature = inspect.signature(function)
    arguments = signature.replace(parameters=list(signature.parameters.values())[1:])

    def decorate(constructor: Callable[..., keras.Model]) -> Callable[P, keras.Model]:
        @functools.wraps(constructor)
        def build(*args: P.args, **kwargs: P.kwargs) -> keras.Model:
            return constructor(*args, **kwargs)

        build.__signature__ = arguments  # type: ignore[attr-defined]
        return build

    return decorate


@_like(create)
def SEResNet50(*args, **kwargs):
    """SE-ResNet-50 of the paper's table 1; arguments as `senet.create`."""
    return create("se_resnet50", *args, **kwargs)


@_like(create)
def SEResNet101(*args, **kwargs):
    """SE-ResNet-101 of the paper's table 1; arguments as `senet.create`."""
    return create("se_resnet101", *args, **kwargs)


@_like(create)
def SEResNet152(*args, **kwargs):
    """SE-ResNet-152 of the paper's table 1; arguments as `senet.create`."""
    return create("se_resnet152", *args, **kwargs)


@_like(create)
def SEResNeXt50(*args, **kwargs):
    """SE-ResNeXt-50 (32x4d) of the paper's table 1; arguments as `senet.create`."""
    return create("se_resnext50_32x4d", *args, **kwargs)


@_like(create)
def SEResNeXt101(*args, **kwargs):
    """SE-ResNeXt-101 (32x4d) of the paper's table 1; arguments as `senet.create`."""
    return create("se_resnext101_32x4d", *args, **kwargs)
