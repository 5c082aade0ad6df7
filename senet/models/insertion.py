"""Networks with squeeze and excitation behind chosen layers."""

import fnmatch
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
from keras import layers

from senet.errors import InputError
from senet.graph import (
    call_sources,
    copy_layer,
    functional,
    inbound,
    inner_models,
    rebuild,
    set_weights,
)
from senet.models.graph import find_se_blocks
from senet.models.layout import Layout

Where = str | Iterable[str] | Callable[[keras.layers.Layer], bool]
PLACES = {
    r"resnet(50|101|152)": ["conv*_block*_3_bn"],
    r"resnet(50|101|152)v2": ["conv*_block*_3_conv"],
    r"vgg(16|19)": ["block*_conv*"],
    r"mobilenet_.*": ["conv_pw_*_relu"],
    r"mobilenetv2_.*": ["expanded_conv_project_BN", "block_*_project_BN"],
    r"inception_resnet_v2": ["block35_*_conv", "block17_*_conv", "block8_*_conv"],
    r"densenet(121|169|201)": ["conv*_block*_2_conv"],
    r"efficientnet.*": ["block*_project_bn"],
    r"convnext_.*": ["*_layer_scale"],
    r"xception": [
        *(f"block{i}_sepconv2_bn" for i in (2, 3, 4, 13)),
        *(f"block{i}_sepconv3_bn" for i in range(5, 13)),
    ],
}
"""Where `insert` puts the blocks of networks of `keras.applications`, by the model's name: at the
end of each residual branch or, where there are none, of each convolution."""
FAMILY = re.compile(r"stage\d+_block\d+_add")
"""Where a residual branch of a network of this package ends, whatever the network is called."""
INITS = ("identity", "paper")
ROLES = ("squeeze", "reduce", "excite", "gate", "double", "scale")


def with_gates(
    model: keras.Model, ratio: int = 16, where: Where | None = None, init: str = "identity"
) -> keras.Model:
    """`senet.insert`, for any functional model and without what travels with it.

    Raises:
        ValueError: as for `senet.insert`.
    """
    if init not in INITS:
        raise InputError(f"init must be {' or '.join(INITS)}; got {init!r}.")
    model = functional(model)
    made = _Copying(ratio, init).copy(model, _choose(model, where))
    return keras.Model(made.input, made.output, name=f"se_{model.name}")


class _Copying:
    """Copies a model, the models inside it too, with gates behind some of the layers."""

    def __init__(self, ratio: int, init: str) -> None:
        self.ratio, self.init = ratio, init
        self.made: dict[int, Any] = {}  # a layer that two models share is one in their copies too

    def copy(
        self,
        model: keras.Model,
        paths: set[str],
        around: int | None = None,
    ) -> keras.Model:
        """The copy of a functional model.

        Args:
            model: whose weights the copy gets.
            paths: of the layers to scale behind, from this model on.
            around: the axis of the channels in the maps that it is given, where it says none.
        """
        own, inner = functional(model), inner_models(model)
        layout = Layout(own, around)
        names = set(layout.operations)

        def clone(layer):
            if id(layer) not in self.made:
                if layer.name in inner:
                    axis = layout.find_channel_axis(layout.sources[layer.name][0])
                    made = self.copy(layer, _below(layer.name, paths), axis)
                else:
                    made = copy_layer(layer)
                self.made[id(layer)] = made
            return self.made[id(layer)]

        def call(layer, *args, **kwargs):
            outputs = layer(*args, **kwargs)
            if layer.name not in paths:
                return outputs
            return self._scaled(outputs, layer.name, layout.find_channel_axis(layer.name), names)

        made = rebuild(own, clone, call)
        if not paths:  # else the gates must move, and so the layers alone say what is frozen
            made.trainable = model.trainable
        for layer in own.layers:
            if layer.name not in inner and id(layer) in self.made:
                _take_over(self.made[id(layer)], layer)
        return made

    def _scaled(self, x: Any, name: str, axis: int, taken: set[str]) -> Any:
        """The maps, scaled by a gate that starts at 1 or as the paper has it."""
        filters = _count_channels(x, name, axis)
        ratio = self.ratio
        whole = hasattr(ratio, "__index__") and not isinstance(ratio, bool)
        if not whole or not 1 <= operator.index(ratio) <= filters:
            raise InputError(
                f"ratio must be an integer from 1 to the number of channels, {filters} behind "
                f"{name!r}; got {ratio!r}."
            )
        new = {role: f"{name}_se_{role}" for role in ROLES}
        if clash := sorted(taken.intersection(new.values())):
            raise InputError(
                f"The layer behind {name!r} would be called {clash[0]!r}, as another one is "
                "already: give that one, or the layer, another name."
            )
        # A type of its own for each, for the policy of today need not be the one of the model.
        full = "float64" if x.dtype == "float64" else "float32"
        options = dict(use_bias=False, kernel_initializer="he_normal", dtype=full)
        identity = self.init == "identity"
        last = options | ({"kernel_initializer": "zeros"} if identity else {})
        z = layers.GlobalAveragePooling2D(
            "channels_first" if axis == 1 else "channels_last", dtype=full, name=new["squeeze"]
        )(x)
        width = filters // operator.index(ratio)
        z = layers.Dense(width, activation="relu", name=new["reduce"], **options)(z)
        s = layers.Dense(filters, activation="sigmoid", name=new["excite"], **last)(z)
        per_channel = (filters, 1, 1) if axis == 1 else (1, 1, filters)
        s = layers.Reshape(per_channel, dtype=full, name=new["gate"])(s)
        if identity:
            s = layers.Rescaling(2.0, dtype=full, name=new["double"])(s)
        return layers.Multiply(dtype=x.dtype, name=new["scale"])([x, s])


