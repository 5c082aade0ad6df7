"""A network with all it takes to use it, from wherever it lies."""

import dataclasses
import functools
import os
import pathlib
from typing import Any, TypeAlias

import keras

from senet import applications
from senet.data.preprocessing import COLOURS, Preprocessing
from senet.data.trained_on import TrainedOn
from senet.deployment.exported import Exported, is_exported
from senet.errors import InputError
from senet.foreign import MAX_PATH, clean_text, escape_text
from senet.references import locate_weights
from senet.runs.reading import read_data_of_run
from senet.weights.card import Card
from senet.weights.catalogue import is_tag

HOW_TO_DESCRIBE = (
    "Give them once: senet.save(model, path, class_names=..., preprocessing=...) in Python, or "
    "senet convert FILE NEW --class-names cat,dog --values 0-1 on the command line; then use that "
    "file."
)
"""What to do about a network that lacks class names or preprocessing."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with what it takes to use it on images.

    Args:
        model: gives probabilities: a Keras model, or an exported network.
        class_names: one for each class.
        preprocessing: makes inputs of images.
        where: it was loaded from, to name it to people.
        run: its run folder, or `None` for a file alone.
        record: which images it was trained on, as it travels with the network.
    """

    model: keras.Model | Exported
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    where: str = ""
    run: pathlib.Path | None = None
    record: Any = None

    @property
    def folded(self) -> tuple[str, ...]:
        """The layers that scaled in blocks whose gates were folded away."""
        folded = getattr(getattr(self.model, "card", None), "folded", None) or ()
        return tuple(map(escape_text, folded))

    @functools.cached_property
    def trained_on(self) -> TrainedOn | None:
        """Which images it was trained on; `None` where that is not known.

        It is read when it is asked for, because to use the network it is not needed.

        Raises:
            ValueError: the record is damaged.
        """
        if self.record is None:
            of_run = read_data_of_run(self.run) if self.run else None
            return of_run.trained_on if of_run else None
        try:
            return TrainedOn.from_json(self.record)
        except ValueError as error:
            raise InputError(f"{self.where!r} is damaged: {error}.") from error


TrainedLike: TypeAlias = Trained | keras.Model | str | os.PathLike
"""What `load_trained` takes as a trained network."""


def load_trained(trained: TrainedLike, weights: str | os.PathLike | None = None) -> Trained:
    """A network with all it takes to use it, however it is named.

    Args:
        trained: a run folder, or one that `senet export` wrote; a file of weights
            that says its class names and preprocessing; published weights by network and tag, as
            `"se_resnet50.imagenet"`; a network from `senet.load`; or a `Trained`, which is given
            back. With `weights` the name of a network, or a file.
        weights: tag of published weights, as `"imagenet"`; of a file those that it is a copy of; or
            the run folder or file that the named network is to be loaded from.

    Returns:
        A `Trained`.

    Raises:
        NotFoundError: there is nothing at the path, or no model in the folder.
        InputError: the file is damaged, or lacks class names or preprocessing.
    """
    if isinstance(trained, Trained | keras.Model):
        if weights is not None:
            raise InputError("weights= belongs to the name of a network, not to a loaded one.")
        return trained if isinstance(trained, Trained) else _trained(trained, trained.name)
    if not isinstance(trained, str | os.PathLike):
        raise InputError(
            "A trained network is named by a run folder, a file or published weights such as "
            f"'se_resnet50.imagenet', or is one from senet.load; got {trained!r}."
        )
    path, name = pathlib.Path(trained), os.fspath(trained)
    if weights is not None and path.is_file():
        return _trained(applications.read_network(path, weights=os.fspath(weights))[0], str(path))
    if weights is not None and is_tag(os.fspath(weights)):
        model = applications.create(name, weights=weights)
        return _trained(model, f"{name}.{weights}")
    if weights is not None:  # a run or a file of the network that is named
        model, _ = applications.read_network(weights, network=name)
        place = pathlib.Path(weights)
        return _trained(model, os.fspath(weights), place if place.is_dir() else None)
    if is_exported(path):
        exported = Exported(path)
        about = exported.manifest
        names = tuple(map(escape_text, about.class_names))
        return Trained(exported, names, about.preprocessing, str(path), record=about.trained_on)
    found = locate_weights(trained)
    run = path if path.is_dir() else None
    where = str(found) if isinstance(found, pathlib.Path) else found.id
    return _trained(applications.read_network(trained)[0], where, run)


def load_in_keras(trained: TrainedLike, weights: str | os.PathLike | None = None) -> Trained:
    """`load_trained` for what needs the network in Keras.

    Raises:
        ValueError: the path is that of an exported network.
    """
    loaded = load_trained(trained, weights)
    if isinstance(loaded.model, Exported):
        raise InputError(
            f"{loaded.where!r} is an exported network: name the run or the .keras file that it was "
            "made of."
        )
    return loaded


def _trained(model: keras.Model, where: str, run: pathlib.Path | None = None) -> Trained:
    """A network with the class names and the preprocessing that its card must have."""
    card = getattr(model, "card", None)
    if not isinstance(card, Card):
        raise InputError(
            f"{where!r} has no class names and preprocessing with it. {HOW_TO_DESCRIBE}"
        )
    card = applications.note_own_training(model, card)
    if card.channels != COLOURS:
        raise InputError(
            f"{where!r} takes images of {card.channels} channel{'s'[: card.channels != 1]}, and "
            f"here images are read in RGB, of {COLOURS}: use it in Python, by senet.load."
        )
    if card.data_format != "channels_last":
        raise InputError(
            f"{where!r} takes images with their channels first, and here they come last: put "
            "keras.layers.Permute((3, 1, 2)) in front of it, or use it in Python, by senet.load."
        )
    if card.class_names is None or card.preprocessing is None:
        raise InputError(f"{where!r} does not say its {_name_missing(card)}. {HOW_TO_DESCRIBE}")
    preprocessing = _preprocessing(card.preprocessing, where)
    if card.classifier_activation not in (None, "softmax"):
        raise InputError(
            f"{where!r} ends in {card.classifier_activation}: one class of several is named by "
            "softmax, or by logits."
        )
    if card.classifier_activation is None:
        end = keras.layers.Softmax(dtype="float32")(model.output)
        model = keras.Model(model.input, end, name=model.name)
        model.card = dataclasses.replace(card, classifier_activation="softmax")
    names = tuple(map(escape_text, card.class_names))
    return Trained(model, names, preprocessing, where, run, card.trained_on)


def _name_missing(card: Card) -> str:
    """What a card lacks of what it takes to use a network on images."""
    known = {"class names": card.class_names, "preprocessing": card.preprocessing}
    return " and ".join(what for what, value in known.items() if value is None)


def _preprocessing(values: dict[str, Any], where: str) -> Preprocessing:
    """The preprocessing that travels with a network."""
    try:
        return Preprocessing.from_json(values)
    except ValueError as error:
        raise InputError(f"{where!r} is damaged: {clean_text(error, MAX_PATH)}") from error
