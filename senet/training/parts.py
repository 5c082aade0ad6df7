"""A run and its parts, as records: what `setup.py` makes and all other files of this room use."""

import dataclasses
import fnmatch
import pathlib
from collections.abc import Generator
from typing import Protocol

import keras

from senet.data.pipeline import Batch
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data
from senet.data.trained_on import TrainedOn
from senet.errors import InputError
from senet.training.averaging import Average
from senet.training.distribution import Team
from senet.training.optimization import Schedule
from senet.training.state import State
from senet.training.step import GuardedStep
from senet.training.validation import Validation


class Diverged(InputError):
    """The loss, a gradient or a weight stopped being a finite number."""


class ReadBatches(Protocol):
    """Reads training images."""

    def __call__(self, *, epoch: int, first: int = 0) -> Generator[Batch, None, None]:
        """Batches of an epoch, from 0, starting with the batch `first`."""


@dataclasses.dataclass(frozen=True)
class Network:
    """The network that is trained.

    Args:
        model: of Keras.
        preprocessing: makes its inputs of images.
    """

    model: keras.Model
    preprocessing: Preprocessing

    def freeze(self, patterns: tuple[str, ...]) -> None:
        """Keep layers as they are; frozen norms use their running statistics.

        Raises:
            ValueError: a pattern fits no layer, or nothing is left to train.
        """
        for pattern in patterns:
            layers = [
                layer for layer in self.model.layers if fnmatch.fnmatchcase(layer.name, pattern)
            ]
            if not layers:
                some = ", ".join(layer.name for layer in self.model.layers if layer.weights)[:120]
                raise InputError(
                    f"No layer is called {pattern!r}, as freeze says; there are {some}..."
                )
            for layer in layers:
                layer.trainable = False
        if not self.model.trainable_variables:
            raise InputError(f"freeze={','.join(patterns)} leaves nothing to train.")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How much a run does, and what it is called where people read of it.

    Args:
        model: name of the network.
        data: where the images lie.
        size: of an input, pixels.
        epochs: passes over the training images.
        batch_size: images in a step, of all processes together.
        workers: processes that read images.
        save_seconds: between checkpoints within an epoch.
        skip_steps: whether a step that is no finite number is passed over instead of ending the
            run.
        tensorboard: whether event files are written.
        peak_rule: how the highest learning rate follows from the batch, if it does.
    """

    model: str
    data: str
    size: int
    epochs: int
    batch_size: int
    workers: int
    save_seconds: float
    skip_steps: bool
    tensorboard: bool
    peak_rule: str | None


@dataclasses.dataclass(frozen=True)
class Run:
    """A training run with all its parts; only `state` and the variables of Keras change.

    Args:
        folder: of the run.
        team: the processes that share the work; all of them do all of it, but files are written by
            the one that leads only.
        data: that is trained on.
        network: that is trained.
        average: of its weights, if there is one.
        scorer: gives the answers of `scored_model`; its twin, unless the recipe turns that off.
        optimizer: of the network.
        schedule: of the learning rate.
        step: trains on a batch.
        read_batches: of training images.
        validation: scores the network.
        plan: how much is done.
        trained_on: which images it is trained on.
        state: where the run stands.
    """

    folder: pathlib.Path
    team: Team
    data: Data
    network: Network
    average: Average | None
    scorer: keras.Model
    optimizer: keras.optimizers.LossScaleOptimizer
    schedule: Schedule
    step: GuardedStep
    read_batches: ReadBatches
    validation: Validation
    plan: Plan
    trained_on: TrainedOn
    state: State

    @property
    def scored_model(self) -> keras.Model:
        """What is saved and scored: the average of the weights where there is one."""
        return self.average.model if self.average else self.network.model

    def describe_divergence(self, when: str, what: str, kept: str) -> Diverged:
        """The error for a number that is no finite one.

        Args:
            when: it was found, as `"In step 7"`.
            what: it is, as `"the loss"`.
            kept: what is kept all the same, in a sentence.
        """
        return Diverged(
            f"{when} (epoch {self.state.epoch + 1}) {what} is infinite or no number. {kept} Try a "
            f"lower learning rate than {self.schedule.peak:g}, a longer warm-up or --clip-norm 1."
        )
