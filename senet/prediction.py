"""Use a trained network: load it with all it needs, score it, name what is on images."""

import csv
import dataclasses
import glob
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

import keras
import numpy as np
from PIL import Image

from senet import applications
from senet.data.decode import SUFFIXES, ImageError, decode
from senet.data.layouts import listed
from senet.data.preprocessing import Preprocessing
from senet.data.readers import MAX_FILE
from senet.data.sources import Data, Source, absolute, load_data, split_data
from senet.data.trained_on import TrainedOn
from senet.deployment.exported import Exported, is_exported
from senet.evaluation import Evaluation, evaluate
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
        run: its run folder, or `None` for a file alone.
        trained_on: which images it was trained on; `None` where that is not known.
    """

    model: keras.Model | Exported
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    run: pathlib.Path | None = None
    trained_on: TrainedOn | None = None


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
        return Trained(exported, about.class_names, own, None, _trained_on(about.trained_on))
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
    trained_on = _trained_on(card.trained_on)
    if trained_on is None and run is not None:
        of_run = read_data_of_run(run)
        trained_on = of_run.trained_on if of_run else None
    return Trained(model, card.class_names, preprocessing, run, trained_on)


def _trained_on(values: dict[str, Any] | None) -> TrainedOn | None:
    return None if values is None else TrainedOn.from_json(values)


def score(
    trained: Trained,
    data: str | None = None,
    split: str | None = None,
    batch_size: int = 64,
    class_map: str | os.PathLike | None = None,
) -> tuple[Evaluation, dict[str, Any]]:
    """Evaluate a trained network on labelled images.

    Images that it was trained on are set apart, in the `trained_on` of the evaluation, unless it is
    the training images that are asked for.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on, split the same way.
        split: `"train"`, `"validation"`, `"test"` or `"all"`. By default the one held out; of
            other data than that of the training all images, unless it has a split of its own.
        batch_size: images in a batch.
        class_map: of `load_data`; by default that of the run for its own images.

    Returns:
        The evaluation, and which data and split it was made on, as `data` and `split`; of training
        images that were asked for also how many are known to be, as `trained_on`.

    Raises:
        ValueError: no data is named, it has classes that the network does not know, the images of
            the run are not those it was trained on, or all of them were trained on.
    """
    where, images = labelled_images(trained, data, split, class_map)
    split = split or images.held_out
    source = images.split(split)
    about: dict[str, Any] = dict(data=where, split=split)
    seen = trained.trained_on.recognise_names(source) if trained.trained_on else None
    if seen is not None and split != "train":
        _require_unseen(len(source) - len(seen), about)
    evaluation = evaluate(
        trained.model, source, trained.preprocessing, trained.class_names, batch_size=batch_size
    )
    if seen is not None and split != "train":
        evaluation = evaluation.set_apart(seen)
        _require_unseen(len(evaluation.labels), about)
    elif seen is not None:
        about["trained_on"] = len(seen.intersection(evaluation.names))
    return evaluation, about


def _require_unseen(images: int, about: dict[str, Any]) -> None:
    """Refuse to score a network on nothing but images that it was trained on."""
    if not images:
        raise ValueError(
            f"The network was trained on every image of {about['data']!r} ({about['split']}) that "
            "can be scored: that would not say how good it is on others. Name other images with "
            "--data; --split train scores training images."
        )


def take_held_out(trained: Trained, images: Data, split: str) -> Source:
    """The images of a split that a network was not trained on, as far as that is known.

    Raises:
        ValueError: there is no such split, or no such image.
    """
    source = images.split(split)
    seen = trained.trained_on.recognise(source) if trained.trained_on else None
    if seen is None or not seen.any():
        return source
    if seen.all():
        raise ValueError(
            f"The network was trained on all {len(source)} {split} images: name other ones with "
            "--data."
        )
    return source.take(np.flatnonzero(~seen))


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


def images_of(
    trained: Trained,
    data: str | None = None,
    split: str | None = None,
    class_map: str | os.PathLike | None = None,
) -> tuple[str, Data]:
    """The images to use a network on; those that it was trained on are split as they were then.

    Args:
        trained: the network.
        data: what `load_data` takes; by default what the run was trained on.
        split: the one that is wanted; `None` or `"all"` draws none from other data.
        class_map: of `load_data`; by default that of the run for its own images.

    Returns:
        Where the images are, and the data.

    Raises:
        ValueError: no data is named, or the images of the run have changed.
    """
    of_run = read_data_of_run(trained.run) if trained.run else None
    own = False
    if of_run is not None and (data is None or absolute(data) == of_run.where):
        own, data, class_map = True, of_run.where, class_map or of_run.class_map
    if data is None:
        raise ValueError(
            "Say which images to evaluate on with --data: there is no record of the training data."
        )
    images = load_data(data, class_map=class_map, split=False, trained=True)
    before = trained.trained_on
    if before is not None:
        again = _split_or_none(images, before.options)
        if again is not None and again.digest == before.split_sha256:
            return data, again
    if own:
        raise ValueError(
            f"The images in {data!r} are not those of the training, so that some which were "
            "trained on could count as held out: put the images to score in a folder of their own "
            "and name it with --data."
        )
    if split in (None, "all"):
        return data, images
    return data, split_data(images, **(before.options if before else {}))


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
) -> tuple[str, Data]:
    """`images_of` with labels that are indices of the network's classes, matched by name.

    The data may have some of the classes only. Those of ImageNet may be called by their WordNet
    ids.

    Raises:
        ValueError: as there, or the network does not know a class of the data.
    """
    where, images = images_of(trained, data, split, class_map)
    known = trained.class_names
    if images.class_names == known:
        return where, images
    numbers = {name: number for number, name in enumerate(known) if known.count(name) == 1}
    if known == imagenet.class_names():
        known = tuple(synset for synset, _ in imagenet.classes())
        numbers |= {synset: number for number, synset in enumerate(known)}
    if unknown := [name for name in images.class_names if name not in numbers]:
        raise ValueError(
            f"The network knows the classes {listed(known)}; {where!r} has {listed(unknown)}, "
            "which it does not know: leave them out, or rename them with a class map."
        )
    return where, images.relabel(
        trained.class_names, [numbers[name] for name in images.class_names]
    )
