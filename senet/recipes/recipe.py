"""What a training run does: one frozen record, from which flags and files are derived."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any, Literal

import tomli_w

from senet.errors import InputError
from senet.models import family
from senet.models.spec import Spec
from senet.recipes.fields import (
    NONE,
    check_value,
    kind_of,
    merge_fields,
    names_network,
    option,
    write_value,
)
from senet.recipes.presets import read_preset

MODEL = "se_resnet20_cifar"
"""The network to train where neither it nor weights that have one are named."""


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

    model: str | None = option(
        None,
        f"network to train, as `senet list` shows them; by default that of the weights, or {MODEL}",
    )
    variant: str | None = option(
        None, "published convention, seed, caffe or torch; that of the weights, or seed, by default"
    )
    weights: str | None = option(
        None, "start from a run folder, a file of weights, or published ones, as imagenet"
    )
    spec: dict = option(  # noqa: RUF009  a factory, in fact
        {}, "field of senet.Spec, as ratio=8 or stochastic_depth=0.1; repeatable"
    )
    data: str = option(
        "digits",
        "folder, zip, csv, npz, IDX or WebDataset shards, or digits, fashion_mnist, cifar10, "
        "cifar100",
    )
    class_map: str | None = option(
        None, "file that renames or merges classes, .csv or .json", free=True
    )
    validation: float = option(0.1, "share held out to validate, where the data has none", 0, 0.9)
    test: float = option(0.2, "share held out to test, where the data has no splits", 0, 0.9)
    fraction: float = option(1.0, "share of the training images that is used", 0, 1)
    size: int | None = option(
        None, "side of the input, pixels; the network's own by default", 32, 4096
    )
    crop: Literal["resized", "shift", "centre"] | None = option(
        None,
        "random crop; by default shift for small images (of a sample no side above 64 pixels) and "
        "resized for others",
    )
    area: float = option(0.3, "smallest share of the image that a resized crop shows", 0.01, 1)
    flip: float | None = option(
        None, "probability of a mirror image; 0.5, and 0 for digits, by default", 0, 1
    )
    jitter: float | None = option(
        None,
        "greatest change of brightness, contrast and colour; by default 0 for small images and "
        "0.2 for others",
        0,
        1,
    )
    random_augment: float = option(0.0, "magnitude of RandAugment, 0 (none) to 10", 0, 10)
    erase: float = option(0.0, "probability that a rectangle is erased", 0, 1)
    mixup: float = option(0.0, "alpha of mixup; 0 is none", 0, 10)
    cutmix: float = option(0.0, "alpha of cutmix; 0 is none", 0, 10)
    epochs: int = option(30, "passes over the training images", 1, 100_000)
    batch_size: int = option(64, "images in a step", 1, 65_536)
    accumulate: int = option(1, "steps whose gradients make one update", 1, 65_536)
    optimizer: str = option("sgd", "any optimizer of Keras, by name")
    momentum: float = option(0.9, "of SGD", 0, 1)
    nesterov: bool = option(True, "whether the momentum of SGD is Nesterov's")
    learning_rate: float = option(
        0.1, "at the peak, for --reference-batch images in an update", 0, 1000
    )
    reference_batch: int = option(
        64, "the learning rate is scaled by batch / this; 0 leaves it as it is", 0, 1_000_000
    )
    schedule: Literal["cosine", "step", "plateau", "constant"] = option(
        "cosine", "of the learning rate after the warm-up"
    )
    warmup: float = option(
        0.1, "share of the steps in which the learning rate rises from zero", 0, 1
    )
    milestones: tuple[float, ...] = option(
        (0.3, 0.6, 0.9), "shares of the run after which the step schedule drops", 0, 1
    )
    decay_factor: float = option(
        0.1, "by which the step and plateau schedules multiply the learning rate", 0, 1
    )
    patience: int = option(
        5, "epochs without a better validation loss after which plateau drops", 1, 100_000
    )
    weight_decay: float = option(
        5e-4,
        "of kernels, not of norms and biases; through the momentum of SGD as in Caffe and PyTorch",
        0,
        1,
    )
    clip_norm: float = option(0.0, "largest norm of all gradients together; 0 is none", 0, 1e6)
    label_smoothing: float = option(0.1, "share of the target spread over all classes", 0, 1)
    class_weights: bool = option(False, "weigh classes by the inverse of their frequency")
    ema: float = option(
        0.0, "decay of an average of the weights, which is what is saved; 0 is none", 0, 1
    )
    freeze: tuple[str, ...] = option(
        (), "layers that stay as they are, by pattern: stem*,stage1*; their norms do not train"
    )
    layer_decay: float = option(
        1.0, "factor of the learning rate for each group away from the classifier", 0, 1
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = option(
        "float32", "of the computation; weights are float32"
    )
    acceleration: bool = option(
        True,
        "train and validate on the twin of senet.accelerate, whose outputs agree within rounding",
    )
    seed: int = option(0, "of initial weights, order and augmentation", 0, 2**31 - 1)
    workers: int = option(0, "processes that read images; 0 reads in threads", 0, 256, free=True)
    bad_images: Literal["limit", "stop", "ignore"] = option(
        "limit",
        "damaged images: stop above 1 % or 10 % of a class, stop at the first, or never",
        free=True,
    )
    on_nan: Literal["stop", "skip"] = option(
        "stop",
        "what a step does whose loss or gradient is no finite number: end the run, or be passed "
        "over; it is never applied",
        free=True,
    )
    save_minutes: float = option(
        10.0, "between checkpoints within an epoch; one ends every epoch", 0.001, 1e6, free=True
    )
    tensorboard: bool = option(False, "also write TensorBoard event files", free=True)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_value(field, getattr(self, field.name))
        for name in self.spec:
            family.require(
                "field of a network's spec", name, [f.name for f in dataclasses.fields(Spec)]
            )
        if self.model is None and not names_network(self.weights):
            object.__setattr__(self, "model", MODEL)
        if self.model is not None:
            self.built_spec()  # refuses unknown networks and variants, and values of the spec
        if self.validation + self.test >= 1:
            raise InputError(
                f"validation and test take {self.validation} + {self.test} of the images, so that "
                "none are left to train on."
            )
        if not self.validation:
            raise InputError(
                "validation must be above 0: without images to validate on nobody can tell how the "
                "training goes, and which epoch was the best. 0.05 holds out one image in twenty."
            )
        for name in ("layer_decay", "fraction"):
            if not getattr(self, name):
                raise InputError(f"{name} must be above 0; got {getattr(self, name)}.")

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
        return cls.from_json(merge_fields(read_preset(name), changes))

    @property
    def peak(self) -> float:
        """Learning rate at the peak for the batch of this recipe: the linear rule.

        Reference:
            Goyal et al., arXiv 1706.02677, section 2.1.
        """
        if not self.reference_batch:
            return self.learning_rate
        return self.learning_rate * self.batch_size * self.accumulate / self.reference_batch

    def explain_peak(self) -> str | None:
        """How the peak follows from the fields; `None` where it is the learning rate itself."""
        if self.peak == self.learning_rate:
            return None
        return (
            f"learning rate {self.learning_rate:g} x {self.batch_size} x {self.accumulate} / "
            f"{self.reference_batch} = {self.peak:g}"
        )

    def built_spec(self) -> Spec:
        """The `Spec` of the network; that of weights which are not looked at yet is not known."""
        return family.named_spec(self.model or MODEL, self.variant or "seed", **self.spec)

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
            raise InputError(f"A recipe is made of fields and values; got {values!r}.")
        for name in values:
            family.require("field of a recipe", name, known)
        made: dict[str, Any] = _convert_lists(values)
        for name, value in made.items():
            if type(value) is int and kind_of(known[name])[0] is float:
                made[name] = float(value)
        if isinstance(made.get("spec"), dict):
            made["spec"] = {k: _restore_none(k, v) for k, v in _convert_lists(made["spec"]).items()}
        return cls(**made)

    def to_toml(self) -> str:
        """This record as TOML, without the fields that are `None`; those of the spec are "none"."""
        values = {k: v for k, v in self.to_json().items() if v is not None}
        spec = {k: NONE if v is None else v for k, v in self.spec.items()}
        return tomli_w.dumps(values | {"spec": spec})

    def command(self, out: str) -> str:
        """The command line that does this again, into the folder `out`."""
        words = ["senet", "train"]
        for field in dataclasses.fields(self):
            value, flag = getattr(self, field.name), "--" + field.name.replace("_", "-")
            if field.name == "spec":
                for name, part in value.items():
                    words += [flag, f"{name}={write_value(part)}"]
            elif field.name == "model":
                if value not in (None, MODEL) or (value and names_network(self.weights)):
                    words += _write_flag(flag, value)
            elif value != field.default:
                words += _write_flag(flag, value)
        return shlex.join([*words, "--out", out])


def _convert_lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same values with tuples for the lists of JSON and TOML: a frozen record holds tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def _restore_none(name: str, value: Any) -> Any:
    """`None` for "none", which TOML needs because it has no null, where a spec's field may be."""
    optional = {field.name for field in dataclasses.fields(Spec) if kind_of(field)[1]}
    return None if value == NONE and name in optional else value


def _write_flag(flag: str, value: Any) -> list[str]:
    """The words of a flag on the command line."""
    if isinstance(value, bool):
        return [flag if value else "--no-" + flag.removeprefix("--")]
    return [flag, ",".join(map(str, value)) if isinstance(value, tuple) else str(value)]
