"""Use a trained network: load it with all it needs, score it, name what is on images."""

import csv
import dataclasses
import glob
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import keras
import numpy as np
from PIL import Image

from senet import applications
from senet.data.decode import SUFFIXES, ImageError, decode
from senet.data.preprocessing import Preprocessing
from senet.data.readers import MAX_FILE
from senet.data.sources import Data, absolute, load_data
from senet.deployment.exported import Exported, is_exported
from senet.evaluation import Evaluation, evaluate
from senet.progress import meter
from senet.runs.folder import MODEL
from senet.runs.reading import read_trained_on
from senet.weights import imagenet


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with what it takes to use it on images.

    Args:
        model: gives probabilities: a Keras model, or an exported network.
        class_names: one for each class.
        preprocessing: makes inputs of images.
        run: its run folder, or `None` for a file alone.
    """

    model: keras.Model | Exported
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    run: pathlib.Path | None = None


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
        raise FileNotFoundError(f"There is no run folder or model file {str(path)!r}.{known}")
    if is_exported(path):
        exported = Exported(path)
        about = exported.manifest
        own = Preprocessing.from_json(about.preprocessing)
        return Trained(exported, about.class_names, own)
    file, run = path, None
    if path.is_dir():
        file = path / MODEL
        if not file.is_file():
            raise FileNotFoundError(
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
        raise ValueError(
            f"{str(path)!r} is an exported network: name the run or the .keras file it was made of."
        )
    return trained


def _trained(model: keras.Model, where: str, run: pathlib.Path | None = None) -> Trained:
    """A network with the class names and the preprocessing that its card must have."""
    card = model.card
    if card.class_names is None or card.preprocessing is None:
        raise ValueError(
            f"{where!r} does not say its class names and preprocessing: save it with "
            "senet.save(model, path, class_names=..., preprocessing=...)."
        )
    preprocessing = Preprocessing.from_json(card.preprocessing)
    if card.classifier_activation is None:
        model = keras.Model(model.input, keras.layers.Softmax(dtype="float32")(model.output))
        model.card = dataclasses.replace(card, classifier_activation="softmax")
    return Trained(model, card.class_names, preprocessing, run)


def score(
    trained: Trained, data: str | None = None, split: str | None = None, batch_size: int = 64
) -> tuple[Evaluation, dict[str, str]]:
    """Evaluate a trained network on labelled images.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on, split the same way.
        split: `"train"`, `"validation"`, `"test"` or `"all"`. By default the one held out; of
            other data than that of the run all images, unless it has a split of its own.
        batch_size: images in a batch.

    Returns:
        The evaluation, and which data and split it was made on.

    Raises:
        ValueError: no data is named, its classes are not those of the network, or the images of
            the run are not those it was trained on.
    """
    where, images = labelled_images(trained, data, split)
    split = split or images.held_out
    evaluation = evaluate(
        trained.model,
        images.split(split),
        trained.preprocessing,
        trained.class_names,
        batch_size=batch_size,
    )
    return evaluation, dict(data=where, split=split)


def find_images(paths: Iterable[str]) -> list[str]:
    """Files that paths, folders and shell patterns stand for, each once.

    Args:
        paths: files, folders (searched to any depth for image endings) or patterns.

    Returns:
        Paths of files, in the order given and sorted within a folder or pattern.

    Raises:
        FileNotFoundError: a path or pattern stands for nothing.
    """
    found: dict[str, None] = {}
    for path in paths:
        matches = [path] if os.path.exists(path) else sorted(glob.glob(path, recursive=True))
        files = [file for match in matches for file in _files(match)]
        if not files:
            raise FileNotFoundError(f"There is no image at {path!r}.")
        found |= dict.fromkeys(files)
    return list(found)


def _files(path: str) -> list[str]:
    """The file itself, or the images in a folder."""
    if not os.path.isdir(path):
        return [path]
    inside = sorted(str(p) for p in pathlib.Path(path).rglob("*") if p.is_file())
    return [name for name in inside if name.lower().endswith(SUFFIXES)]


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
            out.write(f"{prediction.file if i == 0 else '':<40}  {probability:6.1%}  {name}\n")


def write_csv(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """CSV with the columns file, rank, class, probability."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("file", "rank", "class", "probability"))
    for prediction in predictions:
        for i, (name, probability) in enumerate(prediction.classes):
            writer.writerow((prediction.file, i + 1, name, f"{probability:.6f}"))


def write_jsonl(predictions: Iterable[Prediction], out: IO[str]) -> None:
    """One JSON object a line: file and its classes with probabilities."""
    for prediction in predictions:
        if prediction.classes:
            classes = [dict(name=name, probability=p) for name, p in prediction.classes]
            out.write(json.dumps(dict(file=prediction.file, classes=classes)) + "\n")


WRITERS = {"table": write_table, "csv": write_csv, "jsonl": write_jsonl}
"""How predictions can be written, by the name of the format."""


def _listed(names: Sequence[str]) -> str:
    """Names in one line; the first ones of many."""
    shown = ", ".join(names[:20])
    return shown if len(names) <= 20 else f"{shown} and {len(names) - 20} more"


def images_of(
    trained: Trained, data: str | None = None, split: str | None = None
) -> tuple[str, Data]:
    """The images to use a network on; what the run was trained on is split as it was then.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on.
        split: the one that is wanted; `None` or `"all"` draws none from other data.

    Returns:
        Where the images are, and the data.

    Raises:
        ValueError: no data is named, or the images of the run have changed.
    """
    own = read_trained_on(trained.run) if trained.run else None
    if data is not None and not (own and absolute(data) == own.where):
        return data, load_data(data, split=split not in (None, "all"))
    if own is None:
        raise ValueError(
            "Say which images to evaluate on with --data: there is no record of the training data."
        )
    where = own.where
    images = load_data(where, **own.options)
    if images.digest != own.digest:
        raise ValueError(
            f"The images in {where!r} are not those of the training, so that some which were "
            "trained on could count as held out: put the images to score in a folder of their own "
            "and name it with --data."
        )
    return where, images


def labelled_images(
    trained: Trained, data: str | None = None, split: str | None = None
) -> tuple[str, Data]:
    """`images_of` of the classes that the network knows.

    Raises:
        ValueError: as there, or the classes of the data are others.
    """
    where, images = images_of(trained, data, split)
    wanted = trained.class_names
    if wanted == imagenet.class_names():  # whose folders are called by their WordNet ids
        wanted = tuple(synset for synset, _ in imagenet.classes())
    if images.class_names not in (wanted, trained.class_names):
        raise ValueError(
            f"The network knows the classes {_listed(wanted)}; {where!r} has "
            f"{_listed(images.class_names)}."
        )
    return where, images
