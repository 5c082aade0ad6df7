"""What decides how a network is rounded: versions, processor, cores, threads, devices."""

import collections
import os
import platform
import sys
from importlib import metadata
from typing import Any

import keras

import senet
from senet.machine import count_usable_cores

PACKAGES = ("keras", "numpy", "grain", "pillow")
"""Whose versions can change what a run gives."""
DECIDING = ("_THREADS", "XLA_FLAGS", "ONEDNN", "TF_DETERMINISTIC")
"""Parts of the names of variables of the environment that change the order of sums."""


def describe_machine() -> dict[str, Any]:
    """What has to be the same for the same rounding, as plain JSON values."""
    backend = keras.backend.backend()
    threads = {k: v for k, v in os.environ.items() if any(part in k for part in DECIDING)}
    return dict(
        backend=f"{backend} {sys.modules[backend].__version__}",
        processor=_name_processor(),
        cores=count_usable_cores(),
        devices=_name_devices(backend),
        threads=threads,
        **{p: metadata.version(p) for p in PACKAGES},
        senet=senet.__version__,
    )


def _name_devices(backend: str) -> str:
    """What the backend computes on, of all processes."""
    library = sys.modules[backend]
    if backend == "jax":
        kinds = collections.Counter(device.device_kind for device in library.devices())
        names = [f"{n} x {kind}" for kind, n in kinds.items()]
        return f"{', '.join(names)} in {library.process_count()} processes"
    if backend == "torch":
        cuda = library.cuda
        return ", ".join(map(cuda.get_device_name, range(cuda.device_count()))) or "CPU"
    gpus = library.config.list_physical_devices("GPU")
    about = [library.config.experimental.get_device_details(gpu) for gpu in gpus]
    return ", ".join(details.get("device_name", "GPU") for details in about) or "CPU"


def _name_processor() -> str:
    """Name of the processor, as people know it where the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
