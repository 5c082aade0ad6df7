"""The named networks: one frozen spec each, and the one path that builds any of them."""

import dataclasses
import difflib
import fnmatch
import itertools
from collections.abc import Collection, Iterable
from typing import Any

from senet.errors import InputError
from senet.models.spec import Spec

_101, _152 = (3, 4, 23, 3), (3, 8, 36, 3)
_D: dict[str, Any] = dict(
    strided="3x3", projection="average", stem="deep", stem_filters=(32, 32, 64)
)
_AA: dict[str, Any] = dict(antialias=True, stem_pool="average")
"""ResNet-D (He et al., arXiv 1812.01187), and what averaging against aliases adds to it in timm."""


def _resnext(cardinality: int, base_width: int, **fields: Any) -> Spec:
    shape: dict[str, Any] = dict(cardinality=cardinality, base_width=base_width, strided="3x3")
    return Spec(**shape | fields)


def _cifar(n_blocks: int, **fields: Any) -> Spec:
    """Three groups of as many blocks, at 32, 16 and 8 pixels."""
    small: dict[str, Any] = dict(
        n_blocks=(n_blocks,) * 3,
        n_filters=(16, 32, 64),
        residual="basic",
        stem="3x3",
        stem_filters=(16,),
        input_size=32,
    )
    return Spec(**small | fields)


SPECS = {
    "se_resnet10": Spec(n_blocks=(1, 1, 1, 1), residual="basic"),
    "se_resnet18": Spec(n_blocks=(2, 2, 2, 2), residual="basic"),
    "se_resnet34": Spec(residual="basic"),
    "se_resnet50": Spec(),
    "se_resnet101": Spec(n_blocks=_101),
    "se_resnet152": Spec(n_blocks=_152),
    "se_resnet152d": Spec(n_blocks=_152, **_D),
    "se_resnext26_32x4d": _resnext(32, 4, n_blocks=(2, 2, 2, 2)),
    "se_resnext26d_32x4d": _resnext(32, 4, n_blocks=(2, 2, 2, 2), **_D),
    "se_resnext26t_32x4d": _resnext(
        32, 4, n_blocks=(2, 2, 2, 2), **_D | dict(stem_filters=(24, 32, 64))
    ),
    "se_resnext50_32x4d": _resnext(32, 4),
    "se_resnext101_32x4d": _resnext(32, 4, n_blocks=_101),
    "se_resnext101_32x8d": _resnext(32, 8, n_blocks=_101),
    "se_resnext101_64x4d": _resnext(64, 4, n_blocks=_101),
    "se_resnext101d_32x8d": _resnext(32, 8, n_blocks=_101, **_D),
    "se_resnextaa101d_32x8d": _resnext(32, 8, n_blocks=_101, **_D | _AA),
    "se_resnext152_32x4d": _resnext(32, 4, n_blocks=_152),
    "se_resnextaa201d_32x8d": _resnext(
        32, 8, n_blocks=(3, 24, 36, 4), **_D | _AA | dict(stem_filters=(64, 64, 128))
    ),
    "senet154": _resnext(
        *(64, 4),
        n_blocks=_152,
        reduce_divisor=2,
        projection="3x3",
        stem="deep",
        stem_filters=(64, 64, 128),
        dropout=0.2,
    ),
    "se_resnet20_cifar": _cifar(3),
    "se_resnet56_cifar": _cifar(9),
    "se_resnet110_cifar": _cifar(18),
    "se_preresnet110_cifar": _cifar(18, preactivation=True),
    "se_preresnet164_cifar": _cifar(18, preactivation=True, residual="bottleneck", strided="3x3"),
    "se_wrn16_8_cifar": _cifar(2, preactivation=True, n_filters=(128, 256, 512)),
}
"""The squeeze-and-excitation networks. Without the `se_` each is the same network without them.

SENet-154 was published with squeeze and excitation only; without them it is `ratio=None`.
"""

VARIANTS: dict[str, dict[str, Any]] = {
    "seed": {},
    "caffe": {"se_bias": True, "stem_pool": "ceil"},
    "torch": {"se_bias": True, "strided": "3x3", "se_divisor": 8},
}
"""What the three conventions change in a spec: the seed's, the authors' Caffe release's, timm's."""


VARIED = ("se_bias", "stem_pool", "strided", "se_divisor", "last_relu")
"""Fields that published weights of one network differ in."""

LEAST_ARRAYS = 3
"""Of a block, where half of them are missing: two convolutions and a norm."""

LENIENCE = 4
"""How many times more values a network may want than there are, before it is taken for another."""

STRUCTURE = (
    *("n_blocks", "n_filters", "residual", "preactivation", "cardinality", "base_width"),
    *("reduce_divisor", "antialias", "projection", "stem", "stem_filters", "ratio"),
)
"""Fields that make one network another one."""


def names(pattern: str = "*") -> list[str]:
    """Names of the networks that match a shell pattern, those without SE last."""
    plain = [name.removeprefix("se_") for name in SPECS if name.startswith("se_")]
    every = [*SPECS, *plain]
    return [name for name in every if fnmatch.fnmatchcase(name, pattern)]


def named_spec(network: str, variant: str = "seed", **fields: Any) -> Spec:
    """The spec of a named network.

    Args:
        network: one of `names()`.
        variant: one of `VARIANTS`.
        fields: fields of the `Spec` to set otherwise, for example `ratio=8`.

    Returns:
        A `Spec`.

    Raises:
        ValueError: the network, the variant or a field is unknown; the nearest is offered.
    """
    require("network", network, names())
    require("variant", variant, VARIANTS)
    for field in fields:
        require("argument", field, [f.name for f in dataclasses.fields(Spec)])
    base = SPECS.get(network) or dataclasses.replace(SPECS[f"se_{network}"], ratio=None)
    return dataclasses.replace(base, **VARIANTS[variant] | fields)


