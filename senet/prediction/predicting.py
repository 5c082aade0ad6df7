"""Name what is on images, and write it down."""

import csv
import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

import numpy as np
from PIL import Image

from senet.data.decode import ImageError, decode
from senet.data.readers import MAX_FILE
from senet.foreign import escape_text
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
