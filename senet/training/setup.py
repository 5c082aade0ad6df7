"""From a recipe to the parts of a run: the only reader of the recipe in this room."""

import contextlib
import dataclasses
import functools
import pathlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from senet import applications, references
from senet.acceleration import accelerate
from senet.data.augment import Augmentation, Mixing
from senet.data.damage import BadImages
from senet.data.faults import list_faults
from senet.data.pipeline import training_batches
from senet.data.preprocessing import COLOURS, Preprocessing
from senet.data.sources import Data, load_data
from senet.data.trained_on import TrainedOn, describe_training, digest_splits
from senet.errors import InputError, NotFoundError
from senet.foreign import listed, name_class
from senet.models import family
from senet.models.family import is_held
from senet.models.spec import Spec
from senet.recipes.recipe import MODEL, Recipe
from senet.runs import events
from senet.runs.folder import BAD_IMAGES
from senet.runs.record import RunRecord
from senet.training.averaging import Average
from senet.training.distribution import Team, use_one_device
from senet.training.memory import require_step_fits
from senet.training.optimization import OptimizerSettings, Schedule, make_optimizer
from senet.training.parts import Network, Plan, ReadBatches, Run
from senet.training.state import State
from senet.training.step import GuardedStep, compile_network, weigh_classes
from senet.training.validation import Validation
from senet.weights import catalogue, imagenet
from senet.weights.catalogue import is_tag
from senet.weights.readers import WeightsError

PHOTO_CROP = 0.875
"""Part of a photograph's side that is seen in validation: 224 of 256 pixels, as in the paper."""


def require_usable(recipe: Recipe) -> None:
    """Refuse what would be noticed only after hours.

    Raises:
        ValueError: Keras is set to `channels_first`.
        ModuleNotFoundError: event files are wanted, and the library that writes them is missing.
    """
    if keras.config.image_data_format() != "channels_last":
        raise InputError(
            "Training reads images as channels_last; set image_data_format to it in keras.json or "
            "with keras.config.set_image_data_format."
        )
    if recipe.tensorboard:
        events.require_library()


def name_network(recipe: Recipe) -> Recipe:
    """The recipe with the network and the input size of the weights that it starts from.

    What the recipe says itself stays; whether it fits is seen when the network is built.

    Raises:
        NotFoundError: there are no such weights.
        InputError: the weights do not say what network they are of, or it is none of the family.
    """
    if recipe.weights is None:
        return recipe
    if recipe.model is not None and recipe.size is not None:
        return recipe
    if is_tag(recipe.weights) and not catalogue.is_known(recipe.weights):
        raise NotFoundError(
            f"There is no run folder, weights file or tag of published weights {recipe.weights!r}."
        )
    try:
        card = references.read_card(recipe.weights, recipe.model)
    except WeightsError:
        if recipe.model is None:
            raise
        return recipe  # files of arrays alone fit the network that is named, or do not
    if card.spec is None:
        raise WeightsError(
            recipe.weights,
            f"{card.network} is built as the file says, and not by a recipe. Load it with "
            "senet.load and train it with Keras.",
        )
    changes: dict[str, Any] = {}
    if recipe.model is None:
        named = family.named_spec(card.network)
        fields = [name for name in family.STRUCTURE if name not in recipe.spec]
        other = [name for name in fields if getattr(named, name) != getattr(card.spec, name)]
        own = {name: getattr(card.spec, name) for name in other}
        changes |= dict(model=card.network, spec=own | recipe.spec)
    if recipe.size is None:
        first = 0 if card.data_format == "channels_last" else 1
        side = (card.preprocessing or {}).get("size") or card.input_shape[first]
        changes["size"] = side if isinstance(side, int) and side > 1 else None
    return dataclasses.replace(recipe, **changes)


def load_images(recipe: Recipe) -> Data:
    """The images that a recipe names, split."""
    return load_data(
        recipe.data,
        recipe.seed,
        validation=recipe.validation,
        test=recipe.test,
        fraction=recipe.fraction,
        class_map=recipe.class_map,
    )


def inspect_images(recipe: Recipe, data: Data, network: Network) -> tuple[TrainedOn, list[str]]:
    """Which images the network will have been trained on, and what is wrong with them.

    Every file is read for it once. What the weights at the start were trained on counts too.
    """
    options = {name: getattr(recipe, name) for name in ("seed", "validation", "test", "fraction")}
    digests = digest_splits(data)
    trained_on = describe_training(data, options, digests)
    if recipe.weights is not None:
        trained_on = trained_on.after(_read_earlier_training(recipe.weights, network))
    return trained_on, list_faults(data, digests, trained_on)


def _read_earlier_training(weights: str, network: Network) -> TrainedOn | None:
    """What the weights at the start say of the images that they were trained on."""
    values = network.model.card.trained_on
    try:
        return None if values is None else TrainedOn.from_json(values)
    except ValueError as error:
        raise InputError(f"{weights!r} is damaged: {error}.") from error


