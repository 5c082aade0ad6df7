"""Statistics of gates over a data set, in one pass and without keeping the gates."""

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from senet.data.pipeline import Batch
from senet.errors import InputError, one_family
from senet.explanation.ends import gate_ends
from senet.explanation.gates import OUTPUTS, as_inputs, gate_model, split
from senet.explanation.sampling import sample_classes
from senet.models.graph import se_blocks

NEAR = 0.05
"""Share of a gate's range that counts as near its end: below 0.05 and above 0.95 for a sigmoid."""
CONSTANT = 0.01
"""Standard deviation over images, in shares of the range, below which a channel is constant."""
DEAD = 0.01
"""Gate that a dead channel never exceeds."""
VARIES = 1e-6
"""Standard deviation, in shares of the range, up to which a channel differs by rounding only."""
SHUFFLES = 5
"""Times that labels are shuffled, to see what share of the variance lies between any classes."""
THRESHOLDS = dict(near=NEAR, constant=CONSTANT, dead=DEAD, shuffles=SHUFFLES)
"""All of them, for those who write about the numbers."""


@dataclasses.dataclass
class GateStatistics:
    """Sums over the gates of one block, class by class.

    Args:
        name: of the layer that scales.
        ends: smallest and largest value that a gate can have: 0 and 1 for a sigmoid, 0 and 2 where
            it is doubled as by `senet.insert`, -1 and 1 for tanh, 0 and infinity for ReLU.
        count: images of each class, `(K,)`.
        total: sum over the images of each class, `(K, C)`.
        squares: sum of squares, `(K, C)`.
        shuffled_count: as `count`, of labels that were shuffled, `(S, K)` for `S` times.
        shuffled_total: as `total`, `(S, K, C)`.
        largest: size of the gate of each channel, `(C,)`.
        low: number of gates near the smallest value: closer than a twentieth of the range.
        high: number near the largest; none where there is no largest.

    Example:
        >>> images, labels = np.random.default_rng(0).random((20, 32, 32, 3)), np.arange(20) % 10
        >>> model = senet.SEResNet18(classes=10, input_shape=(32, 32, 3))
        >>> block = senet.gate_statistics(model, images, labels)["stage4_block1_se_scale"]
        >>> block.class_means.shape
        (10, 512)
        >>> channel = np.nanargmax(block.specificity)  # the one that tells classes apart best
    """

    name: str
    ends: tuple[float, float]
    count: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    shuffled_count: np.ndarray
    shuffled_total: np.ndarray
    largest: np.ndarray
    low: int = 0
    high: int = 0

    @classmethod
    def empty(
        cls, name: str, ends: tuple[float, float], classes: int, channels: int
    ) -> "GateStatistics":
        """Statistics of no image yet."""
        total, squares = np.zeros((2, classes, channels))
        shuffled = np.zeros((SHUFFLES, classes), "int64"), np.zeros((SHUFFLES, classes, channels))
        count = np.zeros(classes, "int64")
        return cls(name, ends, count, total, squares, *shuffled, np.zeros(channels))

    def add(self, gates: np.ndarray, labels: np.ndarray, shuffled: np.ndarray) -> None:
        """Count the gates `(N, C)` of images with these labels `(N,)`, shuffled ones `(S, N)`."""
        gates = gates.astype("float64")
        classes = np.arange(len(self.count))
        own = (labels == classes[:, None]).astype("float64")  # a product of matrices adds up
        self.count += own.sum(axis=1).astype("int64")
        self.total += own @ gates
        self.squares += own @ gates**2
        others = (shuffled[:, None] == classes[:, None]).astype("float64")
        self.shuffled_count += others.sum(axis=2).astype("int64")
        self.shuffled_total += others @ gates
        self.low += int((gates < self.ends[0] + NEAR * self.range).sum())
        self.high += int((gates > self.ends[1] - NEAR * self.range).sum())
        self.largest = np.maximum(self.largest, np.abs(gates).max(axis=0))

    @property
    def range(self) -> float:
        """Width of the range of a gate; 1 where it has no end."""
        width = self.ends[1] - self.ends[0]
        return width if math.isfinite(width) else 1.0

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.count.sum())

    @property
    def mean(self) -> np.ndarray:
        """Mean gate over all images, `(C,)`."""
        return self.total.sum(axis=0) / self.images

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over all images, `(C,)`."""
        return np.sqrt(np.maximum(self.squares.sum(axis=0) / self.images - self.mean**2, 0))

    @property
    def class_means(self) -> np.ndarray:
        """Mean gate of each class, `(K, C)`; NaN for a class without images."""
        return self.total / np.where(self.count, self.count, np.nan)[:, None]

    @property
    def class_spread(self) -> np.ndarray:
        """Standard deviation within each class, `(K, C)`; NaN for a class without images."""
        squares = self.squares / np.where(self.count, self.count, np.nan)[:, None]
        return np.sqrt(np.maximum(squares - self.class_means**2, 0))

    @property
    def saturation(self) -> tuple[float, float]:
        """Shares of all gates that are near the smallest and the largest value, 0 to 1."""
        number = self.images * len(self.largest)
        return self.low / number, self.high / number

    @property
    def dead(self) -> np.ndarray:
        """Which channels are switched off: no gate is larger than 0.01, `(C,)` bool."""
        return self.largest <= DEAD

    @property
    def constant(self) -> np.ndarray:
        """Which channels hardly vary and are not dead, `(C,)` bool.

        The standard deviation over images is below a hundredth of the range.
        """
        return (self.spread < CONSTANT * self.range) & ~self.dead

    @property
    def specificity(self) -> np.ndarray:
        """Share of the variance between classes, eta squared, of each channel `(C,)`, 0 to 1.

        `sum_k n_k (mean_k - mean)^2 / sum_i (gate_i - mean)^2`; NaN for a channel that does not
        vary. Where classes play no part it is `(K - 1) / (N - 1)` on average for `K` classes and
        `N` images, not 0.

        Reference:
            Fisher, Statistical Methods for Research Workers, 1925 (the correlation ratio).
        """
        varies = self.spread > VARIES * self.range
        between, whole = self._between(self.count, self.total), self.images * self.spread**2
        return np.where(varies, between / np.where(varies, whole, 1), np.nan)

    @property
    def block_specificity(self) -> float:
        """Share of the variance of all channels together that lies between classes, 0 to 1.

        It is the mean of `specificity` weighted by variance; 0 where no channel varies.
        """
        return float(self._share(self.count, self.total))

    @property
    def shuffled_specificity(self) -> np.ndarray:
        """What `block_specificity` is with labels that were shuffled, each time, `(S,)`.

        It says how large a share is where classes play no part: with few images of each class, a
        large one.
        """
        return self._share(self.shuffled_count, self.shuffled_total)

    @property
    def specificity_beyond_chance(self) -> float:
        """`block_specificity` without what shuffled labels give, 0 to 1.

        `(share - chance) / (1 - chance)`, 0 where that is negative.
        """
        chance = float(self.shuffled_specificity.mean())
        return max(0.0, (self.block_specificity - chance) / (1 - chance)) if chance < 1 else 0.0

    def _share(self, count: np.ndarray, total: np.ndarray) -> np.ndarray:
        """The share of the variance of all channels between classes `(...,)`."""
        if self.spread.max() <= VARIES * self.range:
            return np.zeros(count.shape[:-1])
        between = self._between(count, total).sum(axis=-1)
        return between / (self.images * self.spread**2).sum()

    def _between(self, count: np.ndarray, total: np.ndarray) -> np.ndarray:
        """Sum of squares between classes `(..., C)`, of `count` `(..., K)` and `total`."""
        away = total / np.maximum(count, 1)[..., None] - self.mean
        return (count[..., None] * away**2).sum(axis=-2)

    def profile(self) -> dict[str, Any]:
        """One line of the depth profile, plain numbers.

        `ends` of a gate, `None` where there is none; `mean` gate; `low` and `high`, the saturation;
        `variation`, the standard deviation over images in shares of the range, mean of the
        channels; `specificity` of the block, and what it is with `shuffled` labels, on average;
        `dead` and `constant` channels.
        """
        low, high = self.saturation
        return dict(
            block=self.name,
            channels=len(self.largest),
            ends=[end if math.isfinite(end) else None for end in self.ends],
            mean=float(self.mean.mean()),
            low=low,
            high=high,
            variation=float(self.spread.mean() / self.range),
            specificity=self.block_specificity,
            shuffled=float(self.shuffled_specificity.mean()),
            dead=int(self.dead.sum()),
            constant=int(self.constant.sum()),
        )


class GateCounter:
    """Adds the gates of batch after batch to the statistics of every block.

    Where nothing is squeezed, the gate of an image is its mean over the pixels. What is kept does
    not grow with the number of images.

    Args:
        model: a functional Keras model.
        labels: index of the class of each image that there is, `(N,)`; images with a negative one
            do not count.
        classes: that count, in rising order; by default at most `MOST_CLASSES` of those that the
            images have, evenly spread. Rows of the statistics are in this order.

    Raises:
        ValueError: the model is not functional, or has no squeeze-and-excitation blocks.
    """

    def __init__(
        self, model: keras.Model, labels: np.ndarray, classes: np.ndarray | None = None
    ) -> None:
        self.probe, names = gate_model(model, pooled=True)
        self.classes = sample_classes(labels) if classes is None else classes
        counted = np.isin(labels, self.classes)
        self.rows = np.where(counted, np.searchsorted(self.classes, labels), -1)
        rng = np.random.default_rng(0)
        self.shuffled = np.full((SHUFFLES, len(labels)), -1)
        self.shuffled[:, counted] = [rng.permutation(self.rows[counted]) for _ in range(SHUFFLES)]
        ends = gate_ends(model, se_blocks(model))
        self.blocks = {
            name: GateStatistics.empty(
                name, ends[name], len(self.classes), self.probe.output[name].shape[-1]
            )
            for name in names
        }

    def watch(self, batch: Batch) -> np.ndarray:
        """Count the gates of one batch of a source, as a `Watch` of `senet.evaluation`."""
        return self.add(batch.images, batch.indices)

    def add(self, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Count the gates of one batch, and give what the model itself says of it.

        Args:
            images: inputs of the model.
            indices: of these images among all that there are.
        """
        outputs = self.probe.predict_on_batch(images)
        counted = self.rows[indices] >= 0
        rows, shuffled = self.rows[indices][counted], self.shuffled[:, indices[counted]]
        if counted.any():
            for name, block in self.blocks.items():
                block.add(outputs[name][counted], rows, shuffled)
        return outputs[OUTPUTS]


