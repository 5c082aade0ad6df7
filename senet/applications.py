"""The Keras face: networks by name, with the arguments of `keras.applications`."""

import collections
import contextlib
import dataclasses
import fnmatch
import functools
import inspect
import operator
import os
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Concatenate, ParamSpec

import keras
from keras import layers

from senet import machine, references
from senet.data.preprocessing import COLOURS, Preprocessing
from senet.errors import CapacityError, InputError, one_family
from senet.foreign import MAX_PATH, clean_text
from senet.graph import functional, same_layers
from senet.models import family
from senet.models.blocks import channel_axis, full_precision
from senet.models.complexity import shapes_only
from senet.models.graph import name_final_activation
from senet.models.layout import Layout
from senet.models.spec import Spec
from senet.weights import catalogue, hub, imagenet, schemes, transfer
from senet.weights.card import Card
from senet.weights.descriptions import refuse_code

P = ParamSpec("P")
POOLING: dict[str | None, Any] = {
    None: None,
    "avg": layers.GlobalAveragePooling2D,
    "max": layers.GlobalMaxPooling2D,
}
COPIES = 3
"""Of its weights that a network takes while it starts from random values."""
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
    features: tuple[int, ...] | None = None,
    variant: str | None = None,
    **spec_fields: Any,
) -> keras.Model:
    """Build a network of the family by its name.

    The arguments are those of `keras.applications`, with two departures: `weights` is `None` by
    default, and `name` defaults to the network's. The record of what was built is `model.card`.

    Args:
        network: one of `senet.list_models()`, for example `"se_resnet50"` or `"resnet50"`.
        include_top: whether the classifier is part of the network.
        weights: `None`; `"imagenet"` or another tag of `senet.list_weights()`, which is downloaded
            once; the path of a run folder; or that of a file of this network, ours or one of
            PyTorch's (`.keras`, `.weights.h5`, `.safetensors`, `.pth`, `.pt`). A classifier for
            another number of classes is left as it starts, with a warning.
        input_tensor: Keras tensor to use as input, `(N, H, W, channels)`.
        input_shape: `(H, W, channels)`, pixels, at least 32 or `None` for an open side. By default
            the network's own size with its classifier, and `(None, None, 3)` without.
        pooling: without classifier, `"avg"` or `"max"` reduces the maps to `(N, C)`; `None` keeps
            them.
        classes: number of classes.
        classifier_activation: `"softmax"`, or `None` for logits.
        name: of the model.
        features: strides, of `(2, 4, 8, 16, 32)`, whose feature maps the model gives out as a list
            in place of the classifier: at each the last map of that resolution. `output_stride=8`
            or `16` dilates the network so that its last maps are no coarser.
        variant: `"seed"`, `"caffe"` (the authors' release: biases in the excitation, ceil-mode stem
            pooling) or `"torch"` (timm: biases, stride in the 3x3). By default that of the weights,
            `"seed"` without any.
        **spec_fields: fields of `senet.Spec` that replace the network's own, as `ratio=8`.

    Returns:
        A functional `keras.Model` of stock layers.

    Raises:
        ValueError: a name is unknown, a shape impossible, or the weights do not fit; a
            `senet.WeightsError` says which file and why.
        FileNotFoundError: there is neither a file nor a tag of the name `weights`.

    Example:
        >>> model = senet.create("se_resnet50", classes=10, input_shape=(96, 96, 3))
        >>> model.output_shape
        (None, 10)

    Reference:
        Hu et al., arXiv 1709.01507, table 1.
    """
    _check_top(include_top, classes, pooling, features)
    include_top = include_top and features is None
    with _open_weights(network, weights) as source:
        spec = _spec(network, variant, spec_fields, source)
        image = _inputs(input_tensor, input_shape, include_top, spec.input_size)
        n_classes = operator.index(classes) if include_top else None
        groups = _groups_needed(spec, source, features)
        if source is not None:
            source.require_held(groups)
        _require_memory(network, spec, image, n_classes, groups)
        outputs = family.build(
            *(spec, image), classes=n_classes, activation=classifier_activation, groups=groups
        )
        if not include_top and pooling:
            outputs = POOLING[pooling](dtype=full_precision(), name=f"{pooling}_pool")(outputs)
        alone = keras.Model(image, outputs, name=name or network)
        if features is not None:
            outputs = _feature_maps(alone, spec, features, groups)
        if source is not None:
            source.fill(_as_stored(alone, spec, source.card, features, groups), spec)
    inputs = keras.utils.get_source_inputs(image)
    model = keras.Model(inputs[0] if len(inputs) == 1 else inputs, outputs, name=name or network)
    if model.inputs[0] is image:  # else layers stand before the network, which no card describes
        stored = source and source.card
        model.card = Card(
            network=network,
            spec=spec,
            input_shape=tuple(image.shape[1:]),
            classes=n_classes,
            classifier_activation=classifier_activation,
            pooling=pooling,
            features=None if features is None else tuple(features),
            name=model.name,
            precision=keras.config.dtype_policy().name,
            data_format=keras.config.image_data_format(),
            class_names=stored.class_names if stored and stored.classes == n_classes else None,
            preprocessing=_fit_preprocessing(stored.preprocessing, image.shape) if stored else None,
            trained_on=stored.trained_on if stored else None,
            folded=stored.folded if stored else None,
        )
        note_weights(model)
    return model