@contextlib.contextmanager
def configure_keras(recipe: Recipe) -> Iterator[None]:
    """Seed all random numbers, and compute in the precision of the recipe while the body runs.

    Keras draws the seeds of layers where they are made: the network must be the first thing that is
    made in the body, or the same recipe would start from other weights.
    """
    with applications.keras_settings(recipe.precision):
        keras.utils.set_random_seed(recipe.seed)
        yield


def build_network(recipe: Recipe, data: Data) -> Network:
    """The network at its start; published weights bring their preprocessing."""
    size = recipe.size or recipe.built_spec().input_size
    model = applications.create(
        recipe.model or MODEL,
        weights=recipe.weights,
        classes=len(data.class_names),
        input_shape=(size, size, COLOURS),
        variant=recipe.variant,
        **recipe.spec,
    )
    _forget_other_classes(model, data)
    crop_fraction = 1.0 if data.small else PHOTO_CROP  # digits and the like fill their image
    if model.card.preprocessing is None:
        return Network(model, Preprocessing(size, crop_fraction=crop_fraction))
    published = Preprocessing.from_json(model.card.preprocessing)
    return Network(model, dataclasses.replace(published, size=size, crop_fraction=crop_fraction))


def _forget_other_classes(model: keras.Model, data: Data) -> None:
    """Let the classifier of weights for as many other classes start from random values."""
    known, given = model.card.class_names, data.class_names
    if known is None or tuple(map(name_class, known)) == tuple(map(name_class, given)):
        return
    if known == imagenet.class_names() and given == tuple(s for s, _ in imagenet.classes()):
        return
    layer = model.get_layer("classifier")
    for variable, initializer in (
        (layer.kernel, layer.kernel_initializer),
        (layer.bias, layer.bias_initializer),
    ):
        variable.assign(initializer(variable.shape, variable.dtype))
    warnings.warn(
        f"The weights know the classes {listed(known)}, and the data have "
        f"{listed(given)}: all but the classifier was loaded, which starts from random "
        "values.",
        stacklevel=2,
    )


def rebuild_network(
    recipe: Recipe, data: Data, began: RunRecord, arrays: Mapping[str, np.ndarray]
) -> Network:
    """The network of a run that began before; its weights are to come from a checkpoint.

    Args:
        recipe: of the run.
        data: of the run.
        began: its record.
        arrays: of the checkpoint.

    Raises:
        ValueError: the record tells of a network that is larger than the arrays.
    """
    spec = Spec.from_json(began.spec)
    held = len(arrays), sum(array.size for array in arrays.values())
    if not is_held(spec, COLOURS, len(data.class_names), held):
        raise InputError(
            f"The record in {str(began.folder)!r} is damaged: its spec tells of a larger network "
            "than its checkpoint holds."
        )
    model = _build_model(spec, recipe, data)
    return Network(model, began.preprocessing)


def _build_model(spec: Spec, recipe: Recipe, data: Data) -> keras.Model:
    """A network of a spec, with weights of no meaning."""
    size, classes = recipe.size or spec.input_size, len(data.class_names)
    shape = (size, size, COLOURS)
    return applications.create(
        recipe.model or MODEL, classes=classes, input_shape=shape, **vars(spec)
    )


def require_memory(recipe: Recipe, network: Network, team: Team) -> None:
    """Refuse batches that do not fit into memory, before hours of looking through images.

    Frozen layers keep nothing for gradients, and how several processes share machines is not known:
    then nothing is refused.

    Raises:
        CapacityError: they do not; the message says which do.
    """
    if not recipe.freeze and team.size == 1:
        require_step_fits(network.model, recipe.batch_size, recipe.accumulate, team.devices)


def make_run(
    recipe: Recipe,
    folder: pathlib.Path,
    data: Data,
    network: Network,
    trained_on: TrainedOn,
    team: Team,
) -> Run:
    """All parts of a run at its start.

    The order matters: layers draw seeds when they are made, and the same recipe must give the same
    ones. The copy for validation is the last to be made; nothing that is trained draws after it.

    Args:
        recipe: complete.
        folder: of the run.
        data: to train on.
        network: to train; layers that the recipe freezes are frozen.
        trained_on: which images it is trained on.
        team: the processes that share the work.

    Raises:
        ValueError: batches cannot be shared, there would be no update, or nothing to train.
    """
    model, source, classes = network.model, data.split("train"), len(data.class_names)
    steps = len(source) // recipe.batch_size
    _require_updates(recipe, steps, team)
    listed = folder / BAD_IMAGES if team.leads else None
    bad_images = BadImages(data, recipe.bad_images, listed)
    # Running statistics and random states; asked before freezing, which would add frozen weights.
    others = [v for v in model.variables if not v.trainable]
    network.freeze(recipe.freeze)
    average = Average(model, recipe.ema) if recipe.ema else None
    step = make_step(
        recipe,
        model,
        others=others,
        class_weights=weigh_classes(source.labels, classes) if recipe.class_weights else None,
        average=average,
    )
    return Run(
        folder=folder,
        team=team,
        data=data,
        network=network,
        average=average,
        scorer=_view(average.model, recipe) if average else step.model,
        optimizer=step.optimizer,
        schedule=choose_schedule(recipe, steps * recipe.epochs),
        step=step,
        read_batches=_make_reader(recipe, data, network.preprocessing, team),
        validation=_make_validation(recipe, data, network, team, bad_images),
        plan=_make_plan(recipe, network.preprocessing.size),
        trained_on=trained_on,
        state=State(steps, bad_images),
    )


