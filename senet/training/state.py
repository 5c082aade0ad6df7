"""The counters of a run: everything that changes in it, beside the variables of Keras."""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from senet.data.damage import BadImages
from senet.training.optimization import Plateau

SAVED = ("epoch", "position", "skipped", "losses", "accuracies", "history", "best")
"""Counters that a checkpoint has as they are."""


@dataclasses.dataclass
class State:
    """Where a run stands; saved with every checkpoint and restored from it.

    Args:
        steps_per_epoch: taken or skipped.
        bad_images: damaged images that were met.
        epoch: whole epochs so far.
        position: steps of the present epoch that were taken or skipped.
        skipped: steps in a row that were skipped.
        losses: of the steps of the present epoch.
        accuracies: of these steps, 0 to 1.
        history: a row of numbers for each whole epoch.
        best: validation accuracy of the best epoch, 0 to 1; -1 before the first.
        plateau: how long the validation loss has not been better.
        seconds: that the whole epochs took, and of the present one what was before a resume.
        began: when the present epoch began, or went on, by this process's clock.
        saved: when the last checkpoint was written, by the same clock.
    """

    steps_per_epoch: int
    bad_images: BadImages
    epoch: int = 0
    position: int = 0
    skipped: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    accuracies: list[float] = dataclasses.field(default_factory=list)
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    best: float = -1.0
    plateau: Plateau = dataclasses.field(default_factory=Plateau)
    seconds: float = 0.0
    began: float | None = None
    saved: float = dataclasses.field(default_factory=time.monotonic)

    @property
    def step(self) -> int:
        """Steps taken or skipped so far; the number of the next one, from 0."""
        return self.epoch * self.steps_per_epoch + self.position

    @property
    def seconds_so_far(self) -> float:
        """Seconds of training and validation, those of the present epoch too."""
        return self.seconds + (time.monotonic() - self.began if self.began is not None else 0)

    def count_step(self, loss: float, accuracy: float) -> None:
        """Take note of a step that changed the network."""
        self.skipped = 0
        self.losses.append(loss)
        self.accuracies.append(accuracy)

    def average_steps(self) -> tuple[float, float]:
        """Mean loss and accuracy of the steps of the present epoch; there must be one."""
        return float(np.mean(self.losses)), float(np.mean(self.accuracies))

    def begin_epoch(self) -> None:
        """Start the clock of an epoch, or of what is left of it."""
        self.began = time.monotonic()

    def stop_clock(self) -> float:
        """Add the time of the epoch to that of the run; the seconds since it began or went on."""
        lasted = time.monotonic() - self.began if self.began is not None else 0.0
        self.seconds, self.began = self.seconds_so_far, None
        return lasted

    def end_epoch(self, row: dict[str, Any]) -> bool:
        """Go to the next epoch; whether the one that ended was the best."""
        self.history.append(row)
        self.epoch, self.position = self.epoch + 1, 0
        self.losses, self.accuracies = [], []
        better = row["val_accuracy"] > self.best
        self.best = max(self.best, row["val_accuracy"])
        return better

    def to_json(self) -> dict[str, Any]:
        """What a run needs to go on, as plain JSON values; `restore` takes it."""
        return {name: getattr(self, name) for name in SAVED} | dict(
            seconds=self.seconds_so_far,
            schedule=dataclasses.asdict(self.plateau),
            bad_images=list(self.bad_images.indices),
        )

    def restore(self, values: Mapping[str, Any]) -> None:
        """Stand where the run stood whose `to_json` this is."""
        for name in (*SAVED, "seconds"):
            setattr(self, name, values[name])
        self.plateau = Plateau(**values["schedule"])
        self.bad_images.add("all", values["bad_images"])
