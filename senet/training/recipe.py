"""What a training run does: one frozen record, from which flags and files are derived."""

import dataclasses
import os
import pathlib
import shlex
import tomllib
import types
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

import tomli_w

from senet.models import family
from senet.models.spec import Spec


def _option(default: Any, text: str, low: float = 0, high: float = 0, *, free: bool = False) -> Any:
    """A field with its help and its range; `free` ones may change when a run is resumed."""
    about = {"help": text, "range": (low, high) if high else None, "free": free}
    if isinstance(default, dict):
        return dataclasses.field(default_factory=dict, metadata=about)
    return dataclasses.field(default=default, metadata=about)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides what a run does; each field is a flag of `senet train`.

    The same recipe on the same machine and versions trains the same network, bit for bit on a CPU.
    `PRESETS` are recipes by name; `Recipe.preset("modern", epochs=60)` changes one.

    Raises:
        ValueError: a value is outside its range; the message has the range.

    Example:
        >>> Recipe(model="se_resnext50_32x4d", data="photos/", size=96).epochs
        30
    """

    model: str = _option("se_resnet20_cifar", "network to train; `senet list` shows the names")
    variant: str | None = _option(
        None, "published convention, seed, caffe or torch; that of the weights, or seed, by default"
    )
    weights: str | None = _option(
        None, "start from published weights, as imagenet, or from a file of weights"
    )
    spec: dict = _option(  # noqa: RUF009  a factory, in fact
        {}, "field of senet.Spec, as ratio=8 or stochastic_depth=0.1; repeatable"
    )
    data: str = _option(
        "digits",
        "folder, zip, csv, npz, IDX or WebDataset shards, or digits, fashion_mnist, cifar10, "
        "cifar100",
    )
    class_map: str | None = _option(
        None, "file that renames or merges classes, .csv or .json", free=True
    )
    validation: float = _option(0.1, "share held out to validate, where the data has none", 0, 0.9)
    test: float = _option(0.2, "share held out to test, where the data has no splits", 0, 0.9)
    fraction: float = _option(1.0, "share of the training images that is used", 0, 1)
    size: int | None = _option(
        None, "side of the input, pixels; the network's own by default", 32, 4096
    )
    crop: Literal["resized", "shift", "centre"] | None = _option(
        None, "random crop; resized for photographs and shift for small images by default"
    )
    area: float = _option(0.3, "smallest share of the image that a resized crop shows", 0.01, 1)
    flip: float | None = _option(
        None, "probability of a mirror image; 0.5, and 0 for digits, by default", 0, 1
    )
    jitter: float | None = _option(
        None, "greatest change of brightness, contrast and colour; 0.2 for photographs", 0, 1
    )
    random_augment: float = _option(0.0, "magnitude of RandAugment, 0 (none) to 10", 0, 10)
    erase: float = _option(0.0, "probability that a rectangle is erased", 0, 1)
    mixup: float = _option(0.0, "alpha of mixup; 0 is none", 0, 10)
    cutmix: float = _option(0.0, "alpha of cutmix; 0 is none", 0, 10)
    epochs: int = _option(30, "passes over the training images", 1, 100_000)
    batch_size: int = _option(64, "images in a step", 1, 65_536)
    accumulate: int = _option(1, "steps whose gradients make one update", 1, 65_536)
    optimizer: str = _option("sgd", "any optimizer of Keras, by name")
    momentum: float = _option(0.9, "of SGD", 0, 1)
    nesterov: bool = _option(True, "whether the momentum of SGD is Nesterov's")
    learning_rate: float = _option(
        0.1, "at the peak, for --reference-batch images in an update", 0, 1000
    )
    reference_batch: int = _option(
        64, "the learning rate is scaled by batch / this; 0 leaves it as it is", 0, 1_000_000
    )
    schedule: Literal["cosine", "step", "plateau", "constant"] = _option(
        "cosine", "of the learning rate after the warm-up"
    )
    warmup: float = _option(
        0.1, "share of the steps in which the learning rate rises from zero", 0, 1
    )
    milestones: tuple[float, ...] = _option(
        (0.3, 0.6, 0.9), "shares of the run after which the step schedule drops", 0, 1
    )
    decay_factor: float = _option(
        0.1, "by which the step and plateau schedules multiply the learning rate", 0, 1
    )
    patience: int = _option(
        5, "epochs without a better validation loss after which plateau drops", 1, 100_000
    )
    weight_decay: float = _option(
        5e-4,
        "of kernels, not of norms and biases; through the momentum of SGD as in Caffe and PyTorch",
        0,
        1,
    )
    clip_norm: float = _option(0.0, "largest norm of all gradients together; 0 is none", 0, 1e6)
    label_smoothing: float = _option(0.1, "share of the target spread over all classes", 0, 1)
    class_weights: bool = _option(False, "weigh classes by the inverse of their frequency")
    ema: float = _option(
        0.0, "decay of an average of the weights, which is what is saved; 0 is none", 0, 1
    )
    freeze: tuple[str, ...] = _option(
        (), "layers that stay as they are, by pattern: stem*,stage1*; their norms do not train"
    )
    layer_decay: float = _option(
        1.0, "factor of the learning rate for each group away from the classifier", 0, 1
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = _option(
        "float32", "of the computation; weights are float32"
    )
    seed: int = _option(0, "of initial weights, order and augmentation", 0, 2**31 - 1)
    workers: int = _option(0, "processes that read images; 0 reads in threads", 0, 256, free=True)
    bad_images: Literal["limit", "stop", "ignore"] = _option(
        "limit",
        "damaged images: stop above 1 % or 10 % of a class, stop at the first, or never",
        free=True,
    )
    on_nan: Literal["stop", "skip"] = _option(
        "stop", "a step whose loss or gradient is no finite number is never applied", free=True
    )
    save_minutes: float = _option(
        10.0, "between checkpoints within an epoch; one ends every epoch", 0.001, 1e6, free=True
    )
    tensorboard: bool = _option(False, "also write TensorBoard event files", free=True)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))
        for name in self.spec:
            family.require("field of senet.Spec", name, [f.name for f in dataclasses.fields(Spec)])
        family.named_spec(self.model, self.variant or "seed", **self.spec)
        if self.validation + self.test >= 1:
            raise ValueError(
                f"validation and test take {self.validation} + {self.test} of the images, so that "
                "none are left to train on."
            )
        if self.layer_decay == 0 or self.fraction == 0 or self.validation == 0:
            raise ValueError("layer_decay, fraction and validation must be above 0.")

    @classmethod
    def preset(cls, name: str, **changes: Any) -> "Recipe":
        """A recipe of `PRESETS`, changed.

        Args:
            name: of the preset.
            **changes: fields to set otherwise.

        Raises:
            ValueError: there is no such preset, or a value is outside its range.

        Example:
            >>> Recipe.preset("paper").batch_size
            1024
        """
        family.require("preset", name, PRESETS)
        return cls.from_json(merged(PRESETS[name], changes))

    @property
    def peak(self) -> float:
        """Learning rate at the peak for the batch of this recipe: the linear rule.

        Reference:
            Goyal et al., arXiv 1706.02677, section 2.1.
        """
        if not self.reference_batch:
            return self.learning_rate
        return self.learning_rate * self.batch_size * self.accumulate / self.reference_batch

    def built_spec(self) -> Spec:
        """The `Spec` of the network."""
        return family.named_spec(self.model, self.variant or "seed", **self.spec)

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `from_json` reads it back."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Recipe":
        """The record that `to_json` wrote, or part of one.

        Raises:
            ValueError: a field is unknown, or its value is not allowed.
        """
        known = {field.name: field for field in dataclasses.fields(cls)}
        if not isinstance(values, Mapping):
            raise ValueError(f"A recipe is made of fields and values; got {values!r}.")
        for name in values:
            family.require("field of a recipe", name, known)
        made: dict[str, Any] = _tuples(values)
        for name, value in made.items():
            if type(value) is int and kind_of(known[name])[0] is float:
                made[name] = float(value)
        if isinstance(made.get("spec"), dict):
            made["spec"] = {k: _absent(k, v) for k, v in _tuples(made["spec"]).items()}
        return cls(**made)

    def to_toml(self) -> str:
        """This record as TOML, without the fields that are `None`; those of the spec are "none"."""
        values = {k: v for k, v in self.to_json().items() if v is not None}
        spec = {k: "none" if v is None else v for k, v in self.spec.items()}
        return tomli_w.dumps(values | {"spec": spec})

    def command(self, out: str) -> str:
        """The command line that does this again, into the folder `out`."""
        words = ["senet", "train"]
        for field in dataclasses.fields(self):
            value, flag = getattr(self, field.name), "--" + field.name.replace("_", "-")
            if field.name == "spec":
                words += [w for k, v in value.items() for w in (flag, f"{k}={_toml(v)}")]
            elif value != field.default:
                words += _words(flag, value)
        return shlex.join([*words, "--out", out])


PRESETS: dict[str, dict[str, Any]] = {
    "quick": {},
    "paper": dict(
        **dict(model="se_resnet50", size=224),
        **dict(epochs=100, batch_size=1024, learning_rate=0.6, reference_batch=1024),
        **dict(nesterov=False, schedule="step", warmup=0.0, weight_decay=1e-4),
        **dict(label_smoothing=0.0, crop="resized", area=0.08, flip=0.5, jitter=0.0),
    ),
    "modern": dict(
        **dict(epochs=100, learning_rate=0.5, reference_batch=1024, warmup=0.05),
        **dict(weight_decay=5e-5, mixup=0.2, cutmix=1.0, random_augment=6.0, erase=0.1),
        **dict(crop="resized", area=0.08, ema=0.9998, jitter=0.0),
        spec=dict(stochastic_depth=0.05, zero_last_norm=True),
    ),
    "cifar": dict(
        **dict(model="se_preresnet110_cifar", data="cifar10"),
        **dict(epochs=164, batch_size=128, learning_rate=0.1, reference_batch=128),
        **dict(nesterov=False, schedule="step", milestones=[0.5, 0.75], warmup=0.0),
        **dict(weight_decay=1e-4, label_smoothing=0.0, crop="shift", jitter=0.0),
    ),
    "finetune": dict(
        **dict(weights="imagenet", model="se_resnet50", epochs=15, batch_size=32),
        **dict(learning_rate=0.02, reference_batch=32, layer_decay=0.7, weight_decay=1e-4),
    ),
}
"""Recipes by name: what each sets otherwise than the defaults, which are `quick`.

