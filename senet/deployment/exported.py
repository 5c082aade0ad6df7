"""Exported networks: a folder that its runtime reads, and the use of it."""

import os
import pathlib

import numpy as np

from senet.deployment.formats import FORMATS
from senet.deployment.manifest import MANIFEST, Manifest
from senet.errors import InputError, NotFoundError, explained, require_libraries


class Exported:
    """An exported network that predicts like a Keras model.

    Args:
        folder: that `senet.export` wrote.
        precision: to run in, where the format has a choice; by default that of the manifest.
        threads: of the processor; 0 leaves it to the runtime.

    Raises:
        FileNotFoundError: there is no exported network in the folder.
        ValueError: it is damaged, or the runtime refuses it.
        ModuleNotFoundError: its runtime is not installed.

    Example:
        >>> model = senet.create("se_resnet20_cifar", classes=2)
        >>> rule = senet.Preprocessing(32)
        >>> senet.save(model, "pets.keras", class_names=("cat", "dog"), preprocessing=rule)
        >>> exported = senet.export("pets.keras", "pets", "onnx")
        >>> Exported("pets").predict_on_batch(np.zeros((1, 32, 32, 3), "float32")).shape
        (1, 2)
    """

    def __init__(
        self, folder: str | os.PathLike, *, precision: str | None = None, threads: int = 0
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.manifest = Manifest.read(folder)
        file = self.folder / self.manifest.file
        if not file.exists():
            raise NotFoundError(f"{str(self.folder)!r} lacks {self.manifest.file!r}.")
        style = FORMATS[self.manifest.format]
        precision = precision or self.manifest.precision
        if not style.runs_in(precision):
            raise InputError(f"{style.name} does not run in {precision!r}.")
        require_libraries(*style.run_by)
        with explained(f"{str(file)!r} cannot be run"):
            self._run = style.run(str(file), precision, threads)

    def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs for a batch of inputs, as a Keras model gives them.

        Args:
            inputs: `(N, H, W, 3)`; pixels 0-255 for a network that normalises itself.

        Returns:
            `(N, C)` float32.

        Raises:
            ValueError: the inputs are not such as it takes, or it does not give a number for each
                class that the manifest names.
        """
        if self.manifest.pixels:
            inputs = np.rint(inputs).clip(0, 255).astype("uint8")
        with explained(f"{str(self.folder)!r} cannot be run on inputs {inputs.shape}"):
            outputs = np.asarray(self._run(np.ascontiguousarray(inputs)), "float32")
        classes = len(self.manifest.class_names)
        if outputs.shape != (len(inputs), classes):
            raise InputError(
                f"{str(self.folder)!r} is damaged: its {MANIFEST} names {classes} classes, and the "
                f"network gives outputs {outputs.shape[1:]} for each image."
            )
        return outputs


def is_exported(path: str | os.PathLike) -> bool:
    """Whether a folder holds an exported network."""
    return pathlib.Path(path, MANIFEST).is_file()
