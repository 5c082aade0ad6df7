"""What this machine could do: its matrix product and its copying of memory, measured.

A convolution is a sum of products. A large matrix product is what a library computes fastest, for
it reads each value from fast memory many times; what lies between convolutions can be done on the
way at best, and then the maps of convolutions and the weights are all that moves. So the product of
the backend gives a limit of the images per second, and the bytes tell whether memory could be one.
Another library, as OpenVINO, may have faster products than the backend, and come to more than 1.
"""

import concurrent.futures
import dataclasses
import time
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from keras import ops

from senet import machine
from senet.training.memory import computes_on_cpu

SIDES = (1024, 2048, 4096, 8192, 16384)
"""Of the matrices: the next one is taken while a product is over in `ENOUGH`."""
ENOUGH = 0.1
"""Seconds of one product, at least about."""
COPIED = 2**27
"""Bytes of each of two arrays that are copied into one: more than any cache holds."""
ROUNDS = 5
"""Of which the fastest counts: it is a limit."""
FORWARD, TRAINING = 2, 6
"""Operations for one multiply-add: a product and a sum; in training again for the gradient of the
maps and for that of the weights."""
MAPS_FORWARD, MAPS_TRAINING = 2, 6
"""How often each map of a convolution moves: written and read; in training read once more for the
gradient of the weights, its own gradient written, and read for both gradients."""
WEIGHTS_FORWARD, WEIGHTS_TRAINING = 1, 2
"""How often weights are read in the precision of the step."""
UPDATE = 5
"""How often four bytes of each weight move in an update: the gradient is read, momentum and weight
are read and written."""


@dataclasses.dataclass(frozen=True)
class Limits:
    """What the machine can do in one precision.

    Args:
        precision: `"float32"`, `"bfloat16"` or `"float16"`.
        operations: of a matrix product, products and sums per second.
        bytes: copied per second, reading and writing both counted.
    """

    precision: str
    operations: float
    bytes: float


@dataclasses.dataclass(frozen=True)
class Work:
    """What a step has to do, at least.

    Args:
        operations: products and sums of its convolutions and dense layers.
        bytes: that move where nothing but the maps of convolutions and the weights does.
    """

    operations: float
    bytes: float


class Cost(Protocol):
    """What a network costs for one image; `senet.complexity` gives it."""

    @property
    def multiply_adds(self) -> int:
        """Of one forward pass."""

    @property
    def activations(self) -> int:
        """Values that convolutions and dense layers give out."""

    @property
    def parameters(self) -> int:
        """All weights."""

    @property
    def trainable_parameters(self) -> int:
        """Those that training changes."""


def count_work(cost: Cost, batch_size: int, width: int, *, training: bool) -> Work:
    """What a step of a network has to do, at least.

    Args:
        cost: of the network, for one image.
        batch_size: images in a step.
        width: bytes of a value of a map.
        training: whether it is a step of training, and not of inference.

    Example:
        >>> cost = senet.complexity(senet.create("se_resnet50"))
        >>> round(count_work(cost, 1, 2, training=True).operations / 1e9, 1)
        23.2
    """
    maps, reads = (MAPS_TRAINING, WEIGHTS_TRAINING) if training else (MAPS_FORWARD, WEIGHTS_FORWARD)
    update = 4 * UPDATE * cost.trainable_parameters if training else 0
    return Work(
        operations=batch_size * cost.multiply_adds * (TRAINING if training else FORWARD),
        bytes=width * (batch_size * maps * cost.activations + reads * cost.parameters) + update,
    )


def measure_limits(precision: str) -> Limits:
    """Multiply matrices, by the backend of Keras, and copy memory, in this process.

    Args:
        precision: of the values.
    """
    return Limits(precision, _measure_product(precision), _measure_copying(precision))


def _measure_product(precision: str) -> float:
    for side in SIDES:
        matrices = [_make_array((side, side), precision, seed) for seed in range(2)]
        seconds = _time_fastest(ops.matmul, *matrices)
        if seconds > ENOUGH:
            break
    return 2 * side**3 / seconds


def _measure_copying(precision: str) -> float:
    """Of the memory that Keras computes in."""
    if not computes_on_cpu():
        values = COPIED // (2 if "16" in precision else 4)
        parts = [_make_array((values,), precision, seed) for seed in range(2)]
        return 4 * COPIED / _time_fastest(ops.concatenate, parts)
    # Not by the backend: some ask the system for new memory each time, which takes longer than
    # copying. A thread for each core, for NumPy copies with one.
    source, target = np.ones(2 * COPIED, "uint8"), np.zeros(2 * COPIED, "uint8")
    cores = machine.count_usable_cores()
    pairs = np.array_split(target, cores), np.array_split(source, cores)
    with concurrent.futures.ThreadPoolExecutor(cores) as threads:

        def copy() -> np.ndarray:
            list(threads.map(np.copyto, *pairs))
            return target[:1]

        return 4 * COPIED / _time_fastest(copy)


def _make_array(shape: tuple[int, ...], precision: str, seed: int) -> Any:
    values = np.random.default_rng(seed).random(shape, "float32")
    return ops.cast(values, precision)


def _time_fastest(function: Callable[..., Any], *arguments: Any) -> float:
    """Seconds of the fastest call, until a value of what it gives is there."""
    found = []
    for _ in range(ROUNDS + 1):  # the first one warms up, and never is the fastest
        started = time.perf_counter()
        float(ops.cast(ops.ravel(function(*arguments))[0], "float32"))
        found.append(time.perf_counter() - started)
    return min(found)