def _fit_preprocessing(
    rule: dict[str, Any] | None, shape: tuple[int | None, ...]
) -> dict[str, Any] | None:
    """The preprocessing of weights, for an input of another size."""
    _, *sides = shape if channel_axis() == -1 else (shape[0], *shape[2:])
    if rule is None or sides[0] is None or sides[0] != sides[1]:
        return rule
    return rule | {"size": sides[0]}


def note_weights(model: keras.Model) -> None:
    """Keep a checksum of the weights whose training is known, to notice when they change."""
    if model.card.trained_on is not None:
        model.weights_at_start = _sum_weights(model)


def _sum_weights(model: keras.Model) -> int:
    """A checksum of all weights: another one where any of them is another."""
    total = 0
    for variable in model.weights:
        total = zlib.crc32(keras.ops.convert_to_numpy(variable).tobytes(), total)
    return total


@contextlib.contextmanager
def _open_weights(
    network: str, weights: str | os.PathLike | transfer.Source | None
) -> Iterator[transfer.Source | None]:
    """What `weights=` stands for: nothing, what `references` knows, or what `load` opened."""
    if weights is None or isinstance(weights, transfer.Source):
        yield weights
        return
    with references.open_weights(weights, network) as source:
        yield source


def _opened(source: transfer.Source) -> Any:
    """What `load` has opened, which `create` takes as its `weights` too."""
    return source


def _spec(
    network: str, variant: str | None, fields: dict[str, Any], source: transfer.Source | None
) -> Spec:
    """The spec to build: the named network's, in the variant that the weights have."""
    named = family.named_spec(network, variant or "seed", **fields)
    if source is None or source.card is None:
        return named
    stored = source.card.spec
    if stored is None:
        raise transfer.WeightsError(
            source.file.path,
            f"it holds {source.card.network}, which is built as the file says: use senet.load.",
        )
    if what := family.differences(named, stored, family.STRUCTURE):
        raise transfer.WeightsError(
            source.file.path,
            f"it holds {source.card.network}, not {network} as it is to be built ({what}). Name "
            "the network and the fields that it was saved with, or use senet.load.",
        )
    if variant is not None:
        free = [field for field in family.VARIED if field not in fields]
        if what := family.differences(named, stored, free):
            raise transfer.WeightsError(
                source.file.path,
                f"it does not follow the variant {variant!r} ({what}). Leave variant out: the "
                "weights bring their own.",
            )
    return dataclasses.replace(stored, **fields)


def _require_memory(
    network: str, spec: Spec, image: Any, classes: int | None, groups: int | None
) -> None:
    """Refuse a network whose weights fit no memory before the backend ends the process over it.

    Raises:
        MemoryError: they do not fit.
    """
    channels = image.shape[channel_axis()]
    needed = COPIES * 4 * family.least_values(spec, channels, classes, groups)
    if needed > machine.count_memory():
        raise CapacityError(
            f"{network!r} with {classes or 'no'} classes takes {needed / 2**30:,.0f} GiB to build, "
            "which is more than the memory of this machine."
        )


