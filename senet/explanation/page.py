"""The page of an explanation: HTML that needs no other file, its pictures, and the numbers."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation, describe_seen
from senet.explanation.explaining import Explanation
from senet.explanation.figures import (
    PANELS,
    choose_blocks,
    choose_two,
    draw_class_curves,
    draw_profile,
    draw_spread_curves,
)
from senet.explanation.findings import label_block
from senet.explanation.gradcam import grad_cam
from senet.files import write_json
from senet.models.graph import se_blocks
from senet.plotting import charts
from senet.progress import meter
from senet.runs.page import picture, write_page
from senet.runs.pictures import crop_images

PAGE = "explain.html"
NUMBERS = "gates.json"
"""The numbers of the page; also the file by which a folder of ours is known."""
IMAGES = 12
"""Correct predictions, and as many mistakes, of which Grad-CAM is shown."""
PICTURES = {
    "profile": "Each block from the first to the last",
    "classes": "Mean gate of each class",
    "within": "Mean and spread within a class",
    "correct": "Grad-CAM of correct predictions",
    "mistakes": "Grad-CAM of the most confident mistakes",
}
"""Titles of the pictures, by the name of their file."""


def write_explanation(
    found: Explanation,
    model: keras.Model,
    source: Source,
    preprocessing: Preprocessing,
    folder: str | os.PathLike,
    about: dict[str, Any],
) -> None:
    """Write page, pictures and numbers into a folder that is there.

    Args:
        found: what the gates do.
        model: whose they are.
        source: the images, to show some with what the network looked at.
        preprocessing: makes inputs of them.
        folder: to write into.
        about: `data` and `split`, to say on the page; `trained_on`, how many more were left out
            because the network was trained on them, and `trained_on_complete`; `warnings`.
    """
    folder, evaluation = pathlib.Path(folder), found.evaluation
    chosen, names = choose_blocks(found.blocks), found.shown_names
    with meter("drawing", len(PICTURES), "pictures") as progress:
        draw_profile(found.blocks, folder / "profile.png")
        progress.advance(1)
        draw_class_curves(chosen, names, folder / "classes.png")
        progress.advance(1)
        draw_spread_curves(chosen, choose_two(names), folder / "within.png")
        progress.advance(1)
        _draw_heat(model, source, preprocessing, evaluation, folder)
        progress.advance(2)
    write_json(folder / NUMBERS, about | dict(model=model.name) | found.to_json())
    write_page(
        folder / PAGE,
        "explain.html",
        numbers=about | dict(model=model.name) | found.summary(),
        data=pathlib.Path(about["data"]).name,
        seen=list(describe_seen(about)) if "trained_on" in about else [],
        warnings=about.get("warnings", ()),
        label=label_block,
        ends=[list(ends) for ends in dict.fromkeys(tuple(row["ends"]) for row in found.profile)],
        pooled=any(block.squeeze is None for block in se_blocks(model)),
        chosen=[label_block(block.name) for block in chosen],
        left_out=len(found.blocks) > PANELS == len(chosen),
        shown=list(names.values()),
        two=list(choose_two(names).values()),
        mistakes=len(evaluation.mistakes),
        pictures={
            name: picture(folder / f"{name}.png", title)
            if (folder / f"{name}.png").is_file()  # there may be no mistakes
            else None
            for name, title in PICTURES.items()
        },
    )


def _draw_heat(
    model: keras.Model,
    source: Source,
    preprocessing: Preprocessing,
    evaluation: Evaluation,
    folder: pathlib.Path,
) -> None:
    """Grad-CAM beside the original, of correct predictions and of the worst mistakes."""
    predicted, true = evaluation.predictions, evaluation.labels
    wanted = [*_choose_correct(evaluation), *evaluation.mistakes[:IMAGES].tolist()]
    found = zip(wanted, crop_images(evaluation, source, preprocessing, wanted), strict=True)
    crops = {i: crop for i, crop in found if crop is not None}
    if not crops:
        return
    wrong = [i for i in crops if predicted[i] != true[i]]
    asked = [(i, int(predicted[i])) for i in crops] + [(i, int(true[i])) for i in wrong]
    inputs = np.stack([preprocessing.normalise(crops[i]) for i, _ in asked])
    maps = grad_cam(model, inputs, classes=[k for _, k in asked])
    heat = dict(zip(asked, maps, strict=True))

    def tile(i: int, k: int | None, heading: str) -> tuple[Any, Any, str]:
        share = "" if k is None else f"{evaluation.probabilities[i, k]:.0%}"
        return crops[i], None if k is None else heat[i, k], f"{heading}\n{share}"

    names = evaluation.class_names
    tiles: dict[str, list[tuple[Any, Any, str]]] = {"correct": [], "mistakes": []}
    for i in crops:
        here, was = names[predicted[i]], names[true[i]]
        if i not in wrong:
            tiles["correct"] += [tile(i, None, was), tile(i, predicted[i], f"why {here}")]
        else:
            tiles["mistakes"] += [tile(i, None, f"is {was}"), tile(i, predicted[i], f"why {here}")]
            tiles["mistakes"] += [tile(i, true[i], f"where {was}")]
    for name, row in tiles.items():
        if row:
            images, over, captions = zip(*row, strict=True)
            charts.grid(images, captions, folder / f"{name}.png", heat=over)


def _choose_correct(evaluation: Evaluation) -> Sequence[int]:
    """Correct predictions, of each class in turn, so that few images show many classes."""
    true = evaluation.labels
    right = np.flatnonzero(evaluation.predictions == true)
    turn = {int(i): n for k in np.unique(true) for n, i in enumerate(right[true[right] == k])}
    return sorted(turn, key=lambda i: (turn[i], true[i]))[:IMAGES]
