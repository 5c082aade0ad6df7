"""What travels with an exported network, beside what the runtime reads."""

import dataclasses
import json
import os
import pathlib
from typing import Any

import numpy as np

from senet.data.preprocessing import COLOURS, Preprocessing
from senet.deployment.formats import FORMATS
from senet.deployment.formats.format import BATCH, INPUT, OUTPUT
from senet.errors import InputError, NotFoundError
from senet.foreign import MAX_PATH, clean_text, read_json

MANIFEST = "senet.json"
"""The file of it."""
COUNTS = ("multiply_adds", "activations", "parameters")
"""What `cost` says."""
USE = ("input", "resize", "crop", "scale", "output")
"""Fields that only programs without senet read: they follow from the others."""


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What it takes to use an exported network, and how it was proved.

    Args:
        network: name of the network it was made of.
        format: one of `FORMATS`.
        precision: that it runs in.
        file: what the runtime reads, relative to the folder.
        class_names: one for each class.
        preprocessing: how an image becomes an input.
        pixels: whether inputs are pixels 0-255 (`uint8`), which the graph normalises itself.
        checked: what the comparison with Keras gave.
        cost: `multiply_adds`, `activations` and `parameters` of the network it was made of, as
            `senet.complexity` counts them; empty where that is not known.
        trained_on: which images it was trained on, where that is known, as plain JSON values; they
            are checked where they are used.

    Raises:
        ValueError: a field is missing, unknown or of another kind.
    """

    network: str
    format: str
    precision: str
    file: str
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    pixels: bool = False
    checked: dict[str, Any] = dataclasses.field(default_factory=dict)
    cost: dict[str, int] = dataclasses.field(default_factory=dict)
    trained_on: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.class_names, list):
            object.__setattr__(self, "class_names", tuple(self.class_names))
        if isinstance(self.preprocessing, dict):
            made = Preprocessing.from_json(self.preprocessing)
            object.__setattr__(self, "preprocessing", made)
        kinds: dict[str, Any] = dict(
            network=str,
            format=str,
            precision=str,
            file=str,
            class_names=tuple,
            preprocessing=Preprocessing,
            pixels=bool,
            checked=dict,
            cost=dict,
        )
        for field, kind in kinds.items():
            if not isinstance(getattr(self, field), kind):
                given = clean_text(repr(getattr(self, field)))
                raise InputError(f"the {field} cannot be {given}")
        if self.cost and not _is_cost(self.cost):
            raise InputError(f"the cost cannot be {clean_text(repr(self.cost))}")
        if not all(isinstance(name, str) for name in self.class_names):
            raise InputError("the class_names cannot be other than texts")
        if self.format not in FORMATS or not FORMATS[self.format].runs_in(self.precision):
            kind = f"{clean_text(self.format)!r} in {clean_text(self.precision)!r}"
            raise InputError(f"{kind} is not known")
        if len(self.file) > MAX_PATH or not self.file.isprintable():
            raise InputError(f"{clean_text(self.file)!r} is no name of a file")
        both = (pathlib.PurePosixPath(self.file), pathlib.PureWindowsPath(self.file))
        if any(path.anchor or ".." in path.parts for path in both):
            raise InputError(f"{clean_text(self.file)!r} is outside of the folder")

    def make_inputs(self, images: np.ndarray) -> np.ndarray:
        """What the network reads, of images that were cropped for it.

        Args:
            images: pixels 0-255, `(N, size, size, 3)`.

        Returns:
            `(N, size, size, 3)`: uint8 if the graph normalises, else float32.
        """
        if self.pixels:
            return np.asarray(images, "uint8")
        return np.stack([self.preprocessing.normalise(image) for image in images])

    def describe_use(self) -> dict[str, Any]:
        """All that a program without senet has to know, as plain JSON values."""
        size, classes = self.preprocessing.size, len(self.class_names)
        kind = "uint8" if self.pixels else "float32"
        entry = dict(name=INPUT, shape=[BATCH, size, size, COLOURS], layout="NHWC", colours="RGB")
        outlet = dict(name=OUTPUT, shape=[BATCH, classes], type="float32")
        steps = self.preprocessing.describe_steps()
        return dict(input=entry | dict(type=kind)) | steps | dict(output=outlet)

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `read` reads it back from a file."""
        own = vars(self) | dict(preprocessing=self.preprocessing.to_json())
        return {"version": 1, **self.describe_use(), **own}

    def write(self, folder: pathlib.Path) -> None:
        """Write it beside what the runtime reads."""
        (folder / MANIFEST).write_text(json.dumps(self.to_json(), indent=1) + "\n", "utf-8")

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Manifest":
        """The manifest of an exported network.

        Raises:
            FileNotFoundError: the folder has none.
            ValueError: it is damaged, larger than any that senet writes, or of a later version.
        """
        path = pathlib.Path(folder, MANIFEST)
        if not path.exists():
            raise NotFoundError(f"{str(folder)!r} is no exported network: it has no {MANIFEST}.")
        values = read_json(path)
        try:
            version = values.pop("version", None)
            if version != 1 or isinstance(version, bool):
                raise InputError("it was written by a later version of senet")
            stated = {key: values.pop(key) for key in USE if key in values}
            manifest = cls(**values)
            own = manifest.describe_use()
            if wrong := [key for key, value in stated.items() if value != own[key]]:
                raise InputError(
                    f"its {', '.join(wrong)} and its preprocessing, pixels and class_names say two "
                    "different things: correct what is wrong, or export again"
                )
            return manifest
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            reason = clean_text(error, MAX_PATH)
            raise InputError(f"{str(path)!r} cannot be used: {reason}.") from error


def _is_cost(values: dict[str, Any]) -> bool:
    """Whether it is a whole number for each of `COUNTS`, and nothing else."""
    return set(values) == set(COUNTS) and all(
        isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**62
        for value in values.values()
    )