def _groups_needed(
    spec: Spec, source: transfer.Source | None, features: tuple[int, ...] | None
) -> int | None:
    """How many groups feature maps need; `None` is all, as where a file of weights has all."""
    if features is None:
        return None
    groups = spec.strides_of_groups()
    known = sorted({*groups} | ({2} if spec.stem != "3x3" else set()))
    stored = source.card.features if source and source.card else ()
    if source is not None and not set(stored or ()) <= set(known):
        raise transfer.WeightsError(
            source.file.path, f"its strides {stored} are not those of its network: {known}."
        )
    for stride in features:
        if stride not in known:
            raise InputError(
                f"features must be strides of this network, {', '.join(map(str, known))}; got "
                f"{stride!r}."
            )
    if stored is None:
        return None
    return spec.count_groups((*features, *stored))


def _as_stored(
    model: keras.Model,
    spec: Spec,
    card: Card | None,
    features: tuple[int, ...] | None,
    groups: int | None,
) -> keras.Model:
    """The part of a network that a file holds: all of it, but for a file of feature maps."""
    if card is None or card.features is None or features is None:
        return model
    strides = tuple(sorted({*card.features, *features}))
    return keras.Model(model.input, _feature_maps(model, spec, strides, groups), name=model.name)


def list_models(pattern: str = "*") -> list[str]:
    """Names that `create` knows.

    Args:
        pattern: shell pattern, for example `"se_resnext*"`.

    Returns:
        Names; those of the networks without squeeze and excitation (without `se_`) come last.

    Example:
        >>> list_models("se_resnext26*")
        ['se_resnext26_32x4d', 'se_resnext26d_32x4d', 'se_resnext26t_32x4d']
    """
    return family.names(pattern)


def save(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    names: str | None = None,
    class_names: Sequence[str] | None = None,
    preprocessing: Preprocessing | Mapping[str, Any] | None = None,
    **about: Any,
) -> None:
    """Save a network to one `.keras` file that plain Keras loads too, or to a safetensors file.

    What else it takes to use the network (its spec, the names of its classes, the preprocessing)
    and which images `senet train` trained it on travel inside the file as one extra member, which
    stock Keras passes over. `model.save` of Keras does not write it.

    Args:
        model: a network from `create`, `load` or `fold`; or another functional model of stock
            layers with one input of images, as `insert` gives, for which Keras' own description in
            the file counts.
        path: of the file; `.keras`, or `.safetensors` for networks of the family. Folders above it
            are made.
        names: of the arrays in a safetensors file: `None` for ours, `"timm"` for those of timm's
            ResNets, `"caffe"` for those of its `legacy_*` networks. Excitations without biases get
            biases of zero there.
        class_names: one for each class, in the order of the outputs; by default those that the
            network has already.
        preprocessing: how an image becomes an input, as `senet.Preprocessing.of_values("0-1", 32)`;
            by default what the network has already. `senet.predict` needs it, and the commands.
        **about: other fields of the card to set.

    Raises:
        InputError: the model is of another kind or has layers of others, and `model.save` keeps it;
            networks with these names compute something else; there is not one name for each class;
            or the preprocessing does not give inputs of the network's size.
        FileError: the file cannot be written.

    Example:
        >>> model = senet.create("se_resnet20_cifar", classes=2)
        >>> rule = senet.Preprocessing.of_values("0-1", 32)
        >>> senet.save(model, "pets.keras", class_names=("cat", "dog"), preprocessing=rule)
    """
    card = getattr(model, "card", None)
    if not isinstance(card, Card):
        card = _card_of_another(model)
    if card.spec is None:
        _require_stock(model)
    if class_names is not None:
        about["class_names"] = _check_class_names(class_names, card)
    if preprocessing is not None:
        about["preprocessing"] = _check_preprocessing(preprocessing, card)
    card = dataclasses.replace(note_own_training(model, card), **about)
    with one_family():
        transfer.save(model, path, card, names)


def _check_class_names(class_names: Sequence[str], card: Card) -> tuple[str, ...]:
    """Names of classes that fit a network.

    Raises:
        InputError: they are no names, one of them is there twice, or there are more or fewer.
    """
    several = isinstance(class_names, Iterable) and not isinstance(class_names, str)
    names = tuple(class_names) if several else ()
    if not names or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"class_names must be a list of texts, as ('cat', 'dog'); got {class_names!r}."
        )
    if len(names) != card.classes:
        outputs = f"{card.classes} classes" if card.classes else "no classifier"
        raise InputError(
            f"There must be one name for each class, and {card.network} has {outputs}; got "
            f"{len(names)} class names."
        )
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice and names != imagenet.class_names():  # two of which are called crane, two maillot
        raise InputError(f"class_names has {twice[0]!r} more than once: classes are told by name.")
    return names


