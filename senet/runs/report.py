"""The report of a run: one HTML page that needs no other file."""

import dataclasses
import datetime
import io
import pathlib
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation, describe_seen, wilson_interval
from senet.progress import clock
from senet.recipes.recipe import Recipe
from senet.runs.folder import (
    CALIBRATION,
    CONFUSION,
    CURVES,
    GATES_CLASSES,
    GATES_PROFILE,
    REPORT,
    SAMPLES,
)
from senet.runs.page import embedded, picture, write_page
from senet.runs.pictures import choose_correct, crop_images

PICTURES = {
    CURVES: "Loss and accuracy of each epoch",
    CONFUSION: "True class against predicted class",
    CALIBRATION: "Accuracy against confidence",
    SAMPLES: "Training images",
    GATES_PROFILE: "The gates of each block from the first to the last",
    GATES_CLASSES: "Mean gate of each class in an early and in a late block",
}
"""In the page, by their file."""
MAX_MISTAKES = 24
"""Mistakes that are shown with their image."""
MAX_CORRECT = 12
"""Correct predictions that are."""
MAX_CLASSES = 40
"""Classes up to which all are in one table; where there are more, the worst stand before it."""
WORST_CLASSES = 20
"""Classes that are the worst, and pairs that are most often confused, where there are more."""
CONFUSED_PAIRS = 10
"""Pairs where there are not."""
MAX_NAMES = 100
"""Names of images that could not be read."""
THUMBNAIL = 160
"""Longer side of an image, pixels."""


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
    gates: Mapping[str, Any] | None = None,
) -> None:
    """Write `report.html` into a run folder whose pictures are drawn already.

    Args:
        folder: of the run.
        result: scores and facts of the run.
        config: recipe, versions, machine.
        history: a row for each epoch.
        evaluation: on held-out images; where all of these were trained on, on them.
        source: these images, to show some; one that cannot be read is named only.
        preprocessing: of the network, for the part of an image that it sees.
        skipped: images that could not be read; `result["skipped"]` where there is none.
        gates: what those of the network do, whose pictures are drawn too; `None` where it has none.
    """
    scored = evaluation.summary()
    low, high = wilson_interval(scored["top1"], scored["images"])
    shown = evaluation, source, preprocessing
    write_page(
        folder / REPORT,
        "report.html",
        result=result,
        config=config,
        history=history,
        data=pathlib.Path(result["data"]).name,
        scored=scored,
        right=round(scored["top1"] * scored["images"]),
        low=low,
        high=high,
        **_describe_classes(evaluation),
        majority=evaluation.majority,
        seen=list(describe_seen(result)) if result["images"] else [],
        splits=list(config["images"]),
        images_per_class=result.get("images_per_class", {}),
        warnings=result.get("warnings", ()),
        confidence=evaluation.probabilities.max(axis=1).mean(),
        mistakes=_show_images(*shown, evaluation.mistakes[:MAX_MISTAKES]),
        correct=_show_images(*shown, choose_correct(evaluation, MAX_CORRECT)),
        skipped=_list_skipped(skipped or result.get("skipped")),
        help={field.name: field.metadata.get("help", "") for field in dataclasses.fields(Recipe)},
        time=_show_times(result, history),
        gates=gates,
        run=shlex.quote(str(folder)),
        pictures={
            pathlib.Path(name).stem: picture(folder / name, title)
            for name, title in PICTURES.items()
            if gates or name not in (GATES_PROFILE, GATES_CLASSES)
        },
    )


def _describe_classes(evaluation: Evaluation) -> dict[str, Any]:
    """How good each class is and which are confused; of many classes the worst apart."""
    per_class = [row for row in evaluation.per_class if row["images"]]
    many = len(per_class) > MAX_CLASSES
    return dict(
        classes=len(evaluation.class_names),
        absent=evaluation.absent,
        per_class=per_class,
        worst=sorted(per_class, key=lambda row: row["f1"])[:WORST_CLASSES] if many else [],
        pairs=evaluation.confused_pairs(WORST_CLASSES if many else CONFUSED_PAIRS),
    )


def _show_images(
    evaluation: Evaluation, source: Source, preprocessing: Preprocessing, chosen: Iterable[int]
) -> list[dict[str, Any]]:
    """Small images with their file, class and prediction, for the page."""
    chosen, names = list(chosen), evaluation.class_names
    shown = []
    for i, crop in zip(chosen, crop_images(evaluation, source, preprocessing, chosen), strict=True):
        prediction = evaluation.predictions[i]
        shown.append(
            dict(
                data=_make_thumbnail(crop) if crop is not None else None,
                file=evaluation.names[i],
                true=names[evaluation.labels[i]],
                predicted=names[prediction],
                probability=float(evaluation.probabilities[i, prediction]),
            )
        )
    return shown


def _make_thumbnail(image: Any) -> str:
    """A thumbnail as the address that an `img` element takes."""
    small = image.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=85)
    return embedded(file.getvalue(), "jpeg")


def _list_skipped(given: Any) -> dict[str, Any]:
    """How many images were skipped, and the names of the first ones where they are known."""
    if not given or isinstance(given, int):
        return dict(count=given or 0, names=[])
    if isinstance(given, dict):
        given = [f"{name}: {reason}" for name, reason in given.items()]
    return dict(count=len(given), names=[str(name) for name in given[:MAX_NAMES]])


def _show_times(result: dict[str, Any], history: Sequence[dict[str, Any]]) -> dict[str, str]:
    """How long the run took and how fast it was, in words."""
    now = datetime.datetime.now(datetime.UTC)
    return dict(
        training=clock(result["seconds"]),
        epoch=clock(statistics.median(row["seconds"] for row in history)),
        rate=f"{statistics.median(row['images_per_second'] for row in history):.1f} images/s",
        written=f"{now:%Y-%m-%d %H:%M} UTC",
    )
