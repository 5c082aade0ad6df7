"""What a format of exported networks is."""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:  # the command line reads the names of the formats before Keras is loaded
    import keras
    import numpy as np

Run: TypeAlias = Callable[["np.ndarray"], "np.ndarray"]
"""Inputs `(N, H, W, 3)` to outputs `(N, C)`."""
Write: TypeAlias = Callable[["keras.Model", pathlib.Path, tuple[str, ...]], str]
"""Graph, folder and class names to the file for the runtime, relative to the folder."""

INPUT = "image"
"""Name of the input of an exported network, in every format that has names."""
OUTPUT = "probabilities"
"""Name of its output."""
BATCH = "batch"
"""Name of its open dimension."""


@dataclasses.dataclass(frozen=True)
class Format:
    """One format: how a network is written in it, and how it runs.

    Args:
        name: as people name it.
        precisions: that its runtime computes in, `"float32"` among them; the first is taken where
            none is asked for.
        write: fills an empty folder, on TensorFlow.
        run: starts the runtime: path of the file, precision and threads of the processor (0 leaves
            them to the runtime) to a function of a batch.
        write_by_torch: fills an empty folder on PyTorch where TensorFlow is not installed.
        quantize: makes int8 of a file in its place, calibrated on inputs `(N, H, W, 3)`.
        written_by: libraries that write it, beside TensorFlow.
        written_by_torch: libraries that `write_by_torch` needs.
        run_by: libraries that run it.
        quantized_by: libraries that make int8 of it.
    """

    name: str
    precisions: tuple[str, ...]
    write: Write
    run: Callable[[str, str, int], Run]
    write_by_torch: Write | None = None
    quantize: Callable[[pathlib.Path, "np.ndarray"], None] | None = None
    written_by: tuple[str, ...] = ()
    written_by_torch: tuple[str, ...] = ()
    run_by: tuple[str, ...] = ()
    quantized_by: tuple[str, ...] = ()

    def runs_in(self, precision: str) -> bool:
        """Whether a network in this format can be in that precision."""
        return precision in self.precisions or (precision == "int8" and self.quantize is not None)
