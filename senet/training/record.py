"""The record of a run: what began it, on what machine, so that it can be quoted and resumed."""

import collections
import csv
import dataclasses
import json
import math
import os
import pathlib
import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from typing import Any

import keras

import senet
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data
from senet.files import replacing
from senet.recipes.fields import merge_fields
from senet.recipes.recipe import Recipe

CONFIG, RECIPE, RESULT, IMAGES = "run.json", "recipe.toml", "result.json", "images.csv"
COLUMNS = ("split", "class", "image", "stamp")
SHOWN = 5
PACKAGES = ("keras", "numpy", "grain", "pillow")


@dataclasses.dataclass(frozen=True)
class Started:
    """What a run began with.

    Args:
        folder: of the run.
        recipe: complete.
        spec: of its network, as plain JSON values.
        preprocessing: of its images.
        class_names: one for each class.
        digest: of its data.
        same: what has to be the same for the same rounding: versions, cores, threads.
    """

    folder: pathlib.Path
    recipe: Recipe
    spec: dict[str, Any]
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    digest: str
    same: dict[str, Any]

    def changed(self, changes: dict[str, Any]) -> Recipe:
        """The recipe with changes that a resumed run may have.

        Raises:
            ValueError: another field would differ; all are listed.
        """
        free = {f.name for f in dataclasses.fields(Recipe) if f.metadata["free"]} | {"data"}
        wanted = Recipe.from_json(merge_fields(self.recipe.to_json(), changes))
        wrong = [
            f"{name} was {getattr(self.recipe, name)!r} and would be {getattr(wanted, name)!r}"
            for name in changes
            if name not in free and getattr(wanted, name) != getattr(self.recipe, name)
        ]
        if wrong:
            raise ValueError(
                f"A resumed run keeps its recipe, and {'; '.join(wrong)}. Leave these out, or "
                f"begin another run. What may change: {', '.join(sorted(free))}."
            )
        return wanted

    def check(self, recipe: Recipe, data: Data) -> None:
        """Compare the data, and say on standard error if the same rounding cannot be promised.

        Raises:
            ValueError: the images or classes are others.
        """
        if data.class_names != self.class_names:
            raise ValueError(
                f"The classes of {recipe.data!r} were {', '.join(self.class_names[:10])} when the "
                f"run began and are {', '.join(data.class_names[:10])} now."
            )
        if data.digest != self.digest:
            raise ValueError(
                f"The images in {recipe.data!r} are not those that the run began with"
                f"{self._differences(data)}. Put them back, or begin another run."
            )
        now = same()
        others = [f"{k} {v} and now {now.get(k)}" for k, v in self.same.items() if now.get(k) != v]
        if others:
            print(
                f"senet: the run began with {'; '.join(others)}: it goes on, but not bit for bit "
                "as it would have",
                file=sys.stderr,
            )

    def _differences(self, data: Data) -> str:
        """Which images are others, the first few of them; nothing where that is not known."""
        try:
            with open(
                self.folder / IMAGES, newline="", encoding="utf-8", errors="surrogateescape"
            ) as file:
                before = {row["image"]: row for row in csv.DictReader(file)}
            now = {row["image"]: row for row in _rows(data)}
            lines = [f"{name} was removed" for name in before if name not in now]
            lines += [f"{name} was added" for name in now if name not in before]
            for column, what in (("stamp", "content"), ("class", "class"), ("split", "split")):
                lines += [
                    f"{name} has another {what}"
                    for name in now
                    if name in before and now[name][column] != before[name][column]
                ]
        except (OSError, KeyError, ValueError, csv.Error):
            return ""
        more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
        return f": {'; '.join(lines[:SHOWN])}{more}" if lines else " in their order"


def same() -> dict[str, Any]:
    """What has to be the same for the same rounding."""
    backend = keras.backend.backend()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    deciding = ("_THREADS", "XLA_FLAGS", "ONEDNN", "TF_DETERMINISTIC")
    threads = {k: v for k, v in os.environ.items() if any(part in k for part in deciding)}
    return dict(
        backend=f"{backend} {sys.modules[backend].__version__}",
        processor=_processor(),
        cores=cores,
        devices=_devices(backend),
        threads=threads,
        **{p: metadata.version(p) for p in PACKAGES},
        senet=senet.__version__,
    )


def write(
    folder: pathlib.Path,
    command: str,
    asked: Recipe,
    recipe: Recipe,
    data: Data,
    model: keras.Model,
    preprocessing: Preprocessing,
) -> None:
    """Write `recipe.toml`, `images.csv` and last `run.json` into a run folder.

    `asked` is the recipe before what it leaves open was filled in from the data.
    """
    with replacing(folder / RECIPE) as path:
        path.write_text(recipe.to_toml(), encoding="utf-8")
    with (
        replacing(folder / IMAGES) as path,
        open(path, "w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(_rows(data))
    about = same()
    write_json(
        folder / CONFIG,
        dict(
            command=command,
            asked=asked.to_json(),
            recipe=recipe.to_json(),
            spec=model.card.spec.to_json(),
            parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
            class_names=list(data.class_names),
            images={name: len(split) for name, split in data.splits.items()},
            split_sha256=data.digest,
            preprocessing=preprocessing.to_json(),
            backend=about["backend"],
            versions={p: about[p] for p in (*PACKAGES, "senet")}
            | {"python": platform.python_version()},
            machine=dict(
                processor=about["processor"], cores=about["cores"], system=platform.system()
            ),
            same=about,
        ),
    )


def _rows(data: Data) -> Iterator[dict[str, str]]:
    """A row of `images.csv` for each image."""
    for split, name, label, stamp in data.listed:
        yield dict(zip(COLUMNS, (split, data.class_names[label], name, stamp), strict=True))


def moved(folder: pathlib.Path, recipe: Recipe) -> None:
    """Note where the data of a run lie now."""
    about = values(folder)
    about["recipe"] |= dict(data=recipe.data, class_map=recipe.class_map)
    write_json(folder / CONFIG, about)


def values(folder: pathlib.Path) -> dict[str, Any]:
    """What `write` wrote, as plain values."""
    return json.loads((folder / CONFIG).read_text(encoding="utf-8"))


def read(folder: pathlib.Path) -> Started:
    """What a run began with.

    Args:
        folder: of the run.

    Raises:
        FileNotFoundError: the folder is no run folder.
        ValueError: its record is damaged.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise FileNotFoundError(
            f"{str(folder)!r} is no run folder, or its run never began: it has no {CONFIG}."
        )
    try:
        found = values(folder)
        return Started(
            folder,
            Recipe.from_json(found["recipe"]),
            dict(found["spec"]),
            Preprocessing.from_json(found["preprocessing"]),
            tuple(found["class_names"]),
            found["split_sha256"],
            dict(found["same"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}") from error


def write_json(path: pathlib.Path, about: dict[str, Any]) -> None:
    """Write plain values to a file that appears whole or not at all."""
    with replacing(path) as written:
        written.write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def _devices(backend: str) -> str:
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


def _processor() -> str:
    """Name of the processor, as people know it where the system tells."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
