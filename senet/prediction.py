"""Use a trained network: load it with all it needs, score it, name what is on images."""

import csv
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NoReturn

import keras
import numpy as np
from PIL import Image

from senet import applications
from senet.data.decode import ImageError, decode
from senet.data.preprocessing import COLOURS, Preprocessing
from senet.data.readers import MAX_FILE
from senet.data.sources import Data, Source, absolute, load_data, split_data
from senet.data.trained_on import TrainedOn
from senet.deployment.exported import Exported, is_exported
from senet.errors import InputError, NotFoundError
from senet.evaluation import Evaluation, evaluate
from senet.foreign import MAX_PATH, clean_text, escape_text, listed, name_class
from senet.progress import meter
from senet.runs.folder import MODEL
from senet.runs.reading import read_data_of_run
from senet.weights import imagenet


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


@dataclasses.dataclass(frozen=True)
class LabelledImages:
    """Images to score a network on.

    Args:
        where: they are, as `load_data` takes it.
        data: that they are, split if that was wanted.
        own: whether they are those that the network was trained on, split as they were then.
        seed: that they were split with at random for this, if they were.
    """

    where: str
    data: Data
    own: bool = False
    seed: int | None = None

    def about(self, split: str) -> dict[str, Any]:
        """Where the images of a split come from, for the result of what is done with them.

        `own_split` says whether they are those of the training, split as they were then; otherwise
        `seed` is that of a split that was drawn for this. `warnings` say what was left out.
        """
        drawn = {} if self.seed is None or split == "all" else dict(seed=self.seed)
        about = dict(data=self.where, split=split, own_split=self.own)
        return about | dict(warnings=list(self.data.notes)) | drawn