def _check_preprocessing(given: Preprocessing | Mapping[str, Any], card: Card) -> dict[str, Any]:
    """A preprocessing that fits a network, as its card has it.

    Raises:
        InputError: it is none, or does not give inputs of the network's shape.
    """
    if not isinstance(given, Preprocessing | Mapping):
        raise InputError(
            "preprocessing must be a senet.Preprocessing, as "
            f'senet.Preprocessing.of_values("0-1", 32); got {given!r}.'
        )
    rule = given if isinstance(given, Preprocessing) else Preprocessing.from_json(dict(given))
    sides = card.input_shape[:2] if card.data_format == "channels_last" else card.input_shape[1:]
    if any(side not in (None, rule.size) for side in sides) or card.channels != COLOURS:
        raise InputError(
            f"The preprocessing gives inputs of {rule.size} x {rule.size} x {COLOURS}, and "
            f"{card.network} takes {card.input_shape}."
        )
    return rule.to_json()


def note_own_training(model: keras.Model, card: Card) -> Card:
    """The card, with it said where the weights changed since: by training that nothing names."""
    before = getattr(model, "weights_at_start", None)
    if before is None or not isinstance(card.trained_on, dict) or before == _sum_weights(model):
        return card
    return dataclasses.replace(card, trained_on=card.trained_on | dict(trained_elsewhere=True))


def _card_of_another(model: keras.Model) -> Card:
    """The card of a network that is not of the family.

    Raises:
        ValueError: it has not one input of images and one output.
    """
    inputs, outputs = (list(getattr(model, end, None) or ()) for end in ("inputs", "outputs"))
    if [len(t.shape) for t in (*inputs, *outputs)] != [4, 2]:
        raise InputError(
            f"{model.name!r} is neither a network from senet.create or senet.load nor a functional "
            "model with one input (N, H, W, C) and one output (N, classes): save it with "
            "model.save."
        )
    image = next(
        layer for layer in functional(model).layers if isinstance(layer, layers.InputLayer)
    )
    axis = Layout(model).find_channel_axis(image.name)
    return Card(
        network=model.name,
        spec=None,
        input_shape=tuple(inputs[0].shape[1:]),
        classes=outputs[0].shape[-1],
        classifier_activation=name_final_activation(model),
        precision=keras.config.dtype_policy().name,
        data_format="channels_last" if axis == -1 else "channels_first",
    )


def _require_stock(model: keras.Model) -> None:
    """Refuse a network that `load` would refuse to build of its description in a file.

    Raises:
        ValueError: something in it is no stock layer, or could run code.
    """
    try:
        refuse_code(keras.saving.serialize_keras_object(same_layers(functional(model))))
    except (InputError, NotImplementedError, TypeError) as error:
        raise InputError(
            f"{model.name!r} cannot be kept with its card, because senet.load builds networks of "
            f"stock layers only: {clean_text(error, MAX_PATH)}. Put a stock layer in its place, or "
            "keep it by model.save."
        ) from error


