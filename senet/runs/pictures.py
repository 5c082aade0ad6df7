"""The pictures of a run: curves, confusion, calibration, predictions, training images."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from senet.data.decode import ImageError
from senet.data.pipeline import Batch
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation
from senet.plotting.curves import draw_curves
from senet.plotting.images import Tile, draw_grid
from senet.plotting.scores import draw_calibration, draw_confusion
from senet.plotting.style import both, shorten
from senet.runs.folder import CALIBRATION, CONFUSION, CURVES, PREDICTIONS, SAMPLES

PREDICTIONS_SHOWN = 24
"""Held-out images in the picture of predictions; half of them mistakes, if there are so many."""
SAMPLES_SHOWN = 18
"""Training images in the picture of them."""


def draw_learning(
    folder: pathlib.Path,
    history: Sequence[Mapping[str, Any]],
    *,
    network: str,
    data: str,
    epochs: int,
    resumed: Sequence[float] = (),
) -> None:
    """Draw the learning curves of a run, of one that goes on too.

    Args:
        folder: of the run.
        history: a row for each epoch so far.
        network: its name.
        data: name of the images, or where they lie.
        epochs: that the run is to have.
        resumed: where it was gone on with, in epochs.
    """
    names = [shorten(pathlib.PurePath(name).name or name, 40) for name in (network, data)]
    of_all = "" if len(history) == epochs else f" of {epochs}"
    title = f"{' on '.join(names)}, {len(history)}{of_all} epoch{'s' if epochs != 1 else ''}"
    draw_curves(history, both(folder / CURVES), title=title, resumed=resumed)


def draw_pictures(
    folder: pathlib.Path,
    evaluation: Evaluation,
    split: str,
    source: Source,
    preprocessing: Preprocessing,
) -> None:
    """Draw what a run shows of its predictions when it ends.

    Args:
        folder: of the run.
        evaluation: on held-out images.
        split: what these are called.
        source: these images.
        preprocessing: of the network.
    """
    draw_confusion(
        evaluation.confusion,
        evaluation.class_names,
        both(folder / CONFUSION),
        f"{split}: top-1 {evaluation.top1:.2%} of {len(evaluation.labels)} images\n"
        f"(baseline {evaluation.majority[1]:.1%})",
    )
    draw_calibration(
        evaluation.calibration(),
        both(folder / CALIBRATION),
        f"{split}: calibration error {evaluation.calibration_error:.1%}",
    )
    draw_predictions(evaluation, source, preprocessing, folder / PREDICTIONS)


def draw_samples(
    folder: pathlib.Path,
    batch: Batch,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
) -> list[Tile]:
    """Draw the first images of a batch as the network is trained on them; and give them."""
    tiles = [
        Tile(preprocessing.to_pixels(image), _name_target(target, class_names))
        for image, target in zip(
            batch.images[:SAMPLES_SHOWN], batch.targets[:SAMPLES_SHOWN], strict=True
        )
    ]
    title = "What the network is trained on, augmentation included"
    draw_grid({"": tiles}, folder / SAMPLES, title=title)
    return tiles


def _name_target(target: np.ndarray, class_names: Sequence[str]) -> str:
    """Names of the classes in a target, with their shares where it is mixed."""
    classes = np.argsort(-target, kind="stable")[:2]
    names = [class_names[c] for c in classes]
    if target[classes[1]] == 0:
        return names[0]
    return "\n".join(f"{target[c]:.0%} {n}" for c, n in zip(classes, names, strict=True))


def draw_predictions(
    evaluation: Evaluation,
    source: Source,
    preprocessing: Preprocessing,
    path: str | os.PathLike,
) -> None:
    """Held-out images with predicted and true class, mistakes above, a spread of the rest below."""
    mistakes = evaluation.mistakes[: PREDICTIONS_SHOWN // 2].tolist()
    correct = choose_correct(evaluation, PREDICTIONS_SHOWN - len(mistakes)).tolist()
    names, predictions = evaluation.class_names, evaluation.predictions

    def tiles(chosen: Sequence[int], wrong: bool) -> list[Tile]:
        crops = crop_images(evaluation, source, preprocessing, chosen)
        return [
            Tile(
                crop,
                f"{names[predictions[i]]}, {evaluation.probabilities[i].max():.0%}"
                + (f"\nbut is {names[evaluation.labels[i]]}" if wrong else ""),
                wrong,
            )
            for i, crop in zip(chosen, crops, strict=True)
            if crop is not None
        ]

    number = len(evaluation.mistakes)
    most = "most confident " if number > len(mistakes) else ""
    sections = {
        f"Wrong: the {most}{len(mistakes)} of {number} mistakes": tiles(mistakes, True),
        "Right: a spread of the correct predictions": tiles(correct, False),
    }
    draw_grid(sections, path, title="Predicted class and its probability")


def choose_correct(evaluation: Evaluation, count: int) -> np.ndarray:
    """Indices of correct predictions, spread over all images."""
    correct = np.flatnonzero(evaluation.predictions == evaluation.labels)
    return correct[:: max(1, len(correct) // max(1, count))][:count]


def crop_images(
    evaluation: Evaluation, source: Source, preprocessing: Preprocessing, chosen: Iterable[int]
) -> Iterable[Any]:
    """What the network sees of images; `None` for one that cannot be read any more."""
    places = {name: place for place, name in enumerate(source.names)}
    for i in chosen:
        try:
            yield preprocessing.crop(source.image(places[evaluation.names[i]]))
        except (ImageError, KeyError):
            yield None