@dataclasses.dataclass(frozen=True)
class Seen:
    """Which images of a split a network was trained on.

    Args:
        names: of those that are known to be; `None` where nothing is known.
        complete: whether it was trained on none of the others, as far as images can be known again.
    """

    names: frozenset[str] | None = None
    complete: bool = False


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a network says of one file.

    Args:
        file: the image.
        classes: the most probable ones, the best first, with their probabilities; empty for a file
            that could not be read.
        error: why it could not be read, or `None`.
    """

    file: str
    classes: tuple[tuple[str, float], ...] = ()
    error: str | None = None


def load_trained(path: str | os.PathLike, weights: str | None = None) -> Trained:
    """Load what `senet train` left, or a named network with published weights.

    Args:
        path: of a run folder, of an exported network's folder, or of a file saved by senet with
            its class names; with `weights` the name of a network, or the path of a file.
        weights: tag of published weights, as `"imagenet"`; those of a file are a copy of them.

    Returns:
        A `Trained`.

    Raises:
        FileNotFoundError: there is nothing at the path, or no model in the folder.
        ValueError: the file is damaged, or lacks class names or preprocessing.
    """
    path = pathlib.Path(path)
    if weights is not None and path.is_file():
        return _trained(applications.load(path, weights=weights), str(path))
    if weights is not None:
        return _trained(applications.create(str(path), weights=weights), f"{path}.{weights}")
    if not path.exists():
        known = (
            ""
            if str(path) not in applications.list_models()
            else (
                " To use the network of that name with published weights, add --weights imagenet."
            )
        )
        raise NotFoundError(f"There is no run folder or model file {str(path)!r}.{known}")
    if is_exported(path):
        exported = Exported(path)
        about = exported.manifest
        own = _preprocessing(about.preprocessing, str(path))
        names = tuple(map(escape_text, about.class_names))
        return Trained(exported, names, own, str(path), record=about.trained_on)
    file, run = path, None
    if path.is_dir():
        file = path / MODEL
        if not file.is_file():
            raise NotFoundError(
                f"{str(path)!r} holds no {MODEL}: it is not a run folder, or its training "
                "ended before the first epoch was over."
            )
        run = path
    return _trained(applications.load(file), str(file), run)


def load_in_keras(path: str | os.PathLike, weights: str | None = None) -> Trained:
    """`load_trained` for what needs the network in Keras.

    Raises:
        ValueError: the path is that of an exported network.
    """
    trained = load_trained(path, weights)
    if isinstance(trained.model, Exported):
        raise InputError(
            f"{str(path)!r} is an exported network: name the run or the .keras file it was made of."
        )
    return trained


def _trained(model: keras.Model, where: str, run: pathlib.Path | None = None) -> Trained:
    """A network with the class names and the preprocessing that its card must have."""
    card = model.card
    if card.channels != COLOURS:
        raise InputError(
            f"{where!r} takes images of {card.channels} channel{'s'[: card.channels != 1]}, and "
            f"here images are read in RGB, of {COLOURS}: use it in Python, by senet.load."
        )
    if card.class_names is None or card.preprocessing is None:
        raise InputError(
            f"{where!r} does not say its class names and preprocessing: save it with "
            "senet.save(model, path, class_names=..., preprocessing=...)."
        )
    preprocessing = _preprocessing(card.preprocessing, where)
    if card.classifier_activation is None:
        model = keras.Model(model.input, keras.layers.Softmax(dtype="float32")(model.output))
        model.card = dataclasses.replace(card, classifier_activation="softmax")
    names = tuple(map(escape_text, card.class_names))
    return Trained(model, names, preprocessing, where, run, card.trained_on)


def _preprocessing(values: dict[str, Any], where: str) -> Preprocessing:
    """The preprocessing that travels with a network."""
    try:
        return Preprocessing.from_json(values)
    except ValueError as error:
        raise InputError(f"{where!r} is damaged: {clean_text(error, MAX_PATH)}") from error


def score(
    trained: Trained,
    data: str | None = None,
    split: str | None = None,
    batch_size: int = 64,
    class_map: str | os.PathLike | None = None,
) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluate a trained network on labelled images.

    Images that it was trained on are set apart, in the `trained_on` of the evaluation, unless it is
    the training images of its own split that are asked for.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on, split the same way.
        split: `"train"`, `"validation"`, `"test"` or `"all"`. By default the one held out; of
            other data than that of the training all images, unless it has a split of its own.
        batch_size: images in a batch.
        class_map: of `load_data`; by default that of the run for its own images.

    Returns:
        The evaluation, and which images it was made on, as `LabelledImages.about` gives it; of
        training images that were asked for also how many are known to be, as `trained_on`.

    Raises:
        ValueError: no data is named, it has classes that the network does not know, the images of
            the run are not those it was trained on, or all of them were trained on.
    """
    images = labelled_images(trained, data, split, class_map)
    split = split or images.data.held_out
    source = images.data.split(split)
    about = images.about(split)
    wanted = split == "train" and images.own
    seen = recognise(trained, images, split)
    if seen.names is not None and not wanted:
        _require_unseen(len(source) - len(seen.names), images, split)
    evaluation = evaluate(
        trained.model, source, trained.preprocessing, trained.class_names, batch_size=batch_size
    )
    if seen.names is None:
        return evaluation, about
    if wanted:
        about["trained_on"] = len(seen.names.intersection(evaluation.names))
        about["trained_on_complete"] = seen.complete
        return evaluation, about
    evaluation = evaluation.set_apart(seen.names, seen.complete)
    _require_unseen(len(evaluation.labels), images, split)
    return evaluation, about


def _require_unseen(count: int, images: LabelledImages, split: str) -> None:
    """Refuse to use nothing but images that the network was trained on."""
    if not count:
        raise InputError(
            f"The network was trained on every image of {images.where!r} ({split}) that can be "
            "scored: that would not say how good it is on others. Name other images with --data."
        )


