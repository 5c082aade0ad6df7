"""The report of a run: one HTML page that needs no other file."""

import dataclasses
import datetime
import pathlib
import shlex
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation, describe_seen, wilson_interval
from senet.plotting.curves import find_best
from senet.plotting.heat import lay_heat
from senet.plotting.images import Tile
from senet.progress import clock
from senet.recipes.recipe import Recipe
from senet.runs.folder import (
    CALIBRATION,
    CONFUSION,
    CURVES,
    GATES_CLASSES,
    GATES_PROFILE,
    REPORT,
)
from senet.runs.page import (
    find_roots,
    percent,
    picture,
    relative,
    relative_command,
    relative_text,
    thumbnail,
    write_page,
)
from senet.runs.pictures import choose_correct, crop_images
from senet.runs.reading import list_resumptions

PICTURES = {
    CURVES: "Loss and accuracy of each epoch",
    CONFUSION: "True class against predicted class",
    CALIBRATION: "Accuracy against confidence",
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
UNBROKEN = "\u00a0"
"""A space at which no line ends."""
MAX_NAMES = 100
"""Names of images that could not be read."""
Heat = Callable[[Mapping[int, Any]], Mapping[tuple[int, int], np.ndarray]]
"""Of crops, by the index of their image, where the network saw a class: a map in the size of the
crop for the index of the image and of the class."""


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
    heat: Heat | None = None,
    samples: Sequence[Tile] = (),
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
        heat: says where the network saw the predicted and the true class of mistakes.
        samples: images as they are trained on.
    """
    scored = evaluation.summary()
    low, high = wilson_interval(scored["top1"], scored["images"])
    mistakes = evaluation.mistakes[:MAX_MISTAKES].tolist()
    correct = choose_correct(evaluation, MAX_CORRECT).tolist()
    chosen = [*mistakes, *correct]
    crops = dict(zip(chosen, crop_images(evaluation, source, preprocessing, chosen), strict=True))
    wrong = {i: crops[i] for i in mistakes if crops[i] is not None}
    maps = heat(wrong) if heat and wrong else {}
    names = (*evaluation.names, *evaluation.skipped)
    roots = find_roots(str(config["recipe"].get("data", "")), result["data"], *names)
    command, where = relative_command(config["command"]), _name_folder(folder)
    write_page(
        folder / REPORT,
        "report.html",
        result=result,
        config=config,
        command=command,
        recipe={name: relative(value) for name, value in config["recipe"].items()},
        history=history,
        best=find_best(history),
        resumed=list_resumptions(config),
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
        warnings=[relative_text(line, roots) for line in result.get("warnings", ())],
        confidence=evaluation.probabilities.max(axis=1).mean(),
        mistakes=[show_image(evaluation, i, crops[i], maps) for i in mistakes],
        correct=[show_image(evaluation, i, crops[i]) for i in correct],
        heated=bool(maps),
        samples=[
            dict(data=thumbnail(tile.image), lines=tile.caption.split("\n")) for tile in samples
        ],
        skipped=_list_skipped(skipped or result.get("skipped"), roots),
        help={field.name: field.metadata.get("help", "") for field in dataclasses.fields(Recipe)},
        time=_show_times(result, history),
        gates=gates,
        run=shlex.quote(where),
        inside=shlex.quote(f"{where}-inside"),
        exported=shlex.quote(f"{where}-onnx"),
        python_run=repr(where),
        pictures={
            pathlib.Path(name).stem: picture(folder / name, title)
            if (folder / name).with_suffix(".svg").is_file()  # it may not have been drawn
            else None
            for name, title in PICTURES.items()
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


def show_image(
    evaluation: Evaluation,
    i: int,
    crop: Any,
    maps: Mapping[tuple[int, int], np.ndarray] = {},
) -> dict[str, Any]:
    """A small image with its file, class and prediction, for a page.

    Args:
        evaluation: the predictions.
        i: index of the image in them.
        crop: what the network saw of it; `None` where it cannot be read any more.
        maps: where the network saw a class, by the index of the image and of the class.
    """
    names, predicted, true = evaluation.class_names, evaluation.predictions[i], evaluation.labels[i]
    shares = evaluation.probabilities[i]
    views = [dict(data=thumbnail(crop), caption="")] if crop is not None else []
    words = {predicted: "why"} | ({true: "where"} if true != predicted else {})
    for k, word in words.items():
        if crop is not None and (i, k) in maps:
            caption = f"{word} {names[k]}, {percent(shares[k], 0).replace(' ', UNBROKEN)}"
            views.append(dict(data=thumbnail(lay_heat(crop, maps[i, k])), caption=caption))
    return dict(
        views=views,
        file=str(relative(evaluation.names[i])),
        true=names[true],
        predicted=names[predicted],
        probability=float(shares[predicted]),
    )


def _name_folder(folder: pathlib.Path) -> str:
    """A run folder as a command names it from the working directory; it ends in its own name."""
    whole = folder.resolve()
    path = pathlib.Path(relative(whole.parent), whole.name).as_posix()
    return f"./{path}" if path.startswith("-") else path  # which would be an option


def _list_skipped(given: Any, roots: Collection[str]) -> dict[str, Any]:
    """How many images were skipped, and the names of the first ones where they are known."""
    if not given or isinstance(given, int):
        return dict(count=given or 0, names=[])
    if isinstance(given, dict):
        given = [f"{name}: {reason}" for name, reason in given.items()]
    return dict(
        count=len(given), names=[relative_text(str(name), roots) for name in given[:MAX_NAMES]]
    )


def _show_times(result: dict[str, Any], history: Sequence[dict[str, Any]]) -> dict[str, str]:
    """How long the run took and how fast it was, in words."""
    now = datetime.datetime.now(datetime.UTC)
    return dict(
        training=clock(result["seconds"]),
        epoch=clock(statistics.median(row["seconds"] for row in history)),
        rate=f"{statistics.median(row['images_per_second'] for row in history):.1f} images/s",
        written=f"{now:%Y-%m-%d %H:%M} UTC",
    )
