"""The page of an explanation: HTML that needs no other file, its pictures, and the numbers."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.errors import InputError
from senet.evaluation import Evaluation, describe_seen
from senet.explanation.deletion import Deletion, deletion_test
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
from senet.explanation.heat import find_heat
from senet.explanation.sampling import spread_evenly
from senet.files import write_json
from senet.models.graph import se_blocks
from senet.plotting.heat import draw_deletion, lay_heat
from senet.plotting.images import Tile, draw_grid
from senet.plotting.style import both
from senet.progress import meter
from senet.runs.page import find_roots, picture, relative_text, write_page
from senet.runs.pictures import crop_images
from senet.runs.report import show_image

PAGE = "explain.html"
NUMBERS = "gates.json"
"""The numbers of the page; also the file by which a folder of ours is known."""
IMAGES = 12
"""Correct predictions, and as many mistakes, of which Grad-CAM is shown."""
TESTED = 96
"""Images of which it is tested whether heat maps beat random ones."""
TESTED_PIXELS = TESTED * 512**2
"""Of all of them together, 300 MB; of larger images fewer are tested, but always 8."""
PICTURES = {
    "profile": "Each block from the first to the last",
    "deletion": "Score as pixels are removed",
    "classes": "Mean gate of each class",
    "within": "Mean and spread within a class",
    "correct": "Correct predictions",
    "mistakes": "The most confident mistakes",
}
"""Titles of the pictures, by the name of their file."""


def write_explanation(
    found: Explanation,
    model: keras.Model,
    source: Source,
    preprocessing: Preprocessing,
    folder: str | os.PathLike,
    about: dict[str, Any],
    *,
    batch_size: int = 32,
) -> Deletion | None:
    """Write page, pictures and numbers into a folder that is there.

    Args:
        found: what the gates do.
        model: whose they are.
        source: the images, to show some with what the network looked at.
        preprocessing: makes inputs of them.
        folder: to write into.
        about: `data` and `split`, to say on the page; `trained_on`, how many more were left out
            because the network was trained on them, and `trained_on_complete`; `warnings`.
        batch_size: images in a batch.

    Returns:
        Whether its heat maps beat random ones; `None` where there are none.
    """
    folder, evaluation = pathlib.Path(folder), found.evaluation
    chosen, names = choose_blocks(found.blocks), found.shown_names
    heat = _draw_heat(model, source, preprocessing, evaluation, folder, batch_size)
    with meter("drawing", 3, "pictures") as progress:
        draw_profile(found.blocks, both(folder / "profile.png"))
        progress.advance(1)
        draw_class_curves(chosen, names, both(folder / "classes.png"))
        progress.advance(1)
        draw_spread_curves(chosen, choose_two(names), both(folder / "within.png"))
        progress.advance(1)
    about = about | dict(model=model.name)
    roots = find_roots(about["data"], *evaluation.names, *evaluation.skipped)
    tested = dict(deletion=heat.deletion.to_json() if heat.deletion else None)
    write_json(folder / NUMBERS, about | found.to_json() | tested)
    write_page(
        folder / PAGE,
        "explain.html",
        numbers=about | found.summary(),
        data=pathlib.Path(about["data"]).name,
        seen=list(describe_seen(about)) if "trained_on" in about else [],
        warnings=[relative_text(line, roots) for line in about.get("warnings", ())],
        label=label_block,
        ends=[list(ends) for ends in dict.fromkeys(tuple(row["ends"]) for row in found.profile)],
        pooled=any(block.squeeze is None for block in se_blocks(model)),
        chosen=[label_block(block.name) for block in chosen],
        left_out=len(found.blocks) > PANELS == len(chosen),
        shown=list(names.values()),
        two=list(choose_two(names).values()),
        wrong=len(evaluation.mistakes),
        correct=heat.correct,
        mistakes=heat.mistakes,
        deletion=heat.deletion,
        unheated=heat.why_not,
        pictures={
            name: picture(folder / f"{name}.svg", title)
            for name, title in PICTURES.items()
            if (folder / f"{name}.svg").is_file()
        },
    )
    return heat.deletion


@dataclasses.dataclass(frozen=True)
class _Heat:
    """What of the heat maps goes onto the page.

    Args:
        correct: correct predictions, as the page shows them.
        mistakes: the most confident wrong ones.
        deletion: whether the maps beat random ones; `None` where there are none.
        why_not: why there are no maps; empty where there are.
    """

    correct: list[dict[str, Any]]
    mistakes: list[dict[str, Any]]
    deletion: Deletion | None = None
    why_not: str = ""


def _draw_heat(
    model: keras.Model,
    source: Source,
    preprocessing: Preprocessing,
    evaluation: Evaluation,
    folder: pathlib.Path,
    batch_size: int,
) -> _Heat:
    """Grad-CAM beside the original, of correct predictions and of the worst mistakes."""

    def read(wanted: Sequence[int]) -> dict[int, Any]:
        found = zip(wanted, crop_images(evaluation, source, preprocessing, wanted), strict=True)
        return {i: crop for i, crop in found if crop is not None}

    right, wrong = _choose_correct(evaluation), evaluation.mistakes[:IMAGES].tolist()
    crops = read([*right, *wrong])
    maps: Mapping[tuple[int, int], np.ndarray] = {}
    deletion, why_not = None, ""
    try:
        if crops:
            maps = find_heat(model, preprocessing, evaluation, crops, batch_size)
    except Exception as error:  # as of networks without maps; the page has the gates all the same
        why_not = str(error).partition("\n")[0] or type(error).__name__
    if maps:
        with contextlib.suppress(InputError):  # of scores that are no numbers
            deletion = _test_maps(model, preprocessing, evaluation, read, batch_size)
    if deletion:
        draw_deletion(
            deletion.shares,
            deletion.hottest,
            deletion.random,
            both(folder / "deletion.png"),
            title=f"Score of the predicted class, {deletion.images} images",
        )
    for name, chosen in (("correct", right), ("mistakes", wrong)):
        tiles = [
            tile for i in chosen if i in crops for tile in _tile(evaluation, i, crops[i], maps)
        ]
        if tiles:
            title = PICTURES[name] + (", with Grad-CAM" if maps else "")
            draw_grid({"": tiles}, folder / f"{name}.png", title=title)
    correct, mistakes = (
        [show_image(evaluation, i, crops.get(i), maps) for i in chosen] for chosen in (right, wrong)
    )
    return _Heat(correct, mistakes, deletion, why_not)


def _test_maps(
    model: keras.Model,
    preprocessing: Preprocessing,
    evaluation: Evaluation,
    read: Callable[[Sequence[int]], dict[int, Any]],
    batch_size: int,
) -> Deletion | None:
    """Whether the maps of images, evenly spread over all, beat random ones."""
    fit = TESTED_PIXELS // preprocessing.size**2  # large images take memory
    crops = read(spread_evenly(len(evaluation.labels), min(TESTED, max(8, fit))).tolist())
    if not crops:  # they were there when they were predicted
        return None
    inputs = np.stack([preprocessing.normalise(crop) for crop in crops.values()])
    classes = evaluation.predictions[list(crops)]
    return deletion_test(model, inputs, classes=classes, batch_size=batch_size)


def _tile(
    evaluation: Evaluation, i: int, crop: Any, maps: Mapping[tuple[int, int], np.ndarray]
) -> Iterator[Tile]:
    """An image, and its heat for the predicted class and, where it is another, the true one."""
    names, predicted, true = evaluation.class_names, evaluation.predictions[i], evaluation.labels[i]
    yield Tile(crop, f"is {names[true]}", wrong=predicted != true)
    words = {predicted: "why"} | ({true: "where"} if true != predicted else {})
    for k, word in words.items():
        if (i, k) in maps:
            share = evaluation.probabilities[i, k]
            yield Tile(lay_heat(crop, maps[i, k]), f"{word} {names[k]}\n{share:.0%}")


def _choose_correct(evaluation: Evaluation) -> Sequence[int]:
    """Correct predictions, of each class in turn, so that few images show many classes."""
    true = evaluation.labels
    right = np.flatnonzero(evaluation.predictions == true)
    turn = {int(i): n for k in np.unique(true) for n, i in enumerate(right[true[right] == k])}
    return sorted(turn, key=lambda i: (turn[i], true[i]))[:IMAGES]