def recognise(trained: Trained, images: LabelledImages, split: str) -> Seen:
    """Which images of a split a network was trained on: by their content, and by the split.

    Args:
        trained: the network.
        images: that are split.
        split: one of them.

    Raises:
        ValueError: there is no such split, or what the network says of its training is damaged.
    """
    source, known = images.data.split(split), trained.trained_on
    if known is None or not (images.own or known.noted or len(known.digests)):
        return Seen()
    names = known.recognise_names(source)
    if images.own:
        names |= set(images.data.split("train").names).intersection(source.names)
    return Seen(frozenset(names), known.complete)


def take_held_out(
    trained: Trained, images: LabelledImages, split: str
) -> tuple[Source, dict[str, Any]]:
    """The images of a split that a network was not trained on, as far as that is known.

    Args:
        trained: the network.
        images: that are split.
        split: one of them; of the training images of its own split all are given.

    Returns:
        The images, and how many were left out, as `trained_on` (`None` where it is not known which
        were trained on) and `trained_on_complete`.

    Raises:
        ValueError: there is no such split, or no such image.
    """
    source, seen = images.data.split(split), recognise(trained, images, split)
    about = dict(
        trained_on=None if seen.names is None else len(seen.names),
        trained_on_complete=seen.complete,
    )
    if not seen.names or (split == "train" and images.own):
        return source, about
    unseen = np.array([name not in seen.names for name in source.names])
    _require_unseen(int(unseen.sum()), images, split)
    return source.take(np.flatnonzero(unseen)), about


def predict(
    trained: Trained, files: Sequence[str], *, top: int = 1, batch_size: int = 32
) -> Iterator[Prediction]:
    """Name what is on images; a file that cannot be read gives a prediction with an error.

    Args:
        trained: the network.
        files: paths of images.
        top: classes to give for each.
        batch_size: images in a batch.

    Yields:
        A `Prediction` for each file, in order.
    """
    with meter("predicting", len(files)) as progress:
        for start in range(0, len(files), batch_size):
            chunk = files[start : start + batch_size]
            yield from _predict_batch(trained, chunk, top)
            progress.advance(len(chunk))


def _predict_batch(trained: Trained, files: Sequence[str], top: int) -> Iterator[Prediction]:
    inputs, errors = [], {}
    for file in files:
        try:
            inputs.append(trained.preprocessing(_read(file)))
        except (ImageError, OSError) as error:
            errors[file] = str(error)
    rows = iter(trained.model.predict_on_batch(np.stack(inputs)) if inputs else ())
    for file in files:
        if file in errors:
            yield Prediction(file, error=errors[file])
            continue
        probabilities = next(rows)
        best = np.argsort(-probabilities, kind="stable")[:top]
        classes = tuple((trained.class_names[i], float(probabilities[i])) for i in best)
        yield Prediction(file, classes)


def _read(file: str) -> Image.Image:
    if not os.path.isfile(file):
        raise ImageError("Not a regular file.")
    if os.path.getsize(file) > MAX_FILE:
        raise ImageError(f"The file is larger than {MAX_FILE:,} bytes.")
    with open(file, "rb") as stream:
        return decode(stream.read())