`paper` is section 5 (batches of 1024, learning rate 0.6, a tenth of it after every 30 of 100
epochs); its images are cropped as GoogLeNet's (8 to 100 % of the area). `cifar` is the setting of
the networks that its tables 4 and 5 compare with (He et al., arXiv 1512.03385, section 4.2: batches
of 128, 0.1, a tenth of it at a half and at three quarters of 64,000 steps). `modern` follows what
timm's best SE networks were trained with, at a learning rate of SGD. `finetune` starts from
published weights with a new classifier.
"""


def read_toml(path: str | os.PathLike) -> dict[str, Any]:
    """Fields of a recipe from a TOML file, as `to_toml` writes it.

    A field `preset` names the recipe to start from.

    Args:
        path: of the file.

    Returns:
        The fields, to be given to `Recipe.from_json`; those of the preset are filled in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no TOML, or its preset or a field is unknown.

    Example:
        >>> Recipe.from_json(read_toml("runs/pets/recipe.toml"))
    """
    try:
        values = tomllib.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no recipe {str(path)!r}.") from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{str(path)!r} cannot be read as TOML: {error}") from error
    try:
        name = str(values.pop("preset", "quick"))
        family.require("preset", name, PRESETS)
        Recipe.from_json(merged(PRESETS[name], values))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r}: {error}") from error
    return merged(PRESETS[name], values)


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a recipe and changes of them; those of the spec add to it."""
    made = {**base, **changes}
    if isinstance(base.get("spec"), Mapping) and isinstance(changes.get("spec", {}), Mapping):
        made["spec"] = {**base["spec"], **changes.get("spec", {})}
    return made


