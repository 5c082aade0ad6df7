"""What is timed: the step of a training run, and a prediction, each as this package does it."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from importlib import metadata
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np

from senet import applications, machine, references
from senet.benchmarking.limits import Work, count_work
from senet.data.pipeline import Batch
from senet.data.preprocessing import COLOURS
from senet.deployment.exported import Exported, is_exported
from senet.deployment.formats import FORMATS
from senet.deployment.manifest import Manifest
from senet.errors import CapacityError, InputError
from senet.models import family
from senet.models.complexity import complexity
from senet.models.spec import Spec
from senet.prediction.trained import TrainedLike, load_trained
from senet.recipes.recipe import MODEL, Recipe
from senet.training import setup
from senet.training.memory import require_step_fits

TRAIN, INFER = "train", "infer"
MODES = (TRAIN, INFER)
CLASSES = 1000
LEARNING_RATE = 1e-3
"""Small, so that labels without meaning do not make the loss infinite."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """Something to time.

    Args:
        network: its name.
        mode: `"train"` or `"infer"`.
        batch_size: images in a step.
        size: side of an image, pixels.
        precision: a policy of Keras, or what an exported network runs in.
        step: takes one step, and returns when it is done.
        work: what the step has to do, at least; `None` where that is not known.
        runtime: what computes, with its version, where it is not the backend of Keras.
        acceleration: whether the twin of `senet.accelerate` is trained; `None` for inference.
    """

    network: str
    mode: str
    batch_size: int
    size: int
    precision: str
    step: Callable[[], Any]
    work: Work | None
    runtime: str | None = None
    acceleration: bool | None = None

    @property
    def limiting_precision(self) -> str | None:
        """Of the matrix product that is the limit; `None` where Keras has no such product."""
        return None if self.precision == "int8" else self.precision.removeprefix("mixed_")


@contextlib.contextmanager
def training_subject(
    network: str | os.PathLike,
    *,
    batch_size: int,
    size: int | None = None,
    precision: str | None = None,
    variant: str | None = None,
    acceleration: bool = True,
) -> Iterator[Subject]:
    """The step of `senet train` on images that are in memory: forward, backward and update.

    Args:
        network: its name; or a run folder, a file or published weights, whose network it then is.
        batch_size: images in a step.
        size: side of the input, pixels; the network's own by default.
        precision: a policy of Keras, `"float32"` by default.
        variant: of a named network.
        acceleration: whether the twin is trained, as in `senet train`.

    Yields:
        A `Subject`; while the body runs Keras computes in its precision.

    Raises:
        InputError: the network cannot be trained so.
        NotFoundError: there is no such network.
        CapacityError: the step takes more memory than there is.
    """
    name = os.fspath(network)
    given: dict[str, Any] = dict(batch_size=batch_size, precision=precision or "float32")
    given |= dict(size=size, acceleration=acceleration)
    if name in family.names():
        recipe, classes = Recipe(model=name, variant=variant, **given), CLASSES
        spec = recipe.built_spec()
    else:
        if variant is not None:
            raise InputError(_describe_variant(name, variant))
        recipe = setup.name_network(Recipe(weights=name, **given))
        card = references.read_card(name)
        # name_network refuses what has no spec
        spec, classes = cast(Spec, card.spec), card.classes or CLASSES
    setup.require_usable(recipe)
    side = recipe.size or spec.input_size
    with setup.configure_keras(recipe):
        model = applications.create(
            recipe.model or MODEL, classes=classes, input_shape=(side, side, COLOURS), **vars(spec)
        )
        require_step_fits(model, batch_size, accumulate=None)
        others = [variable for variable in model.variables if not variable.trainable]
        guarded = setup.make_step(recipe, model, others=others)
        batch = _make_batch(batch_size, side, classes)

        def step() -> None:
            outcome = guarded(batch, LEARNING_RATE)
            if outcome.not_finite:
                raise InputError(
                    f"In {recipe.precision} {outcome.not_finite} of {model.name} is no finite "
                    "number, and such steps are not what training takes: choose another precision."
                )

        cost = complexity(model)
        work = count_work(cost, batch_size, _count_bytes(recipe.precision), training=True)
        yield Subject(
            network=model.name,
            mode=TRAIN,
            batch_size=batch_size,
            size=side,
            precision=recipe.precision,
            step=step,
            work=work,
            acceleration=acceleration,
        )


def _make_batch(batch_size: int, side: int, classes: int) -> Batch:
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch_size, side, side, COLOURS), "float32")
    targets = np.eye(classes, dtype="float32")[rng.integers(0, classes, batch_size)]
    return Batch(images, targets, np.arange(batch_size), np.zeros(0, "int64"))


def inference_subject(
    network: TrainedLike,
    *,
    batch_size: int,
    size: int | None = None,
    precision: str | None = None,
    variant: str | None = None,
) -> Subject:
    """What `senet predict` asks of a network: probabilities of a batch that is in memory.

    Args:
        network: whatever `senet.predict` takes, exported networks too; or the name of a network,
            whose weights are random then.
        batch_size: images in a step.
        size: side of the input of a named network, pixels; its own by default.
        precision: of a named network a policy of Keras, `"float32"` by default; of an exported one
            what it is to run in, where its format has a choice.
        variant: of a named network.

    Raises:
        InputError: size, precision or variant are not those of the network.
        NotFoundError: there is no such network.
        CapacityError: the batch takes more memory than there is.
    """
    if isinstance(network, str) and network in family.names():
        side = size or family.named_spec(network, variant or "seed").input_size
        with applications.keras_settings(precision or "float32"):
            made = applications.create(
                network, classes=CLASSES, input_shape=(side, side, COLOURS), variant=variant
            )
        return _keras_subject(made, (side, side, COLOURS), batch_size, precision or "float32")
    if variant is not None:
        raise InputError(_describe_variant(network, variant))
    if isinstance(network, str | os.PathLike) and is_exported(network):
        subject = _exported_subject(pathlib.Path(network), batch_size, precision)
    elif isinstance(network, keras.Model):
        subject = _keras_subject(network, network.input_shape[1:], batch_size)
    else:
        trained = load_trained(network)
        if isinstance(trained.model, Exported):
            subject = _exported_subject(trained.model.folder, batch_size, precision)
        else:
            side = trained.preprocessing.size
            subject = _keras_subject(trained.model, (side, side, COLOURS), batch_size)
    if precision not in (None, subject.precision) and subject.runtime is None:
        raise InputError(
            f"{subject.network} computes in {subject.precision}: export it to run it in another "
            f"precision, or leave precision={precision!r} out."
        )
    if size not in (None, subject.size):
        raise InputError(
            f"{subject.network} takes images of {subject.size} pixels, and not of {size}: leave "
            "the size out."
        )
    return subject


def _describe_variant(network: TrainedLike, variant: str) -> str:
    name = repr(os.fspath(network)) if isinstance(network, str | os.PathLike) else "The network"
    return f"{name} has a variant of its own: leave variant={variant!r} out."


def _keras_subject(
    model: keras.Model, shape: tuple[int, ...], batch_size: int, precision: str | None = None
) -> Subject:
    if len(shape) != 3 or None in shape:
        raise InputError(
            f"{model.name} takes inputs {shape}; what is timed are images of one size, "
            "(height, width, channels)."
        )
    card = getattr(model, "card", None)
    precision = precision or (card.precision if card else model.dtype_policy.name)
    width, image = _count_bytes(precision), 4 * int(np.prod(shape))
    try:
        cost = complexity(model)
    except InputError:  # of open sides, say: it runs all the same
        work = None
    else:
        largest = max(int(np.prod(layer.output_shape)) for layer in cost.layers)
        image += 2 * width * largest
        work = count_work(cost, batch_size, width, training=False)
    _require_fits(batch_size, image)
    images = np.random.default_rng(0).standard_normal((batch_size, *shape), "float32")
    return Subject(
        network=model.name,
        mode=INFER,
        batch_size=batch_size,
        size=shape[0 if keras.config.image_data_format() == "channels_last" else 1],
        precision=precision,
        step=lambda: model.predict_on_batch(images),
        work=work,
    )


def _exported_subject(folder: pathlib.Path, batch_size: int, precision: str | None) -> Subject:
    about = Manifest.read(folder)
    wanted = precision and precision.removeprefix("mixed_")
    if about.precision == "int8" and wanted:
        raise InputError(
            f"{str(folder)!r} is in int8 and stays so: leave precision={precision!r} out."
        )
    precision = wanted or about.precision
    side, width = about.preprocessing.size, _count_bytes(precision)
    cost = SimpleNamespace(**about.cost, trainable_parameters=0) if about.cost else None
    _require_fits(batch_size, 4 * side * side * COLOURS)
    exported = Exported(folder, precision=precision)
    images = np.random.default_rng(0).random((batch_size, side, side, COLOURS), "float32")
    if about.pixels:
        images *= 255
    return Subject(
        network=about.network,
        mode=INFER,
        batch_size=batch_size,
        size=side,
        precision=precision,
        step=lambda: exported.predict_on_batch(images),
        work=count_work(cost, batch_size, width, training=False) if cost else None,
        runtime=_name_runtime(FORMATS[about.format].run_by),
    )


def _name_runtime(libraries: tuple[str, ...]) -> str:
    """Libraries with their versions; one is not always installed under its own name."""
    owners = metadata.packages_distributions()
    return ", ".join(
        f"{name} {metadata.version(owners[name][0])}" if name in owners else name
        for name in libraries
    )


def _count_bytes(precision: str) -> int:
    """Bytes of a value of a map."""
    if precision == "int8":
        return 1
    return 2 if "16" in precision else 4


def _require_fits(batch_size: int, image: int) -> None:
    """Refuse batches that take more memory than there is, of so many bytes for an image."""
    needed, there = batch_size * image, machine.count_memory()
    if needed > there:
        raise CapacityError(
            f"A batch of {batch_size} images takes more than {needed / 2**30:,.0f} GiB, and there "
            f"are {there / 2**30:,.0f} GiB of memory: choose a smaller --batch-size."
        )
