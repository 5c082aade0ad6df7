"""What the gates of the trained network do: seen in the pass that scores it, for the report."""

import dataclasses
from collections.abc import Collection
from typing import Any

import keras
import numpy as np

from senet.data.sources import Source
from senet.errors import InputError
from senet.evaluation import Evaluation
from senet.explanation.explaining import explanation_of
from senet.explanation.figures import choose_early_and_late, draw_class_curves, draw_profile
from senet.explanation.sampling import sample_classes, sample_images
from senet.explanation.statistics import GateCounter
from senet.plotting.style import both
from senet.runs.folder import GATES_CLASSES, GATES_PROFILE
from senet.training import console
from senet.training.distribution import use_one_device
from senet.training.parts import Run

IMAGES = 2000
"""Images whose gates are counted, at most: a bound on what the report costs."""


def watch_gates(model: keras.Model, source: Source, seen: Collection[str]) -> GateCounter | None:
    """What counts the gates while images are scored; `None` where the network has none.

    Args:
        model: that is scored.
        source: the images.
        seen: names of those that do not count, because the network was trained on them.
    """
    known = np.array([name in seen for name in source.names], bool)
    labels = np.where(known, -1, source.labels)
    counted = sample_images(labels, sample_classes(labels), IMAGES)
    labels[np.setdiff1d(np.arange(len(labels)), counted)] = -1
    try:
        with use_one_device():
            return GateCounter(model, labels)
    except InputError:  # a network without squeeze and excitation
        return None


def draw_gates(run: Run, counter: GateCounter, evaluation: Evaluation) -> dict[str, Any] | None:
    """Draw what the gates do into the run folder, and give what the report says of it.

    Args:
        run: whose folder it is.
        counter: that saw the images.
        evaluation: of them, in which they have their names and classes.

    Returns:
        Numbers and findings; `None` where there are none to show.
    """
    blocks = list(counter.blocks.values())
    if not blocks[0].images:
        return None
    try:
        found = explanation_of(counter, evaluation, evaluation.labels)
    except InputError as error:  # a report without them is better than none
        console.say_warnings([str(error)])
        return None
    draw_profile(blocks, both(run.folder / GATES_PROFILE))
    two = choose_early_and_late(blocks)
    draw_class_curves(two, found.shown_names, both(run.folder / GATES_CLASSES))
    return dict(
        blocks=len(blocks),
        images=blocks[0].images,
        classes=int((blocks[0].count > 0).sum()),
        there=dict(images=len(evaluation.labels), classes=len(np.unique(evaluation.labels))),
        findings=[dataclasses.asdict(finding) for finding in found.findings],
    )
