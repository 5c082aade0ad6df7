"""What the gates of a network do on labelled images: one pass over them, and what follows."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.errors import InputError
from senet.evaluation import Evaluation, evaluate
from senet.explanation.figures import CLASSES, choose_blocks, list_curves
from senet.explanation.findings import Finding, check_findings
from senet.explanation.sampling import sample_classes, sample_images, spread_evenly
from senet.explanation.statistics import (
    THRESHOLDS,
    GateCounter,
    GateStatistics,
    require_finite,
)
from senet.foreign import listed
from senet.models.graph import se_blocks


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What the gates of a network do on labelled images.

    Args:
        blocks: statistics of each, in network order.
        classes: the class of each of their rows, its index in the class names.
        evaluation: predictions on the same images.
        there: images and classes that there were to look at.
        shown: rows of the classes in the pictures.
    """

    blocks: list[GateStatistics]
    classes: np.ndarray
    evaluation: Evaluation
    there: tuple[int, int]
    shown: tuple[int, ...]

    @functools.cached_property
    def findings(self) -> list[Finding]:
        """The paper's three, in its order."""
        return check_findings(self.blocks)

    @functools.cached_property
    def profile(self) -> list[dict[str, Any]]:
        """The depth profile, a line for each block."""
        return [block.profile() for block in self.blocks]

    @property
    def shown_names(self) -> dict[int, str]:
        """Names of the classes in the pictures, by their row."""
        names = self.evaluation.class_names
        return {  # two classes may have one name, as the two cranes of ImageNet
            row: names[k] if names.count(names[k]) == 1 else f"{names[k]} ({k})"
            for row, k in ((row, int(self.classes[row])) for row in self.shown)
        }

    @property
    def sample(self) -> list[str]:
        """What was left out because there is too much of it, a sentence each."""
        images, classes = self.there
        looked = len(self.evaluation.labels) + len(self.evaluation.skipped)
        said = []
        if len(self.classes) < classes:
            said.append(f"{len(self.classes)} of {classes} classes were looked at.")
        if looked < images:
            said.append(f"{looked} of {images} images were looked at, of each class its share.")
        return said

    def to_json(self) -> dict[str, Any]:
        """All of it as plain JSON values, with the numbers of both figures."""
        return self.summary() | dict(
            curves=list_curves(choose_blocks(self.blocks), self.shown_names)
        )

    def summary(self) -> dict[str, Any]:
        """Findings, profile and scores as plain JSON values."""
        evaluation = self.evaluation
        return dict(
            images=len(evaluation.labels),
            skipped=len(evaluation.skipped),
            classes=[evaluation.class_names[k] for k in self.classes[self.blocks[0].count > 0]],
            sample=self.sample,
            top1=evaluation.top1,
            baseline=evaluation.majority[1],
            thresholds=THRESHOLDS,
            findings=[dataclasses.asdict(finding) for finding in self.findings],
            profile=self.profile,
        )


def explain(
    model: keras.Model,
    source: Source,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    *,
    images: int,
    shown: Sequence[str] = (),
    batch_size: int = 64,
) -> Explanation:
    """Look at the gates of a network on labelled images.

    Every image is read once, and gates are kept of one batch at a time.

    Args:
        model: a functional Keras model with squeeze and excitation that gives probabilities.
        source: labelled images; those that cannot be read are left out.
        preprocessing: makes inputs of them.
        class_names: one for each class.
        images: to look at, at most, of each class its share.
        shown: names of the classes in the pictures; by default some, evenly spread.
        batch_size: images in a batch.

    Raises:
        ValueError: the model has no squeeze-and-excitation blocks, there is no image of a class to
            show, or none can be read.

    Reference:
        Hu et al., arXiv 1709.01507, section 7.2 and figures 6 and 7.
    """
    se_blocks(model)  # raises before images are read
    wanted = [_find_class(name, source, class_names) for name in shown]
    classes = np.union1d(sample_classes(source.labels), wanted).astype("int64")
    looked = source.take(sample_images(source.labels, classes, images))
    classes = np.unique(looked.labels)
    if missed := [class_names[k] for k in wanted if k not in classes]:
        raise InputError(
            f"Of {listed(missed)} no image is among the {len(looked)} that are looked at: let more "
            "be looked at, by images= or --images."
        )
    counter = GateCounter(model, looked.labels, classes)
    evaluation = evaluate(
        model,
        looked,
        preprocessing,
        tuple(class_names),
        batch_size=batch_size,
        label="reading gates",
        watch=counter.watch,
    )
    return explanation_of(counter, evaluation, source.labels, wanted)


def explanation_of(
    counter: GateCounter, evaluation: Evaluation, labels: np.ndarray, shown: Sequence[int] = ()
) -> Explanation:
    """What follows from gates that are counted.

    Args:
        counter: that counted them.
        evaluation: of the same images.
        labels: of all images that there were.
        shown: classes in the pictures; by default some of those that are counted, evenly spread.

    Raises:
        ValueError: gates are no finite numbers, or no image of a class to show could be read.
    """
    blocks = list(counter.blocks.values())
    require_finite(blocks)
    seen = np.flatnonzero(blocks[0].count)  # every image of a class may be damaged
    place = {int(counter.classes[row]): int(row) for row in seen}
    if unread := [evaluation.class_names[k] for k in shown if k not in place]:
        raise InputError(f"No image of {listed(unread)} can be read.")
    rows = [place[k] for k in shown]
    rows = rows or [int(seen[i]) for i in spread_evenly(len(seen), CLASSES)]
    there = len(labels), len(np.unique(labels))
    return Explanation(blocks, counter.classes, evaluation, there, tuple(rows))


def _find_class(name: str, source: Source, class_names: Sequence[str]) -> int:
    """The index of a class to show, of which there must be images."""
    there = {int(k): class_names[k] for k in np.unique(source.labels)}
    found = [k for k, known in there.items() if known == name]
    if not found:
        raise InputError(
            f"There is no image of a class {name!r} to show; there are images of "
            f"{listed(there.values())}."
        )
    return found[0]
