"""How good a network is on labelled images; every image counts."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from senet.data.damage import explain_damage
from senet.data.decode import ImageError
from senet.data.pipeline import Batch, evaluation_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.errors import InputError
from senet.foreign import listed
from senet.progress import meter

SHOWN = 3
"""Images that a sentence names."""


def wilson_interval(share: float, images: int) -> tuple[float, float]:
    """How far a score may be from the truth because only so many images were scored, 95 %.

    Wilson's score interval for a share `p` of `n` with `z = 1.96`:
    `(p + z²/2n ± z √(p(1 - p)/n + z²/4n²)) / (1 + z²/n)`. It stays within 0 and 1 and
    is of use for few images and for scores near 100 %.

    Args:
        share: of the images that are right, 0 to 1.
        images: number of them, at least 1.

    Returns:
        Lower and upper end, 0 to 1.

    Example:
        >>> low, high = wilson_interval(0.9, 100)
        >>> round(low, 3), round(high, 3)
        (0.826, 0.945)

    Reference:
        Wilson, Probable inference, the law of succession, and statistical inference, Journal of the
        American Statistical Association 22 (1927).
    """
    z = 1.959963984540054  # 97.5 % of the normal distribution are below
    middle = share + z**2 / (2 * images)
    half = z * math.sqrt(share * (1 - share) / images + z**2 / (4 * images**2))
    scale = 1 + z**2 / images
    # the score itself is inside, whatever rounding makes of an end at 0 or 1
    return min(share, (middle - half) / scale), max(share, (middle + half) / scale)


@dataclasses.dataclass(frozen=True)
class PairedDifference:
    """The difference of two scores on the same images.

    Args:
        won: images that the second predicts rightly and the first does not.
        lost: the other way round.
        both: that both predict rightly.
        neither: that none does.
    """

    won: int
    lost: int
    both: int
    neither: int

    @property
    def images(self) -> int:
        """Number of images."""
        return self.won + self.lost + self.both + self.neither

    @property
    def points(self) -> float:
        """Top-1 of the second less that of the first, percentage points."""
        return 100 * (self.won - self.lost) / self.images

    @property
    def interval(self) -> tuple[float, float]:
        """How far `points` may be from the truth because only so many images were scored, 95 %.

        Newcombe's interval for paired shares (his method 10): Wilson's intervals of the two scores,
        joined with the correlation of who is right. It has a width even where both are right on the
        same images.

        Reference:
            Newcombe, Improved confidence intervals for the difference between binomial proportions
            based on paired data, Statistics in Medicine 17 (1998).
        """
        n, a, b, c, d = self.images, self.both, self.won, self.lost, self.neither
        second, first = (a + b) / n, (a + c) / n
        margins = (a + b) * (c + d) * (a + c) * (b + d)
        product = float(a * d - b * c)
        if product > 0:  # a correction for continuity, of his
            product = max(product - n / 2, 0.0)
        phi = product / math.sqrt(margins) if margins else 0.0
        (low2, high2), (low1, high1) = wilson_interval(second, n), wilson_interval(first, n)

        def joined(one: float, other: float) -> float:
            return 100 * math.sqrt(max(0.0, one**2 - 2 * phi * one * other + other**2))

        down = joined(second - low2, high1 - first)
        return self.points - down, self.points + joined(high2 - second, first - low1)

    @property
    def p_value(self) -> float:
        """Of McNemar's exact test: how often chance alone makes as large a difference, 0 to 1."""
        from scipy.stats import binomtest

        decided = self.won + self.lost
        return float(binomtest(self.won, decided).pvalue) if decided else 1.0

    def to_json(self) -> dict[str, Any]:
        """These numbers as plain JSON values; those in percentage points say so."""
        low, high = self.interval
        counts = dict(images_won=self.won, images_lost=self.lost)
        return dict(difference_points=self.points, interval_points=[low, high]) | (
            counts | dict(p_value=self.p_value)
        )

    def __str__(self) -> str:
        low, high = self.interval
        return (
            f"Right now {self.won} that were not, wrong now {self.lost} that were right: "
            f"{self.points:+.2f} points, 95 % from {low:+.2f} to {high:+.2f} (McNemar: p = "
            f"{self.p_value:.2g})."
        )


