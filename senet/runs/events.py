"""Event files for TensorBoard, written by tensorboardX; TensorFlow is not needed."""

import importlib.util
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from senet.errors import LibraryError

FLUSH_SECONDS = 5
"""Between writes to the disk."""


def require_library() -> None:
    """Raise a `ModuleNotFoundError` with the command to install tensorboardX, if it is missing."""
    if importlib.util.find_spec("tensorboardX") is None:
        raise LibraryError(
            "Event files for TensorBoard are written by tensorboardX, which is not installed: "
            'pip install "senet[tensorboard]".',
            name="tensorboardX",
        )


class Events:
    """Writes what TensorBoard shows of a run: `tensorboard --logdir FOLDER`.

    A run that is resumed writes another file into the same folder. TensorBoard reads all of them in
    order; told the first step of the new one, it forgets what the earlier ones say from there on.

    Args:
        folder: for the event files; made if it is missing.
        first_step: that will be written, after a resume.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed; the message has the command.

    Example:
        >>> with Events("runs/digits/events") as events:
        ...     events.scalars(1, {"loss": 2.3, "val_accuracy": 0.4})
        ...     events.image("curves", "runs/digits/curves.png", 1)
    """

    def __init__(self, folder: str | os.PathLike, *, first_step: int | None = None) -> None:
        require_library()
        from tensorboardX import SummaryWriter

        # The library names a file after the second and would overwrite that of the same second.
        before = len(list(pathlib.Path(folder).glob("*.tfevents.*")))
        self._writer = SummaryWriter(
            str(pathlib.Path(folder).absolute()),
            purge_step=first_step,
            flush_secs=FLUSH_SECONDS,
            filename_suffix=f".{before:04d}",
        )

    def __enter__(self) -> "Events":
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def scalars(self, step: int, values: Mapping[str, Any]) -> None:
        """Write the numbers of an epoch, each under its name.

        Args:
            step: the epoch, from 1.
            values: numbers by name; what is no number is left out, and so is `epoch`.
        """
        for name, value in values.items():
            number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
            if number and name != "epoch":
                self._writer.add_scalar(name, value, step)

    def image(self, name: str, path: str | os.PathLike, step: int) -> None:
        """Write a picture.

        Args:
            name: that TensorBoard shows.
            path: of a PNG.
            step: the epoch it belongs to.
        """
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        self._writer.add_image(name, pixels, step, dataformats="HWC")