def load(path: str | os.PathLike, **options: Any) -> keras.Model:
    """Load a network from a file, ours or a published one; nothing in the file is run.

    A file that `save` wrote says what it holds, and the network is built in the precision and data
    format that it had. Of PyTorch's files (timm, torchvision, the authors' Caffe networks as
    pretrainedmodels, timm's `legacy_*` or segmentation_models.pytorch have them, moskomule) the
    names of the arrays tell the scheme and their shapes the network. What they cannot tell comes
    from the scheme: the position of the stride, the stem pooling. Anti-aliased networks have the
    arrays of others: name them, `network="se_resnextaa101d_32x8d"`.

    In a checkpoint the network is found behind any prefix and in any dict or object; averaged
    weights come first. A `UserWarning` says what was taken and what was left out, where that is
    more than the classifier of the scheme, which is not read where none is asked for.

    Args:
        path: of a `.keras`, `.safetensors`, `.pth` or `.pt` file; of a `.weights.h5` file with
            `network=` and what else differs from its defaults; of a run folder; or published
            weights as `list_weights` has them, as `"se_resnet50.ra2_in1k"`.
        **options: arguments of `create` that replace what the file says, as `classes=10` (all but
            the classifier is loaded then), `include_top=False`, `strided="reduce"`. With `weights`
            the tag of the published weights that the file is a copy of: they tell its class names
            and preprocessing, and its checksum is compared where one is known.

    Returns:
        The network; its class names and preprocessing, where they are known, are in `model.card`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: as `senet.WeightsError`, which says what is wrong with the file.

    Example:
        >>> model = senet.load("runs/pets")  # or a file, as "runs/pets/best.keras"
        >>> model.card.class_names
        ('cat', 'dog')
    """
    model, complete = read_network(path, **options)
    if not complete:
        warnings.warn(
            f"{os.fspath(path)!r} holds no class names and preprocessing, which model.save of "
            "Keras does not keep: senet.save(model, path, class_names=..., preprocessing=...) "
            "does.",
            stacklevel=2,
        )
    return model


def read_network(path: str | os.PathLike, **options: Any) -> tuple[keras.Model, bool]:
    """`load` for callers who say themselves what a network lacks, and whether `save` wrote it.

    What PyTorch wrote counts as complete: nobody expects more of it.
    """
    network, tag = options.get("network"), options.pop("weights", None)
    with references.open_weights(path, network) as source:
        path = source.file.path
        card = source.card
        if card is None:
            if network is None:
                given = options | ({"weights": tag} if tag else {})
                return _load_described(source, given), False
            return create(weights=_opened(source), **options), True
        if card.spec is None:
            given = options | ({"weights": tag} if tag else {})
            return _load_described(source, given), True
        if network not in (None, card.network):
            wanted = family.named_spec(network)
            if what := family.differences(wanted, card.spec, family.STRUCTURE):
                raise transfer.WeightsError(
                    path, f"it holds {card.network}, not {network}: {what}."
                )
        if tag is not None:
            published = catalogue.published(card.network, tag)
            hub.verify(source.file.path, published)
            source = source.copy_of(published)
            card = source.card or card
        arguments = dict(
            network=card.network,
            include_top=card.classes is not None,
            input_shape=card.input_shape,
            pooling=card.pooling,
            features=card.features,
            classes=card.classes or 1000,
            classifier_activation=card.classifier_activation,
            name=card.name,
            **vars(card.spec),
        )
        if options.get("variant"):  # is compared with what the file has
            for field in family.VARIED:
                del arguments[field]
        if "classes" in options:
            arguments.update(include_top=True, pooling=None, features=None)
        with (
            contextlib.nullcontext() if options else transfer.believing(path),
            keras_settings(card.precision, card.data_format),
        ):
            return create(weights=_opened(source), **arguments | options), True


def _load_described(source: transfer.Source, options: Mapping[str, Any]) -> keras.Model:
    """The network of a file in which Keras described it, as `save` and `model.save` do.

    Raises:
        WeightsError: nothing describes it, it is no network of images, or it cannot be built.
    """
    path, card = source.file.path, source.card
    if card is None and not source.is_described:
        raise transfer.WeightsError(path, transfer.NAMELESS)
    if options:
        what = card.network if card else "its network"
        raise transfer.WeightsError(
            path, f"{what} is built as the file says: {', '.join(options)} cannot be changed."
        )
    with transfer.believing(path):
        settings = (card.precision, card.data_format) if card else ("float32",)
        with keras_settings(*settings):
            model = source.graph()
            source.fill(model, None)
            if isinstance(model, keras.Sequential):
                model = keras.Model(model.inputs[0], model.outputs[0], name=model.name)
            try:
                model.card = card or _card_of_another(model)
            except InputError:
                raise transfer.WeightsError(path, transfer.OTHER_KIND) from None
    note_weights(model)
    return model