def kind_of(field: dataclasses.Field) -> tuple[Any, bool]:
    """Type of a field without its `None`, and whether it may be `None`."""
    if isinstance(field.type, types.UnionType) or get_origin(field.type) is Union:
        kinds = [kind for kind in get_args(field.type) if kind is not type(None)]
        return kinds[0], True
    return field.type, False


def value_of(text: str) -> Any:
    """A value as TOML has it; what is none is a text, so that nobody needs quotes.

    Example:
        >>> value_of("8"), value_of("pre"), value_of('["stage2"]')
        (8, 'pre', ('stage2',))
    """
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    return tuple(value) if isinstance(value, list) else value


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _absent(name: str, value: Any) -> Any:
    """`None` for the "none" that TOML needs, where a field of the spec may be `None`."""
    optional = {field.name for field in dataclasses.fields(Spec) if kind_of(field)[1]}
    return None if value == "none" and name in optional else value


def _check(field: dataclasses.Field, value: Any) -> None:
    """Refuse a value of another kind or outside its range."""
    kind, optional = kind_of(field)
    if value is None and optional:
        return
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"{field.name} must be one of {', '.join(get_args(kind))}.")
        return
    single = get_origin(kind) is not tuple
    if not single and not isinstance(value, tuple):
        raise ValueError(f"{field.name} must be a list of values; got {value!r}.")
    kind = kind if single else get_args(kind)[0]
    allowed: Any = (int, float) if kind is float else kind
    for one in [value] if single else value:
        if not isinstance(one, allowed) or (kind is not bool and isinstance(one, bool)):
            raise ValueError(f"{field.name} must be {_KINDS[kind]}; got {one!r}.")
        if bounds := field.metadata["range"]:
            low, high = bounds
            if not low <= one <= high:
                raise ValueError(f"{field.name} must be from {low} to {high}; got {one}.")


_KINDS = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    dict: "fields and their values",
}


def _words(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag.removeprefix("--")]
    return [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]


def _toml(value: Any) -> str:
    """A value as `value_of` reads it back."""
    if value is None:
        return "none"
    text = tomli_w.dumps({"value": list(value) if isinstance(value, tuple) else value})
    return " ".join(text.removeprefix("value = ").split())
