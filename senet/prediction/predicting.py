"""Name what is on images, and write it down."""

import csv
import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np
from PIL import Image

from senet.data import sharing
from senet.data.decode import ImageError, convert_image, decode
from senet.data.limits import MAX_FILE
from senet.foreign import escape_text, read_file
from senet.prediction.trained import Trained
from senet.progress import meter


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

    @property
    def name(self) -> str | None:
        """The most probable class; `None` for a file that could not be read."""
        return self.classes[0][0] if self.classes else None

    @property
    def probability(self) -> float | None:
        """Of the most probable class, 0 to 1; `None` for a file that could not be read."""
        return self.classes[0][1] if self.classes else None


@dataclasses.dataclass(frozen=True)
class Named:
    """An image to predict.

    Args:
        name: to tell it from others: its path, where it is a file.
        image: path of a file, or an image of Pillow; `None` where there is none of that name.
    """

    name: str
    image: str | Image.Image | None


def predict_each(
    trained: Trained, images: Sequence[Named], *, top: int = 1, batch_size: int = 32
) -> Iterator[Prediction]:
    """Name what is on images; one that cannot be read gives a prediction with an error.

    Args:
        trained: the network.
        images: to predict.
        top: classes to give for each.
        batch_size: images in a batch.

    Yields:
        A `Prediction` for each image, in order.
    """
    with meter("predicting", len(images)) as progress:
        for start in range(0, len(images), batch_size):
            chunk = images[start : start + batch_size]
            yield from _predict_batch(trained, chunk, top)
            progress.advance(len(chunk))


def _predict_batch(trained: Trained, images: Sequence[Named], top: int) -> Iterator[Prediction]:
    inputs, errors = [], dict[int, str]()
    for number, one in enumerate(images):
        try:
            with sharing.holding():
                inputs.append(trained.preprocessing(_read(one.image)))
        except (ImageError, OSError) as error:
            errors[number] = str(error)
    rows = iter(trained.model.predict_on_batch(np.stack(inputs)) if inputs else ())
    for number, one in enumerate(images):
        if number in errors:
            yield Prediction(one.name, error=errors[number])
            continue
        probabilities = next(rows)
        best = np.argsort(-probabilities, kind="stable")[:top]
        classes = tuple((trained.class_names[i], float(probabilities[i])) for i in best)
        yield Prediction(one.name, classes)


def _read(image: str | Image.Image | None) -> Image.Image:
    if image is None:
        raise ImageError("There is no such file.")
    if isinstance(image, Image.Image):
        return convert_image(image)
    return decode(read_file(image, MAX_FILE))


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