def find_majority(labels: np.ndarray, class_names: Sequence[str]) -> tuple[str, float]:
    """The class with the most labels, and its share of them, 0 to 1.

    Args:
        labels: index of the class of each image, `(N,)`, at least one.
        class_names: one for each class.

    Example:
        >>> find_majority(np.array([0, 1, 1, 1]), ("cat", "dog"))
        ('dog', 0.75)
    """
    counts = np.bincount(labels, minlength=len(class_names))
    most = int(counts.argmax())
    return class_names[most], float(counts[most] / len(labels))


Watch: TypeAlias = Callable[[Batch], np.ndarray]
"""Gives the probabilities of a batch as the model does, and looks into it on the way."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Predictions on labelled images and what follows from them.

    Args:
        class_names: one for each class.
        names: one for each image.
        labels: index of the true class, `(N,)`.
        probabilities: `(N, C)`.
        skipped: names of the images that could not be read, which are in none of the above, and
            why.
        trained_on: the evaluation of those that the network is known to have been trained on, which
            are in none of the above either; `None` where it is not known which these are.
        trained_on_complete: whether every image that it was trained on is noted, so that it was
            trained on none of the others, as far as images can be known again.
    """

    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    skipped: Mapping[str, str] = dataclasses.field(default_factory=dict)
    trained_on: "Evaluation | None" = None
    trained_on_complete: bool = False

    def set_apart(self, names: Collection[str], complete: bool = True) -> "Evaluation":
        """The evaluation without these images, which the network was trained on.

        Args:
            names: of images; others than are here do not matter.
            complete: whether they are all that it was trained on.

        Returns:
            The evaluation of the other images, which may be none; that of these is its
            `trained_on`.
        """
        names = set(names)
        seen = np.array([name in names for name in self.names], bool)
        apart = dataclasses.replace(self._take(seen), skipped={})
        rest = self._take(~seen)
        return dataclasses.replace(rest, trained_on=apart, trained_on_complete=complete)

    def _take(self, chosen: np.ndarray) -> "Evaluation":
        """The evaluation of some images, `(N,)` bool."""
        names = tuple(name for name, wanted in zip(self.names, chosen, strict=True) if wanted)
        return dataclasses.replace(
            self,
            names=names,
            labels=self.labels[chosen],
            probabilities=self.probabilities[chosen],
        )

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
    def majority(self) -> tuple[str, float]:
        """The class with the most images, and the share of the images that are of it, 0 to 1.

        That share is the score of who always says this class: what a network knows is what it has
        above it.
        """
        return find_majority(self.labels, self.class_names)

    @property
    def per_class(self) -> list[dict[str, Any]]:
        """Name, images, precision, recall and F1 of each class; `None` where it has no images."""
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
                precision=float(precision) if images else None,
                recall=float(recall) if images else None,
                f1=float(f1) if images else None,
            )
            for name, precision, recall, f1, images in zip(self.class_names, *columns, strict=True)
        ]

    @property
    def absent(self) -> list[str]:
        """Names of the classes that have no images."""
        return [row["name"] for row in self.per_class if not row["images"]]

    @property
    def unrecognised(self) -> list[str]:
        """Names of the classes that have images, none of which is recognised."""
        return [row["name"] for row in self.per_class if row["recall"] == 0]

    @property
    def warnings(self) -> list[str]:
        """What the score hides, a sentence each.

        Images that cannot be read, and classes none of whose images is recognised.
        """
        found = []
        if self.skipped:
            whole = len(self.names) + len(self.skipped)
            if self.trained_on is not None:
                whole += len(self.trained_on.names)
            named = [f"{name}: {reason.rstrip('.')}" for name, reason in self.skipped.items()]
            more = f"; and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
            found.append(
                f"{len(named)} of {whole} images cannot be read and do not count: "
                f"{'; '.join(named[:SHOWN])}{more}."
            )
        if self.unrecognised:
            found.append(f"No image of {listed(self.unrecognised)} is recognised (recall 0).")
        return found

    @property
    def mistakes(self) -> np.ndarray:
        """Indices of the wrong predictions, the most confident first."""
        wrong = np.flatnonzero(self.predictions != self.labels)
        return wrong[np.argsort(-self.probabilities[wrong].max(axis=1), kind="stable")]

    def confused_pairs(self, count: int = 10) -> list[dict[str, Any]]:
        """Pairs of classes that are taken for each other, the most frequent first.

        Args:
            count: of pairs, at most.

        Returns:
            For each pair the names `true` and `predicted`, the `images` of the true class that were
            predicted as the other, and their `share` of the true class.
        """
        matrix = self.confusion
        wrong = matrix - np.diag(np.diag(matrix))
        totals = matrix.sum(axis=1)
        best = np.argsort(-wrong, axis=None, kind="stable")[:count]
        return [
            dict(
                true=self.class_names[row],
                predicted=self.class_names[column],
                images=int(wrong[row, column]),
                share=float(wrong[row, column] / totals[row]),
            )
            for row, column in zip(*np.unravel_index(best, wrong.shape), strict=True)
            if wrong[row, column]
        ]

    def calibration(self, bins: int = 15) -> list[dict[str, Any]]:
        """How often the network is right when it is so sure, for a reliability diagram.

        The confidence of a prediction is its largest probability. Bin `m` of `M` holds the images
        with a confidence in `((m - 1)/M, m/M]`.

        Args:
            bins: of equal width.

        Returns:
            For each bin that holds images, from the least confident: its edges `low` and `high`,
            the mean `confidence` in it, the `accuracy`, and the number of `images`.

        Reference:
            Guo et al., On calibration of modern neural networks, arXiv 1706.04599, section 2.
        """
        confidence = self.probabilities.max(axis=1).astype("float64")
        edges = np.linspace(0, 1, bins + 1)
        places = np.digitize(confidence, edges[1:-1], right=True)
        right = self.predictions == self.labels
        return [
            dict(
                low=float(edges[place]),
                high=float(edges[place + 1]),
                confidence=float(confidence[places == place].mean()),
                accuracy=float(right[places == place].mean()),
                images=int((places == place).sum()),
            )
            for place in np.unique(places)
        ]

    @property
    def calibration_error(self) -> float:
        """Expected calibration error with 15 bins, 0 to 1: `Σ n_m/n |accuracy_m - confidence_m|`.

        Reference:
            Guo et al., arXiv 1706.04599, equation 3.
        """
        rows = self.calibration()
        gaps = (row["images"] * abs(row["accuracy"] - row["confidence"]) for row in rows)
        return sum(gaps) / len(self.labels)

    def summary(self) -> dict[str, Any]:
        """Images, top-1, top-5, loss, calibration error, and how many images do not count in them.

        `baseline` is the top-1 of who always says `majority_class`. `skipped` could not be read,
        `trained_on` were trained on (`None` where that is not known), and `trained_on_complete`
        says whether these are all; `top1_with_trained_on` is the score with them, where there are
        any. With fewer than five classes every image is in top-5. Where no image counts, there are
        no scores.
        """
        numbers: dict[str, Any] = dict(images=len(self.labels))
        if numbers["images"]:
            name, share = self.majority
            numbers |= dict(
                top1=self.top1,
                baseline=share,
                majority_class=name,
                top5=self.top(5),
                loss=self.loss,
                calibration_error=self.calibration_error,
            )
        numbers |= dict(
            skipped=len(self.skipped),
            trained_on=None if self.trained_on is None else len(self.trained_on.labels),
            trained_on_complete=self.trained_on_complete,
        )
        if self.trained_on is not None and len(self.trained_on.labels):
            numbers["top1_with_trained_on"] = self.top1_with_trained_on
        return numbers

    @property
    def top1_with_trained_on(self) -> float:
        """Share of all images that are right, those that were trained on among them, 0 to 1."""
        parts = (self, self.trained_on) if self.trained_on is not None else (self,)
        right = sum(int((part.predictions == part.labels).sum()) for part in parts)
        return right / sum(len(part.labels) for part in parts)