def outline(
    where: str | os.PathLike,
    *,
    variant: str | None = None,
    classes: int | None = None,
    size: int | None = None,
) -> keras.Model:
    """A network with its shapes and, where a spec describes it, without values: to count or draw.

    Args:
        where: name of a network; or a run folder, a file or published weights, as for `load`, whose
            network, classes and input size it then is.
        variant: of a named network, `"seed"` by default.
        classes: number of classes; 1000, or those of the weights, by default.
        size: side of the input, pixels; the network's own, or that of the weights, by default.

    Raises:
        NotFoundError: there is nothing of that name.
        InputError: the weights cannot be used, or cannot be built otherwise than they are.
    """
    name = os.fspath(where)
    if name in family.names():
        side = size or family.named_spec(name, variant or "seed").input_size
        shape = (side, side, 3) if channel_axis() == -1 else (3, side, side)
        with shapes_only():
            return create(name, variant=variant, classes=classes or 1000, input_shape=shape)
    if variant is not None:
        raise InputError(f"{name!r} has a variant of its own: leave variant={variant!r} out.")
    if catalogue.is_tag(name):
        family.require("network", name, family.names())
    try:
        card = references.read_card(where)
    except transfer.WeightsError:
        if variant or classes or size:
            raise
        return load(where)  # what Keras described has no card, and all others are refused again
    if card.spec is None:
        if classes or size:
            raise InputError(
                f"{card.network} is built as {name!r} says: its classes and size are what they are."
            )
        return load(where)
    channels, side = card.channels or 3, size or card.spec.input_size
    shape = (
        (side, side, channels) if card.data_format == "channels_last" else (channels, side, side)
    )
    with keras_settings(card.precision, card.data_format), shapes_only():
        return create(
            card.network,
            include_top=card.classes is not None or classes is not None,
            input_shape=card.input_shape
            if size is None and None not in card.input_shape
            else shape,
            classes=classes or card.classes or 1000,
            classifier_activation=card.classifier_activation,
            pooling=card.pooling,
            features=card.features if classes is None else None,
            name=card.name,
            **vars(card.spec),
        )


def list_weights(pattern: str = "*") -> list[str]:
    """Published weights that `create` can load, as `network.tag`.

    Args:
        pattern: shell pattern of the network's name, for example `"se_resnext*"`.

    Returns:
        Names such as `"se_resnet50.ra2_in1k"`: what stands behind the point goes into `weights=`.

    Example:
        >>> "se_resnet50.ra2_in1k" in list_weights()
        True
    """
    rows = catalogue.table()
    return [row.id for row in rows if fnmatch.fnmatchcase(row.network, pattern)]


def how_to_load(card: Card, file: str, names: str) -> str:
    """The lines of Python that load a file with foreign names in timm; empty where none do."""
    name = schemes.timm_name(card.network, names)
    if name is None or card.classes is None or card.spec is None:
        return ""
    if family.differences(family.named_spec(card.network), card.spec, family.STRUCTURE):
        return ""
    return (
        f"model = timm.create_model({name!r}, num_classes={card.classes})\n"
        f"model.load_state_dict(safetensors.torch.load_file({file!r}))"
    )


@contextlib.contextmanager
def keras_settings(precision: str, data_format: str = "channels_last") -> Iterator[None]:
    """Build under this dtype policy and image data format, and put the user's back.

    Args:
        precision: `"float32"`, `"mixed_bfloat16"` or another of Keras' policies.
        data_format: `"channels_last"` or `"channels_first"`.

    Raises:
        ValueError: Keras does not know one of them.
    """
    before = keras.config.dtype_policy(), keras.config.image_data_format()
    try:
        keras.config.set_dtype_policy(precision)
        keras.config.set_image_data_format(data_format)
        yield
    finally:
        keras.config.set_dtype_policy(before[0])
        keras.config.set_image_data_format(before[1])


def _inputs(tensor, shape, include_top, size):
    """The tensor that the stem reads."""
    if tensor is not None:
        if not keras.utils.is_keras_tensor(tensor):
            tensor = keras.Input(tensor=tensor)
        _check_shape(tensor.shape[1:])
        return tensor
    if shape is None:
        side = size if include_top else None
        shape = (side, side, 3) if channel_axis() == -1 else (3, side, side)
    _check_shape(shape)
    return keras.Input(tuple(shape), name="image")


