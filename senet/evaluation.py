"""How good a network is on labelled images; every image counts."""

import contextlib
import dataclasses
from typing import Any

import numpy as np

from senet.data.decode import ImageError
from senet.data.pipeline import evaluation_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.progress import meter


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Predictions on labelled images and what follows from them.

    Args:
        class_names: one for each class.
        names: one for each image.
        labels: index of the true class, `(N,)`.
        probabilities: `(N, C)`.
        skipped: names of the images that could not be read; they are in none of the above.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    skipped: tuple[str, ...] = ()

    @property
    def predictions(self) -> np.ndarray:
        """Index of the most probable class of each image, `(N,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def top1(self) -> float:
        """Share of images whose most probable class is the true one, 0 to 1."""
        return self.top(1)

    def top(self, k: int) -> float:
        """Share of images whose true class is among the `k` most probable, 0 to 1."""
        best = np.argsort(-self.probabilities, axis=1, kind="stable")[:, :k]
        return float((best == self.labels[:, None]).any(axis=1).mean())

    @property
    def loss(self) -> float:
        """Mean of `-log p` of the true class, nats."""
        chosen = self.probabilities[np.arange(len(self.labels)), self.labels]
        return float(np.log(np.maximum(chosen, 1e-7)).mean() * -1 + 0.0)  # never -0.0

    @property
    def confusion(self) -> np.ndarray:
        """Number of images of each true class (row) predicted as each class (column), `(C, C)`."""
        from sklearn.metrics import confusion_matrix

        classes = range(len(self.class_names))
        return confusion_matrix(self.labels, self.predictions, labels=classes)

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """Name, images, precision, recall and F1 of each class."""
        from sklearn.metrics import precision_recall_fscore_support

        columns = precision_recall_fscore_support(
            self.labels,
            self.predictions,
            labels=range(len(self.class_names)),
            zero_division=0.0,
        )
        return [
            dict(
                name=name,
                images=int(images),
                precision=float(precision),
                recall=float(recall),
                f1=float(f1),
            )
            for name, precision, recall, f1, images in zip(self.class_names, *columns, strict=True)
        ]

    @property
    def mistakes(self) -> np.ndarray:
        """Indices of the wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong].max(axis=1), kind="stable")]

    def summary(self) -> dict[str, Any]:
        """Images, top-1, top-5, loss, skipped; with fewer than five classes all are in top-5."""
        return dict(
            images=len(self.labels),
            top1=self.top1,
            top5=self.top(5),
            loss=self.loss,
            skipped=len(self.skipped),
        )


def evaluate(
    model: Any,
    source: Source,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
    *,
    batch_size: int = 64,
    workers: int = 0,
    label: str = "evaluating",
) -> Evaluation:
    """Predict every image of a source that can be read and compare with its label.

    Args:
        model: a Keras model that gives probabilities.
        source: labelled images.
        preprocessing: makes inputs of them.
        class_names: one for each class.
        batch_size: images in a batch; the last one may hold fewer and counts too.
        workers: processes that read images; with 0 threads of this one do.
        label: what the progress says.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: the source is empty, or none of its images can be read.
    """
    if not len(source):
        raise ValueError("There are no images to evaluate on.")
    batches = evaluation_batches(
        source, preprocessing, batch_size=batch_size, n_classes=len(class_names), workers=workers
    )
    probabilities, read, skipped = [], [], []
    with meter(label, len(source)) as progress, contextlib.closing(batches):
        for batch in batches:
            if len(batch.images):
                probabilities.append(model.predict_on_batch(batch.images))
            read += batch.indices.tolist()
            skipped += [source.names[i] for i in batch.bad]
            progress.advance(len(batch.images) + len(batch.bad))
    if not read:
        raise ImageError(f"None of the {len(source)} images can be read: {', '.join(skipped[:3])}.")
    return Evaluation(
        class_names,
        tuple(source.names[i] for i in read),
        source.labels[read],
        np.concatenate(probabilities),
        tuple(skipped),
    )