def compare(first: Evaluation, second: Evaluation) -> PairedDifference:
    """The difference of two evaluations of the same images.

    Raises:
        ValueError: they are of other images.
    """
    if first.names != second.names:
        raise InputError("Only evaluations of the same images in the same order can be compared.")
    before, after = (e.predictions == e.labels for e in (first, second))
    return PairedDifference(
        won=int((~before & after).sum()),
        lost=int((before & ~after).sum()),
        both=int((before & after).sum()),
        neither=int((~before & ~after).sum()),
    )


def describe_seen(about: Mapping[str, Any]) -> Iterator[str]:
    """What to say of the images that were trained on, and of how the others were found.

    Args:
        about: `split`, and `trained_on`, `trained_on_complete` and `top1_with_trained_on` as
            `Evaluation.summary` gives them; `own_split`, whether the images are those of the
            training, split as they were then; `seed`, where they were split for this.

    Yields:
        Sentences.
    """
    count, complete = about["trained_on"], about["trained_on_complete"]
    training = about["split"] == "train" and about.get("own_split")
    if count is None:
        yield "Whether it was trained on some of them is not known."
    elif training:
        yield f"It was trained on {count} of them: that is no score on images it has not seen."
    elif count:
        were, do, them = ("was", "does", "it") if count == 1 else ("were", "do", "them")
        share = about.get("top1_with_trained_on")
        score = "" if share is None else f"; with {them} the score would be {share:.2%}"
        yield f"{count} more {were} trained on and {do} not count{score}."
    if count is not None and not training and not complete:
        yield "Not every image that it was trained on is noted: some of these may be among them."
    if "seed" in about:
        drawn = f"The images were split at random for this (seed {about['seed']})"
        yield f"{drawn}, not as in training."