def _check_shape(shape):
    axes = shape if isinstance(shape, tuple | list) else ()
    if channel_axis() == -1:
        *sides, channels = axes or (None,)
        example = "(224, 224, 3)"
    else:
        channels, *sides = axes or (None,)
        example = "(3, 224, 224)"
    numbers = all(n is None or (isinstance(n, int) and not isinstance(n, bool)) for n in axes)
    if len(sides) != 2 or not channels or not numbers:
        raise InputError(
            f"input_shape must be height, width and channels in the order of "
            f"{keras.config.image_data_format()!r}, for example {example}; got {shape}."
        )
    if any(side is not None and side < SMALLEST for side in sides):
        raise InputError(
            f"The sides of the input must be at least {SMALLEST} pixels, or None where they are "
            f"open; got input_shape={shape}. Enlarge the images first."
        )


def _feature_maps(model, spec, strides, groups):
    """The last map at each of the strides; the very last with the norm that may follow it."""

    def last(prefix, suffix=""):
        names = [layer.name for layer in model.layers]
        found = [name for name in names if name.startswith(prefix) and name.endswith(suffix)]
        return model.get_layer(found[-1]).output

    maps = {} if spec.stem == "3x3" else {2: last("stem", "relu")}
    for i, stride in enumerate(spec.strides_of_groups()[:groups]):
        maps[stride] = last(f"stage{i + 1}_")
    if groups in (None, len(spec.n_blocks)):
        maps[spec.strides_of_groups()[-1]] = model.output
    return [maps[stride] for stride in strides]


def _check_top(include_top, classes, pooling, features):
    if features is not None and pooling is not None:
        raise InputError("Feature maps are given out as they are: leave pooling at None.")
    if features is not None and (not isinstance(features, tuple | list) or not features):
        raise InputError(f"features must be a tuple of strides, as (4, 8, 16); got {features!r}.")
    if pooling not in POOLING:
        raise InputError(f'pooling must be None, "avg" or "max"; got {pooling!r}.')
    whole = hasattr(classes, "__index__") and not isinstance(classes, bool)
    if include_top and (not whole or operator.index(classes) < 1):
        raise InputError(f"classes must be a positive integer; got {classes!r}.")


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
def SEResNet18(*args, **kwargs):
    """SE-ResNet-18: basic blocks, as in the authors' release; arguments as `senet.create`."""
    return create("se_resnet18", *args, **kwargs)


@_like(create)
def SEResNet34(*args, **kwargs):
    """SE-ResNet-34: basic blocks, as in the authors' release; arguments as `senet.create`."""
    return create("se_resnet34", *args, **kwargs)


@_like(create)
def SEResNet50(*args, **kwargs):
    """SE-ResNet-50 of the paper's table 1; arguments as `senet.create`."""
    return create("se_resnet50", *args, **kwargs)


@_like(create)
def SEResNet101(*args, **kwargs):
    """SE-ResNet-101 of the paper's table 2; arguments as `senet.create`."""
    return create("se_resnet101", *args, **kwargs)


@_like(create)
def SEResNet152(*args, **kwargs):
    """SE-ResNet-152 of the paper's table 2; arguments as `senet.create`."""
    return create("se_resnet152", *args, **kwargs)


@_like(create)
def SEResNeXt50(*args, **kwargs):
    """SE-ResNeXt-50 (32x4d) of the paper's table 1; arguments as `senet.create`."""
    return create("se_resnext50_32x4d", *args, **kwargs)


@_like(create)
def SEResNeXt101(*args, **kwargs):
    """SE-ResNeXt-101 (32x4d) of the paper's table 2; arguments as `senet.create`."""
    return create("se_resnext101_32x4d", *args, **kwargs)


@_like(create)
def SEResNeXt101_32x8d(*args, **kwargs):
    """SE-ResNeXt-101 (32x8d), a width of later releases; arguments as `senet.create`."""
    return create("se_resnext101_32x8d", *args, **kwargs)


@_like(create)
def SEResNeXt101_64x4d(*args, **kwargs):
    """SE-ResNeXt-101 (64x4d), a width of later releases; arguments as `senet.create`."""
    return create("se_resnext101_64x4d", *args, **kwargs)


@_like(create)
def SEResNeXt152(*args, **kwargs):
    """SE-ResNeXt-152 (32x4d); arguments as `senet.create`."""
    return create("se_resnext152_32x4d", *args, **kwargs)


@_like(create)
def SENet154(*args, **kwargs):
    """SENet-154 of the paper's tables 8 and 9 and its appendix; arguments as `senet.create`."""
    return create("senet154", *args, **kwargs)
