"""Names and layouts of published weights, and ours: one table for each scheme.

A scheme says what a layer of ours is called in its files, how the kernels lie, and what its
networks do that no array can tell (`fields`). `describe` reads a network's `Spec` off the shapes
of a file; `slots` lists, for a model of ours, every array that the file must hold.
"""

import collections
import dataclasses
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from senet.errors import InputError
from senet.models import family
from senet.models.spec import Spec

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How one project names the arrays of these networks.

    Args:
        name: what users call it.
        marker: pattern of a name that only this scheme has.
        entry: our layer names outside the groups -> theirs.
        excitation: our two layers of the excitation -> theirs, inside a block.
        linear: whether the excitation is stored as matrices; else as 1x1 convolutions.
        fields: of a `Spec`, for every network of the scheme: what arrays do not show.
        basic_fields: the same, for networks of basic blocks.
    """

    name: str
    marker: str
    entry: dict[str, str]
    excitation: dict[str, str]
    linear: bool = False
    fields: dict[str, Any] = dataclasses.field(default_factory=dict)
    basic_fields: dict[str, Any] = dataclasses.field(default_factory=dict)


BLOCK = {
    **{"reduce_conv": "conv1", "reduce_bn": "bn1", "3x3_conv": "conv2", "3x3_bn": "bn2"},
    **{"expand_conv": "conv3", "expand_bn": "bn3"},
    **{"first_3x3_conv": "conv1", "first_3x3_bn": "bn1"},
    **{"second_3x3_conv": "conv2", "second_3x3_bn": "bn2"},
    **{"projection_conv": "downsample.0", "projection_bn": "downsample.1"},
}
"""Layers of a block, the same in every scheme."""

POOLED_PROJECTION = {"projection_conv": "downsample.1", "projection_bn": "downsample.2"}
"""The same of a shortcut that begins with average pooling, whether its block is strided or not."""

VARIABLES = {
    **{"kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias"},
    **{"moving_mean": "running_mean", "moving_variance": "running_var"},
}

_SIMPLE = {"stem_conv": "conv1", "stem_bn": "bn1", "classifier": "fc"}
_DEEP = {
    **{"stem_conv1_conv": "conv1.0", "stem_conv1_bn": "conv1.1", "stem_conv2_conv": "conv1.3"},
    **{"stem_conv2_bn": "conv1.4", "stem_conv3_conv": "conv1.6", "stem_conv3_bn": "bn1"},
}
_CAFFE = {
    **{"stem_conv": "layer0.conv1", "stem_bn": "layer0.bn1", "classifier": "last_linear"},
    **{f"stem_conv{i}_conv": f"layer0.conv{i}" for i in (1, 2, 3)},
    **{f"stem_conv{i}_bn": f"layer0.bn{i}" for i in (1, 2, 3)},
}

SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme(
            "caffe",
            marker=r"layer0\.conv1\.weight",
            entry=_CAFFE,
            excitation={"se_reduce": "se_module.fc1", "se_excite": "se_module.fc2"},
            fields=family.VARIANTS["caffe"],
            basic_fields=dict(last_relu=True),
        ),
        Scheme(
            "moskomule",
            marker=r"layer1\.0\.se\.fc\.0\.weight",
            entry=_SIMPLE,
            excitation={"se_reduce": "se.fc.0", "se_excite": "se.fc.2"},
            linear=True,
            fields=dict(strided="3x3"),
        ),
        Scheme(
            "timm",
            marker=r"conv1(\.0)?\.weight",
            entry=_SIMPLE | _DEEP,
            excitation={"se_reduce": "se.fc1", "se_excite": "se.fc2"},
            fields=family.VARIANTS["torch"],
        ),
    )
}
"""By name. `caffe` is the authors' release as ported by Cadene: pretrainedmodels, timm's
`legacy_*` and segmentation_models.pytorch; `timm` is that of its ResNet and of torchvision."""


@dataclasses.dataclass(frozen=True)
class Slot:
    """One array of a file and the variable that it belongs to.

    Args:
        name: of the array in the file.
        shape: that it must have there.
        variable: of our model; `None` for zeros that the scheme wants and our network has not.
        layer: name of our layer.
        foreign: whether the axes have PyTorch's order there.
    """

    name: str
    shape: Shape
    variable: Any
    layer: str
    foreign: bool = True

    def to_ours(self, array: np.ndarray) -> np.ndarray:
        """The values as the variable has them."""
        if not self.foreign:
            return array
        if array.ndim == 4 and len(self.variable.shape) == 2:
            array = array[:, :, 0, 0]
        return _copied(array.transpose(_ORDER[array.ndim]))

    def to_theirs(self) -> np.ndarray:
        """The values of the variable as the file has them."""
        if self.variable is None:
            return np.zeros(self.shape, "float32")
        array = keras.ops.convert_to_numpy(self.variable)
        if self.foreign:
            array = array.transpose(np.argsort(_ORDER[array.ndim])).reshape(self.shape)
        return np.ascontiguousarray(array)


def _copied(turned: np.ndarray, strip: int = 8) -> np.ndarray:
    """A transposed array in C order; strip by strip, which caches like twice as well."""
    if turned.flags.c_contiguous:
        return turned
    copy = np.empty(turned.shape, turned.dtype)
    for start in range(0, turned.shape[-1], strip):
        copy[..., start : start + strip] = turned[..., start : start + strip]
    return copy


_RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
_RESNEXTS = ("resnext50_32x4d", "resnext101_32x4d", "resnext101_32x8d", "resnext101_64x4d")
EXPECTED = (
    "none of its names follows a scheme that senet knows: expected, behind any prefix, "
    "layer1.0.conv1.weight beside conv1.weight (timm, torchvision, moskomule) or beside "
    "layer0.conv1.weight (Caffe origin)."
)
"""Why a file without such names is refused."""

IN_TIMM = {
    "timm": (
        *(*_RESNETS, *_RESNEXTS, "resnet152d", "senet154"),
        *(f"se_{name}" for name in (*_RESNETS, *_RESNEXTS)),
        *("se_resnet152d", "se_resnext26d_32x4d", "se_resnext26t_32x4d", "se_resnext101d_32x8d"),
        *("se_resnextaa101d_32x8d", "se_resnextaa201d_32x8d"),
    ),
    "caffe": (
        *(f"se_{name}" for name in (*_RESNETS, "resnext26_32x4d", *_RESNEXTS[:2])),
        "senet154",
    ),
}
"""Networks that timm 1.0.31 builds too, by the scheme of their names."""


def timm_name(network: str, scheme: str) -> str | None:
    """What timm calls a network whose arrays have the names of a scheme; `None` if it has it not.

    Example:
        >>> timm_name("se_resnet50", "caffe")
        'legacy_seresnet50'
    """
    if network not in IN_TIMM.get(scheme, ()):
        return None
    name = network.replace("se_res", "seres")
    return f"legacy_{name}" if scheme == "caffe" else name


_ORDER = {0: (), 1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
"""From PyTorch's order of axes to Keras': out, in, H, W to H, W, in, out."""


def recognise(names: Mapping[str, Any]) -> Scheme | None:
    """The scheme that the names of a file follow, or `None`."""
    for scheme in SCHEMES.values():
        if "layer1.0.conv1.weight" in names and any(re.fullmatch(scheme.marker, n) for n in names):
            return scheme
    return None


def belongs(name: str) -> bool:
    """Whether an array is of the stem or the learner, so that a network without it is another."""
    top = name.partition(".")[0]
    return bool(re.fullmatch(r"layer\d+|conv\d*|bn\d*", top))


def find_classifier(shapes: Shapes, scheme: Scheme, width: int) -> dict[str, str]:
    """A classifier that lies in a module, as behind dropout: our scheme's names -> those there.

    Args:
        shapes: of every array of the network, by its name.
        scheme: of the names.
        width: channels that a classifier reads.

    Returns:
        Two names, or none: where the classifier has its own name, is of several layers or of
        another width.
    """
    own = scheme.entry["classifier"]
    inside = {name for name in shapes if name.startswith(f"{own}.")}
    for name in inside:
        module, _, last = name.rpartition(".")
        shape = shapes[name]
        if last == "weight" and module != own and len(shape) == 2 and shape[1] == width:
            bias = f"{module}.bias"
            if inside == {name, bias} and shapes[bias] == shape[:1]:
                return {f"{own}.weight": name, f"{own}.bias": bias}
    return {}


def slots(model: Any, scheme: Scheme, spec: Spec) -> Iterator[Slot]:
    """Every array that a file of the scheme holds for a model of ours.

    Args:
        model: a Keras model built from `spec`.
        scheme: whose names to use.
        spec: of the model.

    Yields:
        A `Slot` for each variable, in the order of the layers; where the scheme has biases in the
        excitation and the model has none, slots without variable.
    """
    for layer in model.layers:
        for variable in layer.weights:
            name = f"{_theirs(scheme, spec, layer.name)}.{VARIABLES[variable.name]}"
            yield Slot(name, _their_shape(scheme, layer.name, variable), variable, layer.name)
        excitation = layer.name.endswith(("_se_reduce", "_se_excite"))
        if excitation and not layer.use_bias and scheme.fields.get("se_bias"):
            name = f"{_theirs(scheme, spec, layer.name)}.bias"
            yield Slot(name, (layer.kernel.shape[-1],), None, layer.name)


def own_slots(model: Any, hdf5: bool = False, inside: str = "") -> Iterator[Slot]:
    """Every array of a model under our own names, or under those that Keras gives them in HDF5.

    Args:
        model: a Keras model.
        hdf5: whether to number the layers of each class, as in `.weights.h5` and `.keras` files.
        inside: where in an HDF5 file the model is, if it is a layer of another.

    Yields:
        A `Slot` for each variable, in the order of the layers.
    """
    met: collections.Counter[str] = collections.Counter()
    for layer in model.layers:
        kind = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(layer).__name__).lower()
        number, met[kind] = met[kind], met[kind] + 1
        folder = f"{inside}layers/{kind}_{number}" if number else f"{inside}layers/{kind}"
        if hdf5 and hasattr(layer, "layers"):
            yield from own_slots(layer, hdf5, f"{folder}/")
            continue
        for i, variable in enumerate(layer.weights):
            name = f"{folder}/vars/{i}" if hdf5 else f"{layer.name}.{variable.name}"
            yield Slot(name, tuple(variable.shape), variable, layer.name, foreign=False)


def _theirs(scheme: Scheme, spec: Spec, layer: str) -> str:
    """Their name of one of our layers."""
    match = re.fullmatch(r"stage(\d+)_block(\d+)_(.+)", layer)
    if not match:
        return scheme.entry[layer]
    parts = BLOCK | scheme.excitation
    if spec.projection == "average":
        parts |= POOLED_PROJECTION
    return f"layer{match[1]}.{int(match[2]) - 1}.{parts[match[3]]}"


def _their_shape(scheme: Scheme, layer: str, variable: Any) -> Shape:
    shape = tuple(variable.shape)
    if len(shape) == 4:
        return shape[3], shape[2], shape[0], shape[1]
    if len(shape) == 2:
        matrix = layer == "classifier" or scheme.linear
        return shape[::-1] if matrix else (*shape[::-1], 1, 1)
    return shape


def describe(
    shapes: Shapes,
    network: str | None = None,
    held: tuple[int, int] | None = None,
    unread: Mapping[str, str] | None = None,
) -> tuple[Scheme, str, Spec, int | None, int]:
    """What network a file of foreign names holds.

    Args:
        shapes: of every array, by its name.
        network: that it is expected to be; decides between networks of the same shapes.
        held: how many arrays and values there are; by default as many as the shapes say.
        unread: why arrays cannot be read, by their names.

    Returns:
        The scheme, the name of the network or of the one it derives from, its `Spec`, the number
        of classes (`None` without classifier), and the number of channels of its images.

    Raises:
        ValueError: no scheme fits the names, or no network of the family the shapes.
    """
    unread = unread or {}
    scheme = recognise({**shapes, **unread})
    if scheme is None:
        raise InputError(EXPECTED)
    found = _Reading(shapes, scheme, unread)
    told = found.fields()
    fits = [name for name in family.names() if _is(name, told)]
    name = network if network in fits else fits[0] if fits else None
    base = family.named_spec(name) if name else Spec(**told)
    basic = told["residual"] == "basic"
    assumed = scheme.fields | (scheme.basic_fields if basic else {})
    if told["cardinality"] > 1:
        assumed = assumed | dict(strided="3x3")
    spec = dataclasses.replace(base, **assumed | told)
    classes, channels = found.classes(), found.channels()
    held = held or (len(shapes), sum(map(math.prod, shapes.values())))
    if not family.is_held(spec, channels, classes, held):
        raise InputError(
            "most arrays of such a network are missing, or the widths of its layers do not belong "
            "together."
        )
    return scheme, name or _nearest(spec), spec, classes, channels


def _is(name: str, told: dict[str, Any]) -> bool:
    """Whether a named network has the shapes that were told."""
    base = family.named_spec(name)
    skip = ("se_bias", "ratio")
    same = all(getattr(base, field) == told[field] for field in told if field not in skip)
    return same and (base.ratio is None) == (told["ratio"] is None)


def _nearest(spec: Spec) -> str:
    """The named network that an unnamed one derives from."""
    name = "se_resnext50_32x4d" if spec.cardinality > 1 else "se_resnet50"
    name = "se_resnet18" if spec.residual == "basic" else name
    return name if spec.ratio else name.removeprefix("se_")


class _Reading:
    """Reads the fields of a `Spec` off the shapes of a file."""

    def __init__(self, shapes: Shapes, scheme: Scheme, unread: Mapping[str, str]) -> None:
        self.shapes, self.scheme, self.unread = shapes, scheme, unread

    def shape(self, name: str) -> Shape:
        """Shape of an array that every such network has."""
        if name in self.unread:
            raise InputError(f"its array {name} cannot be read: {self.unread[name]}")
        if name not in self.shapes:
            raise InputError(f"it has no array {name}, which every network of this family has.")
        if not all(self.shapes[name]):
            raise InputError(f"its array {name} is empty.")
        return self.shapes[name]

    def kernel(self, name: str) -> Shape:
        """Shape of a convolution's kernel: out, in, H, W."""
        shape = self.shape(f"{name}.weight")
        if len(shape) != 4:
            raise InputError(f"{name}.weight should be a convolution, but its shape is {shape}.")
        return shape

    def fields(self) -> dict[str, Any]:
        """What the shapes tell."""
        n_blocks = self._n_blocks()
        stages = range(1, len(n_blocks) + 1)
        basic = "layer1.0.conv3.weight" not in self.shapes
        last = "conv2" if basic else "conv3"
        n_filters = tuple(self.kernel(f"layer{i}.0.{last}")[0] for i in stages)
        told: dict[str, Any] = dict(
            n_blocks=n_blocks,
            residual="basic" if basic else "bottleneck",
            n_filters=n_filters if basic else tuple(n // 4 for n in n_filters),
            cardinality=1,
            **self._stem(),
            **self._projection(len(n_blocks)),
            **self._squeeze(len(n_blocks)),
        )
        return told if basic else told | self._widths(told["n_filters"][0])

    def classes(self) -> int | None:
        """Rows of the classifier."""
        name = f"{self.scheme.entry['classifier']}.weight"
        if name not in self.shapes:
            return None
        if not self.shapes[name]:
            raise InputError(f"{name} should be a matrix, but is one number.")
        return self.shape(name)[0]

    def _n_blocks(self) -> tuple[int, ...]:
        found: dict[int, set[int]] = {}
        for name in self.shapes:
            if match := re.match(r"layer(\d{1,3})\.(\d{1,4})\.", name):
                found.setdefault(int(match[1]), set()).add(int(match[2]))
        found.pop(0, None)
        if sorted(found) != list(range(1, len(found) + 1)):
            raise InputError(f"its layers are numbered {sorted(found)}; expected 1, 2, 3, 4.")
        return tuple(len(found[i]) for i in sorted(found))

    def _stem(self) -> dict[str, Any]:
        entry = self.scheme.entry
        if "stem_conv2_conv" in entry and f"{entry['stem_conv2_conv']}.weight" in self.shapes:
            kernels = [self.kernel(entry[f"stem_conv{i}_conv"]) for i in (1, 2, 3)]
            return dict(stem="deep", stem_filters=tuple(kernel[0] for kernel in kernels))
        kernel = self.kernel(entry["stem_conv"])
        return dict(stem="7x7" if kernel[2] == 7 else "3x3", stem_filters=(kernel[0],))

    def channels(self) -> int:
        """Channels of the images."""
        first = "stem_conv1_conv" if self._stem()["stem"] == "deep" else "stem_conv"
        return self.kernel(self.scheme.entry[first])[1]

    def _projection(self, groups: int) -> dict[str, Any]:
        for i in range(2, groups + 1):
            if len(self.shapes.get(f"layer{i}.0.downsample.1.weight", ())) == 4:
                return dict(projection="average")
            kernel = self.kernel(f"layer{i}.0.downsample.0")
            return dict(projection="3x3" if kernel[2] == 3 else "1x1")
        return {}

    def _squeeze(self, groups: int) -> dict[str, Any]:
        reduce = f"layer{groups}.0.{self.scheme.excitation['se_reduce']}"
        if not {f"{reduce}.weight"} & {*self.shapes, *self.unread}:
            return dict(ratio=None)
        shape = self.shape(f"{reduce}.weight")
        if len(shape) < 2:
            raise InputError(f"{reduce}.weight should be a matrix, but its shape is {shape}.")
        width, channels = shape[:2]
        return dict(ratio=max(1, round(channels / width)), se_bias=f"{reduce}.bias" in self.shapes)

    def _widths(self, n_filters: int) -> dict[str, Any]:
        reduce, grouped = self.kernel("layer1.0.conv1")[0], self.kernel("layer1.0.conv2")
        cardinality, width = reduce // grouped[1], grouped[0]
        if not cardinality or not n_filters:
            raise InputError("the widths of its layers do not belong together.")
        return dict(
            cardinality=cardinality,
            base_width=64 * width // (cardinality * n_filters),
            reduce_divisor=max(1, width // reduce),
        )