def make_step(
    recipe: Recipe,
    model: keras.Model,
    *,
    others: Sequence[Any],
    class_weights: np.ndarray | None = None,
    average: Average | None = None,
) -> GuardedStep:
    """What trains a network on one batch, as the recipe says.

    Args:
        recipe: of the run.
        model: to train, by its twin unless the recipe says otherwise.
        others: variables of it that a step changes beside the weights.
        class_weights: in the loss, one for each class.
        average: of the weights.
    """
    trained = _view(model, recipe)
    optimizer = make_optimizer(choose_optimizer_settings(recipe), model)
    compile_network(trained, optimizer, recipe.label_smoothing)
    return GuardedStep(
        trained,
        optimizer,
        others=others,
        class_weights=class_weights,
        average=average,
        accumulate=recipe.accumulate,
        loss_scaling=recipe.precision == "mixed_float16",
    )


def _view(model: keras.Model, recipe: Recipe) -> keras.Model:
    """A model of the same layers that computes the same: faster, unless the recipe says otherwise.

    It is another one in either case, so that what it is compiled with is in no file of the network.
    """
    if recipe.acceleration:
        return accelerate(model)
    return keras.Model(model.input, model.output, name=model.name)


def choose_optimizer_settings(recipe: Recipe) -> OptimizerSettings:
    """What decides how the weights are updated."""
    return OptimizerSettings(
        name=recipe.optimizer,
        learning_rate=recipe.peak,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
        clip_norm=recipe.clip_norm,
        accumulate=recipe.accumulate,
        layer_decay=recipe.layer_decay,
        loss_scaling=recipe.precision == "mixed_float16",
    )


def choose_schedule(recipe: Recipe, steps: int) -> Schedule:
    """The learning rate of a run of so many steps."""
    return Schedule(
        kind=recipe.schedule,
        peak=recipe.peak,
        steps=steps,
        warmup=recipe.warmup,
        milestones=recipe.milestones,
        decay_factor=recipe.decay_factor,
        patience=recipe.patience,
    )


def _make_reader(
    recipe: Recipe, data: Data, preprocessing: Preprocessing, team: Team
) -> ReadBatches:
    """How training images become batches."""
    augmentation = Augmentation(
        recipe.crop or "centre",  # a complete recipe has a crop, and so on
        recipe.flip or 0.0,
        recipe.jitter or 0.0,
        recipe.area,
        recipe.random_augment,
        recipe.erase,
    )
    return functools.partial(
        training_batches,
        data.split("train"),
        preprocessing,
        augmentation,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        workers=recipe.workers,
        mixing=Mixing(recipe.mixup, recipe.cutmix) or None,
        part=team.part,
        n_classes=len(data.class_names),
    )


def _make_validation(
    recipe: Recipe, data: Data, network: Network, team: Team, bad_images: BadImages
) -> Validation:
    """How the network is scored; where it is spread over devices, on a copy that is not."""
    copy = None
    if team.devices > 1:
        with use_one_device():
            copy = _view(_build_model(network.model.card.spec, recipe, data), recipe)
    reading = recipe.batch_size, recipe.workers
    return Validation(data, network.preprocessing, team, bad_images, *reading, copy)


def _make_plan(recipe: Recipe, size: int) -> Plan:
    """How much is done, and what it is called."""
    return Plan(
        model=recipe.model or MODEL,
        data=recipe.data,
        size=size,
        epochs=recipe.epochs,
        batch_size=recipe.batch_size,
        workers=recipe.workers,
        save_seconds=60 * recipe.save_minutes,
        skip_steps=recipe.on_nan == "skip",
        tensorboard=recipe.tensorboard,
        peak_rule=recipe.explain_peak(),
    )


def _require_updates(recipe: Recipe, steps: int, team: Team) -> None:
    """Refuse batches that devices cannot share, and runs that would never change the network."""
    if recipe.batch_size % team.devices:
        fitting = -(-recipe.batch_size // team.devices) * team.devices
        raise InputError(
            f"Batches of {recipe.batch_size} images cannot be shared by {team.devices} devices: "
            f"choose --batch-size {fitting}."
        )
    if steps * recipe.epochs < recipe.accumulate:
        raise InputError(
            f"The run has {steps * recipe.epochs} steps and accumulate gathers "
            f"{recipe.accumulate} of them for one update: there would be none."
        )
