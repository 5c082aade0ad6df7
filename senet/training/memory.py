"""Whether a step fits into memory, asked before the training.

The system ends a process that asks for more than there is, without a word.
"""

import keras

from senet import machine
from senet.errors import CapacityError
from senet.models.complexity import complexity

KEPT = 2.5
"""Bytes that a step takes, at least, for each byte that convolutions give out.

Measured on TensorFlow: 2.7 for SE-ResNet-50 with 32 images of 224 pixels, 3.8 to 7.1 for smaller
networks, images and batches.
"""
COPIES = 3
"""Of the weights: they, their gradients and the momentum."""
ROOM = 0.6
"""Share of the memory that the advice fills."""


def require_step_fits(
    model: keras.Model,
    batch_size: int,
    accumulate: int | None,
    devices: int = 1,
) -> None:
    """Refuse batches that take more memory than there is, and say which do not.

    Only on a CPU: what graphics cards have is not asked for, and they say it themselves.

    Args:
        model: to be trained.
        batch_size: images in a step.
        accumulate: steps whose gradients make one update; `None` where there is nothing but a step,
            which may have any size.
        devices: that share a batch; it must be a multiple of their number.

    Raises:
        CapacityError: the step does not fit.
    """
    if not computes_on_cpu():
        return
    cost, there = complexity(model), machine.count_memory()
    width = 2 if "16" in keras.config.dtype_policy().name else 4
    weights = COPIES * 4 * cost.parameters
    image = KEPT * width * cost.activations
    needed = weights + batch_size * image
    if needed <= there:
        return
    side = model.input_shape[1]
    told = (
        f"A step of {batch_size} images of {side} x {side} pixels takes about "
        f"{needed / 2**30:,.0f} GiB, and there are {there / 2**30:,.0f} GiB of memory."
    )
    parts = accumulate and accumulate * batch_size
    fitting = [
        size
        for size in range(devices, batch_size, devices)
        if (parts is None or parts % size == 0) and weights + size * image <= ROOM * there
    ]
    if not fitting:
        raise CapacityError(f"{told} Choose a smaller network, or smaller images by --size.")
    size = fitting[-1]
    if parts is None:
        raise CapacityError(f"{told} Choose --batch-size {size} or less.")
    raise CapacityError(
        f"{told} Gather the gradients of smaller batches, which gives as many images for each "
        f"update and the same learning rate: --batch-size {size} --accumulate {parts // size} "
        f"(about {(weights + size * image) / 2**30:.1f} GiB)."
    )


def computes_on_cpu() -> bool:
    """Whether Keras has nothing but the processor to compute on."""
    if keras.backend.backend() == "torch":
        import torch

        return not (torch.cuda.is_available() or torch.backends.mps.is_available())
    devices = keras.distribution.list_devices()
    return all(name.lower().startswith("cpu") for name in devices)
