"""`senet.evaluate`: how good a trained network is on labelled images."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from senet.errors import InputError, one_family
from senet.evaluation import Evaluation, describe_seen
from senet.files import making_parents
from senet.foreign import listed
from senet.prediction.scoring import score
from senet.prediction.trained import TrainedLike, load_trained
from senet.tasks.arguments import require_count


@dataclasses.dataclass(frozen=True, repr=False)
class EvaluationResult:
    """Scores of a network on a split, and where its images come from.

    Args:
        evaluation: the predictions and all that follows from them.
        about: `data` and `split` of the images, whether they are those that the training held out
            (`own_split`), and `warnings`.

    Example:
        >>> result = senet.evaluate("runs/digits")
        >>> round(result.top1, 4), result.images
        (0.9833, 359)
    """

    evaluation: Evaluation
    about: dict[str, Any]

    @property
    def images(self) -> int:
        """Number of images that were scored."""
        return len(self.evaluation.labels)

    @property
    def top1(self) -> float:
        """Share of the images whose most probable class is the true one, 0 to 1."""
        return self.evaluation.top1

    @property
    def top5(self) -> float:
        """Share of the images whose true class is among the five most probable, 0 to 1."""
        return self.evaluation.top(5)

    @property
    def loss(self) -> float:
        """Mean of `-log p` of the true class, nats."""
        return self.evaluation.loss

    @property
    def class_names(self) -> tuple[str, ...]:
        """One for each class of the network."""
        return self.evaluation.class_names

    @property
    def confusion(self) -> np.ndarray:
        """Number of images of each true class (row) predicted as each class (column), `(C, C)`."""
        return self.evaluation.confusion

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """Name, images, precision, recall and F1 of each class."""
        return self.evaluation.per_class

    @property
    def warnings(self) -> list[str]:
        """What makes the score other than it seems, a sentence each."""
        return [*self.about["warnings"], *self.evaluation.warnings]

    def draw_confusion(self, path: str | os.PathLike) -> None:
        """Draw the confusion matrix to a PNG or SVG file; folders above it are made.

        Raises:
            InputError: the name ends in neither .png nor .svg.
        """
        from senet.plotting.scores import draw_confusion

        _require_picture(path)
        title = f"{self.about['split']}: top-1 {self.top1:.2%} of {self.images} images"
        with one_family(), making_parents(path):
            draw_confusion(self.confusion, self.class_names, path, title)

    def to_json(self) -> dict[str, Any]:
        """Scores and classes as plain JSON values: the last line of `senet evaluate`."""
        return self.summary() | dict(warnings=self.warnings, per_class=self.per_class)

    def summary(self) -> dict[str, Any]:
        """The scores, and where the images come from, without the classes."""
        return self.about | self.evaluation.summary() | self.about

    def __str__(self) -> str:
        """A table of the classes, and the score in a sentence."""
        return "\n".join([*_tabulate_classes(self.evaluation), *self._describe_score()])

    def _describe_score(self) -> Iterator[str]:
        values = self.summary()
        split = "" if values["split"] == "all" else f"{values['split']} "
        yield (
            f"top-1 {values['top1']:.2%} on {values['images']} {split}images (baseline "
            f"{values['baseline']:.2%}: always {values['majority_class']!r})"
        )
        yield from describe_seen(values)

    def __repr__(self) -> str:
        return "\n".join([str(self), *(f"warning: {line}" for line in self.warnings)])


def _require_picture(path: str | os.PathLike) -> None:
    """Refuse a file for a picture whose ending names no kind that is drawn.

    Raises:
        InputError: it ends in neither .png nor .svg.
    """
    if pathlib.Path(path).suffix not in (".png", ".svg"):
        raise InputError(f"A picture needs a name that ends in .png or .svg; got {str(path)!r}.")


def _tabulate_classes(evaluation: Evaluation) -> Iterator[str]:
    """The table of the classes that have images, and which have none."""
    rows = [row for row in evaluation.per_class if row["images"]]
    width = max(5, *(len(row["name"]) for row in rows))
    yield f"{'class':<{width}}  images  precision  recall      F1"
    for row in rows:
        yield (
            f"{row['name']:<{width}}  {row['images']:>6}  {row['precision']:>8.1%}  "
            f"{row['recall']:>6.1%}  {row['f1']:>6.1%}"
        )
    if absent := evaluation.absent:
        classes = len(evaluation.class_names)
        yield f"No image is of {listed(absent)} ({len(absent)} of {classes} classes)."


@one_family()
def evaluate(
    trained: TrainedLike,
    data: str | os.PathLike | None = None,
    *,
    weights: str | os.PathLike | None = None,
    split: str | None = None,
    class_map: str | os.PathLike | None = None,
    batch_size: int = 64,
) -> EvaluationResult:
    """Score a trained network on every image of a split.

    Images that the network was trained on are known by their content and do not count, unless it is
    the training images of its own split that are asked for. Classes are matched by name.

    Args:
        trained: a run folder or what `senet.train` gave, a file, an exported network,
            `"se_resnet50.imagenet"`, or a network from `senet.load`.
        data: folder, zip file or name, as for `senet.train`; by default what the run was trained
            on.
        weights: published weights, where `trained` is the name of a network.
        split: `"train"`, `"validation"`, `"test"` or `"all"`; by default what was held out, of
            other data than that of the training its test folder, else its validation folder, else
            all images.
        class_map: file that renames or merges classes, `.csv` or `.json`.
        batch_size: images in a batch.

    Returns:
        An `EvaluationResult`.

    Raises:
        InputError: the network lacks class names or preprocessing, it does not know a class of the
            data, no data is named, or all of them were trained on.
        NotFoundError: there is no such network or data.

    Example:
        >>> senet.evaluate("runs/digits")
        class  images  precision  recall      F1
        0          36    100.0%  100.0%  100.0%
        ...
        top-1 98.33% on 359 test images (baseline 10.31%: always '3')
    """
    require_count("batch_size", batch_size)
    found = load_trained(trained, weights)
    return EvaluationResult(*score(found, data, split, batch_size, class_map))