def differences(wanted: Spec, found: Spec, fields: Iterable[str]) -> str:
    """In which of the fields two specs differ, in words; empty if in none.

    Example:
        >>> differences(Spec(), Spec(ratio=8), ["ratio", "strided"])
        'ratio 8 and not 16'
    """
    pairs = [(field, getattr(found, field), getattr(wanted, field)) for field in fields]
    return ", ".join(
        f"{field} {got!r} and not {want!r}" for field, got, want in pairs if got != want
    )


def build(
    spec: Spec,
    inputs: Any,
    *,
    classes: int | None,
    activation: str | None,
    groups: int | None = None,
) -> Any:
    """The network of a spec, layer by layer: `stem`, `learner`, `classifier`.

    Args:
        spec: what to build.
        inputs: images, `(N, H, W, channels)`.
        classes: number of classes; `None` leaves the classifier out.
        activation: of the classifier.
        groups: of the learner that are built, 0 for the stem alone; by default all.

    Returns:
        Probabilities `(N, classes)`, or the learner's feature maps without a classifier.
    """
    from senet.models import (  # here, so that the names need no backend
        se_preresnet,
        se_resnet,
        se_resnext,
    )

    kind = se_resnet if spec.cardinality == 1 else se_resnext
    kind = se_preresnet if spec.preactivation else kind
    x = kind.stem(inputs, spec=spec, name="stem")
    if groups == 0:
        return x
    spec = spec if groups is None else spec.first_groups(groups)
    x = kind.learner(x, spec.ratio, spec=spec, name="")
    if classes is None:
        return x
    return kind.classifier(x, classes, activation=activation, spec=spec, name="classifier")


def least_values(spec: Spec, channels: int, classes: int | None, groups: int | None = None) -> int:
    """Values that a network has at least: all but norms, biases and some roundings.

    It is computed of the numbers alone, so that a network that is not there can be refused before
    it is built.

    Args:
        spec: of the network.
        channels: of its images.
        classes: of its classifier; `None` without one.
        groups: of the learner that count; by default all.
    """
    widths = (channels, *spec.stem_filters)
    area = 49 if spec.stem == "7x7" else 9
    total = sum(area * a * b for a, b in itertools.pairwise(widths))
    before = widths[-1]
    shapes = list(zip(spec.n_blocks, spec.n_filters, strict=True))
    for i, (n_blocks, n_filters) in enumerate(shapes[:groups]):
        out = width = spec.expansion * n_filters
        if spec.residual == "basic":
            entry, inside = 9 * n_filters, 9 * n_filters * n_filters
        else:
            grouped = spec.cardinality > 1
            width = n_filters * spec.base_width * spec.cardinality // 64 if grouped else n_filters
            entry = width // spec.reduce_divisor
            inside = 9 * entry * width // spec.cardinality + width * out
        total += before * entry + (n_blocks - 1) * out * entry + n_blocks * inside
        strided = i > 0 and spec.output_stride is None
        if spec.residual == "bottleneck" or before != out or strided:
            total += (9 if strided and spec.projection == "3x3" else 1) * before * out
        if spec.ratio and spec.se_at is None:
            scaled = min(before, out) if spec.placement == "pre" else out
            scaled = width if spec.placement == "3x3" else scaled
            total += 2 * n_blocks * scaled * max(1, scaled // spec.ratio - spec.se_divisor)
        before = out
    return total + (classes or 0) * before


def is_held(
    spec: Spec,
    channels: int,
    classes: int | None,
    held: tuple[int, int],
    groups: int | None = None,
) -> bool:
    """Whether arrays are about enough for a network; it need not be one that could be built.

    A network that lacks some of its arrays passes, so that what it lacks can be named.

    Args:
        spec: of the network.
        channels: of its images.
        classes: of its classifier; `None` without one.
        held: how many arrays there are, and how many values in them.
        groups: of the learner that are wanted; by default all.
    """
    arrays, values = held
    if arrays < LEAST_ARRAYS * sum(spec.n_blocks[:groups]):
        return False
    return LENIENCE * values >= least_values(spec, channels, classes, groups)


def require(what: str, value: str, known: Collection[str]) -> None:
    """Refuse an unknown name and offer the nearest known one.

    Raises:
        ValueError: `value` is none of `known`; `what` says what it should name.
    """
    if value not in known:
        alike = {name.replace("_", ""): name for name in known}  # SEResNet50 and seresnet50 too
        plain = str(value).lower().replace("_", "").replace("-", "")
        near = difflib.get_close_matches(plain, alike, n=1, cutoff=0.6)
        hint = f" Did you mean {alike[near[0]]!r}?" if near else ""
        raise InputError(f"Unknown {what} {value!r}.{hint} Known: {', '.join(known)}.")


def name_variant(network: str, spec: Spec) -> str | None:
    """The first of `VARIANTS` whose convention a spec follows; `None` if it follows none.

    Example:
        >>> name_variant("se_resnet50", named_spec("se_resnet50", "torch"))
        'torch'
    """
    for variant in VARIANTS:
        named = named_spec(network, variant)
        if all(getattr(named, field) == getattr(spec, field) for field in VARIED):
            return variant
    return None
