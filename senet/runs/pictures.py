"""The pictures of a run: curves, confusion, calibration, predictions, training images."""

import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from senet.data.decode import ImageError
from senet.data.pipeline import Batch
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation
from senet.plotting import charts
from senet.runs.folder import CALIBRATION, CONFUSION, CURVES, PREDICTIONS, SAMPLES

PREDICTIONS_SHOWN = 24
"""Held-out images in the picture of predictions; half of them mistakes, if there are so many."""
SAMPLES_SHOWN = 18
"""Training images in the picture of them."""


def draw_pictures(
    folder: pathlib.Path,
    history: Sequence[dict[str, Any]],
    evaluation: Evaluation,
    split: str,
    source: Source,
    preprocessing: Preprocessing,
) -> None:
    """Draw what a finished run shows of its training and of its predictions.

    Args:
        folder: of the run.
        history: a row for each epoch.
        evaluation: on held-out images.
        split: what these are called.
        source: these images.
        preprocessing: of the network.
    """
    charts.curves(history, folder / CURVES)
    charts.confusion(
        evaluation.confusion,
        evaluation.class_names,
        folder / CONFUSION,
        f"{split}: top-1 {evaluation.top1:.2%} of {len(evaluation.labels)} images\n"
        f"(baseline {evaluation.majority[1]:.1%})",
    )
    charts.calibration(
        evaluation.calibration(),
        folder / CALIBRATION,
        f"{split}: calibration error {evaluation.calibration_error:.1%}",
    )
    draw_predictions(evaluation, source, preprocessing, folder / PREDICTIONS)


def draw_samples(
    folder: pathlib.Path,
    batch: Batch,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
) -> None:
    """Draw the first images of a batch as the network is trained on them."""
    charts.grid(
        [preprocessing.to_pixels(image) for image in batch.images[:SAMPLES_SHOWN]],
        [_name_target(target, class_names) for target in batch.targets[:SAMPLES_SHOWN]],
        folder / SAMPLES,
        title="What the network is trained on, augmentation included",
    )


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
    """Held-out images with predicted and true class, mistakes first, then a spread of the rest."""
    chosen = list(evaluation.mistakes[: PREDICTIONS_SHOWN // 2])
    chosen += list(choose_correct(evaluation, PREDICTIONS_SHOWN - len(chosen)))
    names, predictions = evaluation.class_names, evaluation.predictions
    crops = list(crop_images(evaluation, source, preprocessing, chosen))
    readable = [(i, crop) for i, crop in zip(chosen, crops, strict=True) if crop is not None]
    wrong = predictions != evaluation.labels
    captions = [
        f"{names[predictions[i]]}, {evaluation.probabilities[i].max():.0%}"
        + (f"\nbut is {names[evaluation.labels[i]]}" if wrong[i] else "")
        for i, _ in readable
    ]
    charts.grid(
        [crop for _, crop in readable],
        captions,
        path,
        title="Predicted class and its probability",
        marked=[bool(wrong[i]) for i, _ in readable],
    )


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