def _take_over(copy: Any, layer: Any) -> None:
    """Give a copy the weights of a layer, and freeze it where it is frozen."""
    if copy is layer:
        return
    if layer.weights:
        set_weights(copy, layer.get_weights())
    if copy.trainable != layer.trainable:
        copy.trainable = layer.trainable
    for own, given in zip(copy.variables, layer.variables, strict=False):
        if own.trainable and not given.trainable:  # of a layer within the layer
            own.trainable = False


def _count_channels(x: Any, name: str, axis: int) -> int:
    """Channels of maps.

    Raises:
        ValueError: it is something else.
    """
    if not keras.utils.is_keras_tensor(x):
        raise InputError(
            f"Squeeze and excitation scales what a layer gives; {name!r} gives "
            f"{len(keras.tree.flatten(x))} outputs."
        )
    if len(x.shape) != 4 or x.shape[axis] is None or not keras.backend.is_float_dtype(x.dtype):
        raise InputError(
            "Squeeze and excitation scales maps (N, H, W, C) of floating-point numbers with a "
            f"known number of channels; {name!r} gives {tuple(x.shape)} {x.dtype}."
        )
    return x.shape[axis]


def _choose(model: keras.Model, where: Where | None) -> set[str]:
    """The layers to scale behind, by name; those of models inside the model by path.

    Raises:
        ValueError: there is none, or one of them is called several times.
    """
    known = dict(_list_layers(model))
    if where is None:
        ruled, said = _apply_rule(model), f"the rule for {model.name!r}"
        if ruled is None:
            raise InputError(
                f"No rule is known for {model.name!r}: say where, as names or patterns of layers, "
                'for example senet.insert(model, where="*_bn").'
            )
        chosen = ruled
    else:
        chosen, said = _find(known, where, model.name), f"where={where!r}"
    ids = {id(known[path][0]) for path in chosen}  # in each model that has the layer
    chosen = {path for path, (layer, _) in known.items() if id(layer) in ids}
    blocks = find_se_blocks(model)
    chosen -= {name for block in blocks for name in (block.scaled, block.scale)}
    if not chosen:
        has = f" It has {len(blocks)} squeeze-and-excitation blocks already." if blocks else ""
        raise InputError(f"No layer of {model.name!r} without a gate of its own fits {said}.{has}")
    several = sorted(path for path in chosen if known[path][1] > 1)
    if several:
        raise InputError(
            f"Layers that are called more than once cannot be chosen: {', '.join(several)}."
        )
    return chosen


def _find(known: dict[str, tuple[Any, int]], where: Where, model: str) -> set[str]:
    """Paths of the layers that names, patterns or a function tell."""
    if callable(where):
        return {path for path, (layer, _) in known.items() if where(layer)}
    given = list(where) if isinstance(where, Iterable) and not isinstance(where, str) else [where]
    patterns = [pattern for pattern in given if isinstance(pattern, str)]
    if len(patterns) < len(given):
        raise InputError(
            "where must be the name of a layer, a pattern such as '*_bn', a list of them, or a "
            f"function of a layer; got {where!r}."
        )
    chosen: set[str] = set()
    for pattern in patterns:
        named = {path: path if "/" in pattern else path.rpartition("/")[2] for path in known}
        fitting = [p for p, name in named.items() if fnmatch.fnmatchcase(name, pattern)]
        if not fitting:
            raise InputError(f"No layer of {model!r} is called like {pattern!r}.")
        chosen.update(fitting)
    return chosen


def _list_layers(model: keras.Model, around: str = "") -> Iterator[tuple[str, tuple[Any, int]]]:
    """Path, layer and number of calls of each layer but inputs, in the models inside too."""
    inner = inner_models(model)
    called = Counter(name for name, _ in call_sources(model))
    for layer in functional(model).layers:
        if not isinstance(layer, layers.InputLayer):
            yield around + layer.name, (layer, called[layer.name])
        if layer.name in inner:
            yield from _list_layers(layer, f"{around}{layer.name}/")


def _apply_rule(model: keras.Model, around: str = "") -> set[str] | None:
    """Paths of the layers behind which a known network, or one inside a model, has its gates."""
    own = functional(model)
    names = [layer.name for layer in own.layers]
    sources = inbound(own)
    ends = [name for name in names if FAMILY.fullmatch(name)]
    if ends and all(len(sources[end]) == 2 for end in ends):
        gated = {f"{name.removesuffix('_se_scale')}_add" for name in names}
        return {around + _residual(own, sources, end) for end in ends if end not in gated}
    for pattern, places in PLACES.items():
        fitting = [fnmatch.filter(names, place) for place in places]
        if re.fullmatch(pattern, own.name) and all(fitting):
            # blocks of EfficientNet that have a gate of their own
            gated = {f"{n.removesuffix('_se_excite')}_project_bn" for n in names}
            return {around + n for found in fitting for n in found if n not in gated}
    inside = inner_models(own).items()
    ruled = [_apply_rule(layer, f"{around}{name}/") for name, layer in inside]
    known = [paths for paths in ruled if paths is not None]
    return set().union(*known) if known else None


def _residual(model: keras.Model, sources: dict[str, list[str]], end: str) -> str:
    """The layer that a residual branch ends with, before it may be dropped in training."""
    dropping = {layer.name for layer in model.layers if isinstance(layer, layers.Dropout)}
    name = sources[end][1]  # behind the shortcut
    while name in dropping:
        name = sources[name][0]
    return name


def _below(name: str, paths: Iterable[str]) -> set[str]:
    """Of paths those into a model, from this model on."""
    return {path.removeprefix(f"{name}/") for path in paths if path.startswith(f"{name}/")}
