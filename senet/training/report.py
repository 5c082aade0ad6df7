"""The report of a run: one HTML page that needs no other file."""

import dataclasses
import datetime
import io
import os
import pathlib
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from senet import plotting
from senet.data.decode import ImageError
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation, wilson_interval
from senet.pages import embedded, picture, write_page
from senet.progress import clock
from senet.recipes.recipe import Recipe

PICTURES = {
    "curves": "Loss and accuracy of each epoch",
    "confusion": "True class against predicted class",
    "calibration": "Accuracy against confidence",
    "samples": "Training images",
}
SHOWN = 24
"""Held-out images in the picture of predictions, mistakes in the page."""
CORRECT = 12
"""Correct predictions in the page."""
FEW = 40
"""Classes up to which all are shown at once."""
WORST = 20
"""Classes shown at once where there are more."""
LISTED = 100
"""Names of images that could not be read, in the page."""
THUMBNAIL = 160
"""Longer side of an image in the page, pixels."""


def write(
    folder: pathlib.Path,
    result: dict[str, Any],
    config: dict[str, Any],
    history: Sequence[dict[str, Any]],
    evaluation: Evaluation,
    source: Source,
    preprocessing: Preprocessing,
    *,
    skipped: Sequence[Any] = (),
) -> None:
    """Write `report.html` into a run folder whose pictures are drawn already.

    Args:
        folder: of the run.
        result: scores and facts of the run.
        config: recipe, versions, machine.
        history: one record for each epoch.
        evaluation: on held-out images.
        source: these images, to show some; one that cannot be read is named only.
        preprocessing: of the network, for the part of an image that it sees.
        skipped: images that could not be read; `result["skipped"]` where there is none.
    """
    low, high = wilson_interval(result["top1"], result["images"])
    per_class = evaluation.per_class
    many = len(per_class) > FEW
    write_page(
        folder / "report.html",
        "report.html",
        result=result,
        config=config,
        history=history,
        data=pathlib.Path(result["data"]).name,
        classes=len(per_class),
        right=round(result["top1"] * result["images"]),
        low=low,
        high=high,
        per_class=per_class,
        worst=sorted(per_class, key=lambda row: row["f1"])[:WORST] if many else [],
        pairs=evaluation.confused_pairs(WORST if many else 10),
        confidence=evaluation.probabilities.max(axis=1).mean(),
        mistakes=_shown(evaluation, source, preprocessing, evaluation.mistakes[:SHOWN]),
        correct=_shown(evaluation, source, preprocessing, _correct(evaluation, CORRECT)),
        skipped=_skipped(skipped or result.get("skipped")),
        help={field.name: field.metadata.get("help", "") for field in dataclasses.fields(Recipe)},
        time=_times(result, history),
        pictures={name: picture(folder / f"{name}.png", PICTURES[name]) for name in PICTURES},
    )


def draw_predictions(
    evaluation: Evaluation,
    source: Source,
    preprocessing: Preprocessing,
    path: str | os.PathLike,
) -> None:
    """Held-out images with predicted and true class, mistakes first, then a spread of the rest."""
    chosen = list(evaluation.mistakes[: SHOWN // 2])
    chosen += list(_correct(evaluation, SHOWN - len(chosen)))
    names, predictions = evaluation.class_names, evaluation.predictions
    crops = list(_crops(evaluation, source, preprocessing, chosen))
    readable = [(i, crop) for i, crop in zip(chosen, crops, strict=True) if crop is not None]
    wrong = predictions != evaluation.labels
    captions = [
        f"{names[predictions[i]]}, {evaluation.probabilities[i].max():.0%}"
        + (f"\nbut is {names[evaluation.labels[i]]}" if wrong[i] else "")
        for i, _ in readable
    ]
    plotting.grid(
        [crop for _, crop in readable],
        captions,
        path,
        title="Predicted class and its probability",
        marked=[bool(wrong[i]) for i, _ in readable],
    )


def _correct(evaluation: Evaluation, count: int) -> np.ndarray:
    """Indices of correct predictions, spread over all images."""
    correct = np.flatnonzero(evaluation.predictions == evaluation.labels)
    return correct[:: max(1, len(correct) // max(1, count))][:count]


def _crops(
    evaluation: Evaluation, source: Source, preprocessing: Preprocessing, chosen: Iterable[int]
) -> Iterable[Any]:
    """What the network sees of images; `None` for one that cannot be read any more."""
    places = {name: place for place, name in enumerate(source.names)}
    for i in chosen:
        try:
            yield preprocessing.crop(source.image(places[evaluation.names[i]]))
        except (ImageError, KeyError):
            yield None


def _shown(
    evaluation: Evaluation, source: Source, preprocessing: Preprocessing, chosen: Iterable[int]
) -> list[dict[str, Any]]:
    """Small images with their file, class and prediction, for the page."""
    chosen, names = list(chosen), evaluation.class_names
    shown = []
    for i, crop in zip(chosen, _crops(evaluation, source, preprocessing, chosen), strict=True):
        prediction = evaluation.predictions[i]
        shown.append(
            dict(
                data=_thumbnail(crop) if crop is not None else None,
                file=evaluation.names[i],
                true=names[evaluation.labels[i]],
                predicted=names[prediction],
                probability=float(evaluation.probabilities[i, prediction]),
            )
        )
    return shown


def _thumbnail(image: Any) -> str:
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return embedded(file.getvalue(), "jpeg")


def _skipped(given: Any) -> dict[str, Any]:
    """How many images were skipped, and the names of the first ones where they are known."""
    if not given or isinstance(given, int):
        return dict(count=given or 0, names=[])
    if isinstance(given, dict):
        given = [f"{name}: {reason}" for name, reason in given.items()]
    return dict(count=len(given), names=[str(name) for name in given[:LISTED]])


def _times(result: dict[str, Any], history: Sequence[dict[str, Any]]) -> dict[str, str]:
    now = datetime.datetime.now(datetime.UTC)
    return dict(
        training=clock(result["seconds"]),
        epoch=clock(statistics.median(row["seconds"] for row in history)),
        rate=f"{statistics.median(row['images_per_second'] for row in history):.1f} images/s",
        written=f"{now:%Y-%m-%d %H:%M} UTC",
    )
