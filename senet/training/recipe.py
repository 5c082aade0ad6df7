"""What a training run does: one frozen record, from which flags and files are derived."""

import dataclasses
import shlex
import types
from typing import Any, Literal, Union, get_args, get_origin

from senet.models import family


def _option(default: Any, text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": text})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run does; each field is a flag of `senet train`.

    The same recipe on the same machine and versions trains the same network.

    Raises:
        ValueError: a value is outside its range; the message has the range.

    Example:
        >>> Recipe(model="se_resnext50_32x4d", data="photos/", size=96).epochs
        30
    """

    model: str = _option("se_resnet20_cifar", "network to train; `senet list` shows the names")
    variant: str = _option("seed", "published convention: seed, caffe or torch")
    data: str = _option(
        "digits", "folder or zip of images, or digits, fashion_mnist, cifar10, cifar100"
    )
    size: int | None = _option(None, "side of the input, pixels; the network's own by default")
    epochs: int = _option(30, "passes over the training images")
    batch_size: int = _option(64, "images in a step")
    learning_rate: float = _option(0.1, "at the peak, after the warm-up; SGD, momentum 0.9")
    warmup: float = _option(0.1, "share of the steps in which the learning rate rises from zero")
    weight_decay: float = _option(5e-4, "of convolution and dense kernels, not of norms and biases")
    label_smoothing: float = _option(0.1, "share of the target spread over all classes")
    crop: Literal["resized", "shift", "centre"] | None = _option(
        None, "random crop; resized for photographs and shift for named data by default"
    )
    flip: float | None = _option(
        None, "probability of a mirror image; 0.5, and 0 for digits, by default"
    )
    jitter: float | None = _option(
        None, "greatest change of brightness, contrast and colour; 0.2 for photographs by default"
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = _option(
        "float32", "of the computation; weights are float32"
    )
    seed: int = _option(0, "of initial weights, order and augmentation")

    def __post_init__(self) -> None:
        family.named_spec(self.model, self.variant)
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name} must be from {low} to {high}; got {value}.")
        for field in dataclasses.fields(self):
            kind, optional = kind_of(field)
            value = getattr(self, field.name)
            if get_origin(kind) is Literal and value not in (*get_args(kind), *[None] * optional):
                raise ValueError(f"{field.name} must be one of {', '.join(get_args(kind))}.")

    def command(self, out: str) -> str:
        """The command line that does this again, into the folder `out`."""
        words = ["senet", "train"]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != field.default:
                words += ["--" + field.name.replace("_", "-"), str(value)]
        return shlex.join([*words, "--out", out])


def kind_of(field: dataclasses.Field) -> tuple[Any, bool]:
    """Type of a field without its `None`, and whether it may be `None`."""
    if isinstance(field.type, types.UnionType) or get_origin(field.type) is Union:
        kinds = [kind for kind in get_args(field.type) if kind is not type(None)]
        return kinds[0], True
    return field.type, False


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("size", 32, 4096),
    ("epochs", 1, 100_000),
    ("batch_size", 1, 65_536),
    ("learning_rate", 0, 1000),
    ("warmup", 0, 1),
    ("weight_decay", 0, 1),
    ("label_smoothing", 0, 1),
    ("flip", 0, 1),
    ("jitter", 0, 1),
    ("seed", 0, 2**31 - 1),
)
