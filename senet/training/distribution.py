"""One run on several devices or in several processes, each with its share of every batch, on JAX.

The engine is `keras.distribution`: every process holds the whole network, reads its share of every
batch, and the gradients are those of the whole batch. What is here joins the processes and lets
them agree on what each of them must do in the same step; `processes.py` starts them.
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from senet.errors import InputError
from senet.training.processes import PROCESSES


@dataclasses.dataclass(frozen=True)
class Team:
    """The processes of a run, and the devices that they have together.

    Args:
        rank: number of this process, from 0; the first writes the files.
        size: how many processes there are.
        devices: how many devices, of all processes.
    """

    rank: int = 0
    size: int = 1
    devices: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes the files."""
        return self.rank == 0

    @property
    def part(self) -> tuple[int, int]:
        """Rank and size, as `training_batches` wants them."""
        return self.rank, self.size

    def gather(self, array: np.ndarray) -> np.ndarray:
        """The arrays of all processes, `(size, ...)`; each has the same shape.

        Every process must call this at the same place of its work.
        """
        if self.size == 1:
            return array[None]
        from jax.experimental import multihost_utils

        return np.asarray(multihost_utils.process_allgather(array))

    def largest(self, *numbers: int) -> list[int]:
        """Of each of these numbers the largest that a process gives."""
        return self.gather(np.array(numbers, "int32")).max(axis=0).tolist()

    def union(self, numbers: Sequence[int] | np.ndarray) -> list[int]:
        """All whole numbers, from 0, that the processes give, each once, in rising order."""
        longest = self.largest(len(numbers))[0]
        mine = np.full(longest, -1, "int32")
        mine[: len(numbers)] = numbers
        return sorted(set(self.gather(mine).ravel().tolist()) - {-1})

    def wait(self) -> None:
        """Go on when every process is here."""
        self.gather(np.zeros(1, "int32"))  # no array is there before all have sent theirs


@contextlib.contextmanager
def join_processes() -> Iterator[Team]:
    """Join the processes that the environment names, and share batches among all devices.

    A single process with several devices shares batches among those. Where there is one device, or
    a distribution was set already, nothing is changed.

    Raises:
        ValueError: several processes are wanted and the backend is not JAX.
    """
    size = int(os.environ.get(PROCESSES) or 1)
    if keras.backend.backend() != "jax":
        if size > 1:
            raise InputError(
                f"Several processes train together on JAX, and Keras uses "
                f"{keras.backend.backend()}: set KERAS_BACKEND=jax."
            )
        yield Team()
        return
    import jax

    if size > 1 and not jax.distributed.is_initialized():
        keras.distribution.initialize()
    devices = len(keras.distribution.list_devices())
    before = keras.distribution.distribution()
    if devices > 1 and before is None:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    try:
        yield Team(jax.process_index(), jax.process_count(), devices)
    finally:
        keras.distribution.set_distribution(before)


@contextlib.contextmanager
def use_one_device() -> Iterator[None]:
    """Build and run what is in the body on one device of this process."""
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(before)