def write_table(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """File, class and probability in columns, one line for each class given."""
    for prediction in predictions:
        for i, (name, probability) in enumerate(prediction.classes):
            file = escape_text(prediction.file) if i == 0 else ""
            out.write(f"{file:<40}  {probability:6.1%}  {name}\n")


def write_csv(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """CSV with the columns file, rank, class, probability."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("file", "rank", "class", "probability"))
    for prediction in predictions:
        for i, (name, probability) in enumerate(prediction.classes):
            row = escape_text(prediction.file), i + 1, name, f"{probability:.6f}"
            writer.writerow(row)


def write_jsonl(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """One JSON object a line: file and its classes with probabilities."""
    for prediction in predictions:
        if prediction.classes:
            classes = [dict(name=name, probability=p) for name, p in prediction.classes]
            line = dict(file=escape_text(prediction.file), classes=classes)
            out.write(json.dumps(line) + "\n")


WRITERS = {"table": write_table, "csv": write_csv, "jsonl": write_jsonl}
"""How predictions can be written, by the name of the format."""


def images_of(
    trained: Trained,
    data: str | None = None,
    split: str | None = None,
    class_map: str | os.PathLike | None = None,
) -> LabelledImages:
    """The images to use a network on; those that it was trained on are split as they were then.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on.
        split: the one that is wanted; `None` or `"all"` draws none from other data.
        class_map: of `load_data`; by default that of the run for its own images.

    Raises:
        ValueError: no data is named, or the images of the run have changed.
    """
    of_run = read_data_of_run(trained.run) if trained.run else None
    known, named, own_map = trained.trained_on, data is not None, class_map is None
    of_training = of_run is not None and (data is None or absolute(data) == of_run.where)
    if of_run is not None and of_training:
        data, class_map = of_run.where, class_map or of_run.class_map
    if data is None:
        raise InputError(
            "Say which images to evaluate on with --data: there is no whole record of the training "
            "data."
        )
    images = load_data(data, class_map=class_map, split=False, trained=True)
    if known is not None:
        again = _split_or_none(images, known.options)
        if again is not None and again.is_same(known.split_sha256, trained.class_names):
            return LabelledImages(data, again, own=True)
    if of_training and not (named and known is not None and known.noted):
        _refuse_changed(data, own_map, noted=known is not None and known.noted)
    if split in (None, "all"):
        return LabelledImages(data, images)
    options = known.options if known else dict(seed=0)
    parts = split_data(images, **options)
    drawn = parts.splits.keys() != images.splits.keys() and split not in {*images.splits} - {
        "train"
    }
    return LabelledImages(data, parts, seed=options["seed"] if drawn else None)


def _refuse_changed(data: str, own_map: bool, noted: bool) -> NoReturn:
    """Say why images at the place of the training images cannot be split as they were then."""
    if not own_map:
        why = "With this class map the images in {} are not split as in the training: leave it out"
    else:
        why = "The images in {} are not those of the training any more"
    if noted:
        way = "to score all that is there but what was trained on, name it with --data"
    else:
        way = (
            "and which of them were trained on was not noted, so that some could count as held "
            "out: put the images to score in a folder of their own and name it with --data"
        )
    raise InputError(f"{why.format(repr(data))}{', or ' if not own_map else '; '}{way}.")


def _split_or_none(images: Data, options: dict[str, Any]) -> Data | None:
    """The data, split; `None` where they cannot be."""
    try:
        return split_data(images, **options)
    except ValueError:
        return None


def labelled_images(
    trained: Trained,
    data: str | None = None,
    split: str | None = None,
    class_map: str | os.PathLike | None = None,
) -> LabelledImages:
    """`images_of` with labels that are indices of the network's classes, matched by name.

    The data may have some of the classes only. Those of ImageNet may be called by their WordNet
    ids.

    Raises:
        ValueError: as there, or the network does not know a class of the data.
    """
    images = images_of(trained, data, split, class_map)
    known, given = trained.class_names, images.data.class_names
    if given == known:
        return images
    names = [name_class(name) for name in known]
    numbers = {name: number for number, name in enumerate(names) if names.count(name) == 1}
    if known == imagenet.class_names():
        known = tuple(synset for synset, _ in imagenet.classes())
        numbers |= {synset: number for number, synset in enumerate(known)}
    if unknown := [name for name in given if name not in numbers]:
        raise InputError(
            f"The network knows the classes {listed(known)}; {images.where!r} has "
            f"{listed(unknown)}, which it does not know: leave them out, or rename them with a "
            "class map (--class-map)."
        )
    labels = [numbers[name] for name in given]
    return dataclasses.replace(images, data=images.data.relabel(trained.class_names, labels))