@one_family()
def gate_statistics(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int = 32
) -> dict[str, GateStatistics]:
    """What the gates of a network do on labelled images, block by block.

    Args:
        model: a functional Keras model, of any placement of its blocks.
        images: inputs of the model, `(N, H, W, C)`.
        labels: index of the class of each image, `(N,)`.
        batch_size: images in a batch; gates are kept of one batch at a time, and seven numbers of
            8 bytes for each class and channel.

    Returns:
        `GateStatistics` of each block, in network order and by the name of the layer that scales:
        saturation near both ends, spread over images, class means, share of the variance between
        classes beside that with shuffled labels, dead and constant channels. Where nothing is
        squeezed, the gate of an image is its mean over the pixels.

    Raises:
        ValueError: the model is not functional or has no squeeze-and-excitation blocks, there are
            no images, or not one label for each.

    Example:
        >>> images, labels = np.random.default_rng(0).random((20, 32, 32, 3)), np.arange(20) % 10
        >>> model = senet.create("se_resnet20_cifar", classes=10)
        >>> found = senet.gate_statistics(model, images, labels)
        >>> low, high = found["stage3_block3_se_scale"].saturation  # shares of gates shut, open

    Reference:
        Hu et al., arXiv 1709.01507, section 7.2.
    """
    labels, inputs = np.asarray(labels), as_inputs(model, images)
    count = len(keras.tree.flatten(inputs)[0])
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InputError(
            f"There must be one index of a class for each image: labels (N,) of whole numbers from "
            f"0; got {count} images and labels {labels.shape} {labels.dtype}"
            f"{f', the smallest {labels.min()}' if labels.size else ''}."
        )
    counter, start = GateCounter(model, labels, np.arange(labels.max() + 1)), 0
    for batch in split(model, inputs, batch_size):
        counter.add(batch, np.arange(start, min(start + batch_size, count)))
        start += batch_size
    return counter.blocks


def require_finite(blocks: Iterable[GateStatistics]) -> None:
    """Refuse gates that are no finite numbers.

    Raises:
        ValueError: a gate was not.
    """
    for block in blocks:
        if not np.isfinite(block.squares).all():
            raise InputError(
                f"The gates of {block.name} are no finite numbers: the weights of the network, or "
                "the images, are not in order."
            )
