"""Statistics of gates over a data set, in one pass and without keeping the gates."""

import dataclasses
import math
from typing import Any

import keras
import numpy as np

from senet.errors import InputError
from senet.explanation.gates import gate_model
from senet.graph import inbound
from senet.models.graph import SEBlock, se_blocks

NEAR = 0.1
"""Share of a gate's range that counts as near its end."""
CONSTANT = 0.01
"""Standard deviation over images, in shares of the range, below which a channel is constant."""
DEAD = 0.01
"""Gate that a dead channel never exceeds."""


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
        largest: size of the gate of each channel, `(C,)`.
        low: number of gates near the smallest value: closer than a tenth of the range.
        high: number near the largest; none where there is no largest.

    Example:
        >>> images, labels = np.random.default_rng(0).random((20, 32, 32, 3)), np.arange(20) % 10
        >>> model = senet.SEResNet18(classes=10, input_shape=(32, 32, 3))
        >>> block = senet.gate_statistics(model, images, labels)["stage4_block1_se_scale"]
        >>> block.class_means.shape
        (10, 512)
        >>> channel = block.specificity.argmax()  # the one that tells classes apart best
    """

    name: str
    ends: tuple[float, float]
    count: np.ndarray
    total: np.ndarray
    squares: np.ndarray
    largest: np.ndarray
    low: int = 0
    high: int = 0

    @classmethod
    def empty(
        cls, name: str, ends: tuple[float, float], classes: int, channels: int
    ) -> "GateStatistics":
        """Statistics of no image yet."""
        total, squares = np.zeros((2, classes, channels))
        return cls(name, ends, np.zeros(classes, "int64"), total, squares, np.zeros(channels))

    def add(self, gates: np.ndarray, labels: np.ndarray) -> None:
        """Count the gates `(N, C)` of images with these labels `(N,)`."""
        gates = gates.astype("float64")
        np.add.at(self.count, labels, 1)
        np.add.at(self.total, labels, gates)
        np.add.at(self.squares, labels, gates**2)
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
        vary. Where classes play no part it is `chance` on average, not 0.

        Reference:
            Fisher, Statistical Methods for Research Workers, 1925 (the correlation ratio).
        """
        between, total = self._variation()
        varies = self.spread > 1e-6 * self.range
        return np.where(varies, between / np.where(varies, total, 1), np.nan)

    @property
    def block_specificity(self) -> float:
        """Share of the variance of all channels together that lies between classes, 0 to 1.

        It is the mean of `specificity` weighted by variance; 0 where no channel varies.
        """
        between, total = self._variation()
        return float(between.sum() / total.sum()) if self.spread.max() > 1e-6 * self.range else 0.0

    @property
    def chance(self) -> float:
        """What `specificity` is on average where classes play no part: `(K - 1) / (N - 1)`."""
        return ((self.count > 0).sum() - 1) / max(1, self.images - 1)

    def _variation(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squares between classes and in total, `(C,)` each."""
        seen = self.count > 0
        away = self.class_means[seen] - self.mean
        return (self.count[seen, None] * away**2).sum(axis=0), self.images * self.spread**2

    def profile(self) -> dict[str, Any]:
        """One line of the depth profile, plain numbers.

        `mean` gate; `low` and `high`, the saturation; `variation`, the standard deviation over
        images in shares of the range, mean of the channels; `specificity` of the block; `dead` and
        `constant` channels.
        """
        low, high = self.saturation
        return dict(
            block=self.name,
            channels=len(self.largest),
            mean=float(self.mean.mean()),
            low=low,
            high=high,
            variation=float(self.spread.mean() / self.range),
            specificity=self.block_specificity,
            dead=int(self.dead.sum()),
            constant=int(self.constant.sum()),
        )


class GateCounter:
    """Adds the gates of batch after batch to the statistics of every block.

    Where nothing is squeezed, the gate of an image is its mean over the pixels.

    Args:
        model: a functional Keras model.
        classes: number of them.

    Raises:
        ValueError: the model is not functional, or has no squeeze-and-excitation blocks.
    """

    def __init__(self, model: keras.Model, classes: int) -> None:
        self.probe, names = gate_model(model, pooled=True)
        ends = {block.scale: gate_ends(model, block) for block in se_blocks(model)}
        self.blocks = {
            name: GateStatistics.empty(name, ends[name], classes, self.probe.output[name].shape[-1])
            for name in names
        }

    def add(self, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Count the gates of one batch, and give what the model itself says of it."""
        outputs = self.probe.predict_on_batch(images)
        for name, block in self.blocks.items():
            block.add(outputs[name], labels)
        return outputs["outputs"]


def gate_statistics(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int = 32
) -> dict[str, GateStatistics]:
    """What the gates of a network do on labelled images, block by block.

    Args:
        model: a functional Keras model, of any placement of its blocks.
        images: inputs of the model, `(N, H, W, C)`.
        labels: index of the class of each image, `(N,)`.
        batch_size: images in a batch; gates are kept of one batch at a time.

    Returns:
        `GateStatistics` of each block, in network order and by the name of the layer that scales:
        saturation near both ends, spread over images, class means, share of the variance between
        classes, dead and constant channels. Where nothing is squeezed, the gate of an image is its
        mean over the pixels.

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
    labels = np.asarray(labels)
    if not len(images) or labels.shape != (len(images),) or labels.dtype.kind not in "iu":
        raise InputError(
            f"There must be images and one index of a class for each: labels (N,) of whole "
            f"numbers; got {len(images)} images and labels {labels.shape} {labels.dtype}."
        )
    counter = GateCounter(model, int(labels.max()) + 1)
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        counter.add(images[part], labels[part])
    return counter.blocks


def gate_ends(model: keras.Model, block: SEBlock) -> tuple[float, float]:
    """Smallest and largest value that a gate can have."""
    sources, name, scale = inbound(model), block.gate, 1.0
    while True:
        layer = model.get_layer(name)
        if isinstance(layer, keras.layers.Rescaling):
            scale *= float(layer.scale)
        activation = getattr(layer, "activation", None)
        if isinstance(layer, keras.layers.ReLU) or activation is keras.activations.relu:
            return 0.0, math.inf
        if activation is keras.activations.tanh:
            return -scale, scale
        if layer.weights or activation is keras.activations.sigmoid:
            return 0.0, scale
        name = sources[name][0]
