"""One step of training that leaves nothing behind if it is no finite number."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from senet.data.pipeline import Batch
from senet.training.averaging import Average

LOSS, GRADIENT = "the loss", "a gradient"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a step.

    Args:
        loss: mean over the batch.
        accuracy: share of the batch, 0 to 1.
        not_finite: what is no finite number, in words; `None` where the network was changed.
    """

    loss: float
    accuracy: float
    not_finite: str | None


class GuardedStep:
    """Trains on one batch; where loss or gradients are no finite numbers all stays as it was.

    The optimizer's guard keeps such gradients from the weights. What is left to put back is what a
    step changes beside them: running statistics of the norms, random states, the learning rate.

    Args:
        model: the network, compiled; it is trained.
        optimizer: of the network.
        others: variables that a step changes beside the weights.
        class_weights: in the loss, one for each class; `None` weighs all images alike.
        average: of the weights; `None` is none.
        accumulate: steps whose gradients make one update.
        loss_scaling: whether the optimizer lowers its scale in ordinary work, as with float16;
            else it does only for a gradient that is no finite number.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.LossScaleOptimizer,
        *,
        others: Sequence[Any],
        class_weights: np.ndarray | None = None,
        average: Average | None = None,
        accumulate: int = 1,
        loss_scaling: bool = False,
    ) -> None:
        self.model, self.optimizer, self.average = model, optimizer, average
        self.class_weights, self.accumulate = class_weights, accumulate
        self.loss_scaling = loss_scaling
        self.others = list(others)
        if not loss_scaling:
            self.others += [optimizer.dynamic_scale, optimizer.step_counter]

    def __call__(self, batch: Batch, learning_rate: float) -> Outcome:
        """Train on a batch.

        Args:
            batch: images and targets.
            learning_rate: of this step.

        Returns:
            Its `Outcome`; the network was changed if that has nothing that is not finite.
        """
        before = [copy_value(v) for v in self.others]
        rate = copy_value(self.optimizer.learning_rate)
        scale, updates = self._read_scale(), self._count_updates()
        self.optimizer.learning_rate = learning_rate
        loss, accuracy = self._train_batch(batch)
        infinite = not math.isfinite(loss)
        # A halved scale is the only trace that a gradient leaves which was no finite number.
        if infinite or (self._read_scale() < scale and not self.loss_scaling):
            for variable, value in zip(self.others, before, strict=True):
                variable.assign(value)
            self.optimizer.learning_rate = rate
            return Outcome(loss, accuracy, LOSS if infinite else GRADIENT)
        if self.average and self._count_updates() > updates:
            self.average.update(updates)
        return Outcome(loss, accuracy, None)

    def _train_batch(self, batch: Batch) -> tuple[float, float]:
        """Loss and accuracy of the batch, before the step that it makes."""
        weights = self.class_weights
        self.model.reset_metrics()  # so that they are of this batch, in every Keras
        logs = self.model.train_on_batch(
            batch.images,
            batch.targets,
            sample_weight=None if weights is None else batch.targets @ weights,
            return_dict=True,
        )
        return float(logs["loss"]), float(logs["accuracy"])

    def _count_updates(self) -> int:
        """How often the average was to follow.

        Keras counts updates, not steps, so that where several steps make an update the average
        follows only every so many-th of them. Runs that began like this go on like this.
        """
        return int(keras.ops.convert_to_numpy(self.optimizer.iterations)) // self.accumulate

    def _read_scale(self) -> float:
        """By what the loss is multiplied."""
        return float(keras.ops.convert_to_numpy(self.optimizer.dynamic_scale))


def copy_value(variable: Any) -> np.ndarray:
    """The value of a variable, in memory of its own: that of a backend may change with it."""
    return np.array(keras.ops.convert_to_numpy(variable))


def compile_network(
    model: keras.Model, optimizer: keras.optimizers.Optimizer, smoothing: float
) -> None:
    """Set the loss of the network, and its optimizer."""
    loss = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    # On TensorFlow with a GPU Keras would choose XLA, which no run of ours has been tried with.
    jit_compile = "auto" if keras.backend.backend() == "jax" else False
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=jit_compile)


def weigh_classes(labels: np.ndarray, n_classes: int) -> np.ndarray:
    """Weight of each class in the loss: `N / (n_classes * n)` with `n` of `N` images in the class.

    Args:
        labels: of the training images, `(N,)`.
        n_classes: how many classes there are; one without images has the weight of one image.

    Returns:
        `(n_classes,)` float32; where every class has images, their mean over the images is 1.
    """
    counts = np.bincount(labels, minlength=n_classes)
    return (len(labels) / (n_classes * np.maximum(1, counts))).astype("float32")