def evaluate(
    model: Any,
    source: Source,
    preprocessing: Preprocessing,
    class_names: tuple[str, ...],
    *,
    batch_size: int = 64,
    workers: int = 0,
    label: str = "evaluating",
    watch: Watch | None = None,
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
        watch: predicts in place of the model, to look into it on the way.

    Returns:
        An `Evaluation`.

    Raises:
        ValueError: the source is empty, or none of its images can be read.
    """
    if not len(source):
        raise InputError("There are no images to evaluate on.")
    read, probabilities = predictions(
        model, source, preprocessing, len(class_names), batch_size, workers, label, watch
    )
    return evaluation_of(source, class_names, read, probabilities)


def predictions(
    model: Any,
    source: Source,
    preprocessing: Preprocessing,
    n_classes: int,
    batch_size: int = 64,
    workers: int = 0,
    label: str = "evaluating",
    watch: Watch | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Which images of a source can be read, `(N,)` bool, and for each probabilities `(N, C)`.

    Those of images that cannot be read are 0. A `watch` predicts in place of the model.
    """
    predict = watch or (lambda batch: model.predict_on_batch(batch.images))
    read = np.zeros(len(source), bool)
    probabilities = np.zeros((len(source), n_classes), "float32")
    for batch in batches(source, preprocessing, n_classes, batch_size, workers, label):
        probabilities[batch.indices] = predict(batch)
        read[batch.indices] = True
    return read, probabilities


def batches(
    source: Source,
    preprocessing: Preprocessing,
    n_classes: int,
    batch_size: int = 64,
    workers: int = 0,
    label: str = "evaluating",
    bad: set[int] | None = None,
) -> Iterator[Batch]:
    """All images of a source that can be read, in order, with progress as the label says.

    Indices of those that cannot be read are added to `bad`.
    """
    given = evaluation_batches(
        source, preprocessing, batch_size=batch_size, n_classes=n_classes, workers=workers
    )
    with meter(label, len(source)) as progress, contextlib.closing(given):
        for batch in given:
            if bad is not None:
                bad.update(batch.bad.tolist())
            if len(batch.images):
                yield batch
            progress.advance(len(batch.images) + len(batch.bad))


def evaluation_of(
    source: Source,
    class_names: tuple[str, ...],
    read: np.ndarray,
    probabilities: np.ndarray,
    explain: Callable[[int], str] | None = None,
) -> Evaluation:
    """The evaluation of the predictions that `predictions` made.

    Args:
        source: of the images.
        class_names: one for each class.
        read: which images could be read, `(N,)` bool.
        probabilities: for each image, `(N, C)`.
        explain: says for the index of an image why it cannot be read; without, it is read again.

    Raises:
        ImageError: none of the images could be read.
    """
    explain = explain or functools.partial(explain_damage, source)
    if not read.any():
        first = ", ".join(source.names[:SHOWN])
        reason = explain(0)
        raise ImageError(f"None of the {len(source)} images can be read: {first}. {reason}")
    skipped = {source.names[i]: explain(i) for i in np.flatnonzero(~read).tolist()}
    names = tuple(source.names[i] for i in np.flatnonzero(read).tolist())
    return Evaluation(class_names, names, source.labels[read], probabilities[read], skipped)
