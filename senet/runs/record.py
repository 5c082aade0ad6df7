"""The record of a run: what began it, on what machine, so that it can be quoted and resumed."""

import contextlib
import csv
import dataclasses
import datetime
import json
import math
import pathlib
import platform
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Data
from senet.data.trained_on import TrainedOn
from senet.errors import InputError
from senet.files import replacing, write_json, write_rows
from senet.foreign import clean_text, escape_text, name_class
from senet.recipes.recipe import Recipe
from senet.recipes.resolving import locate_paths
from senet.runs.folder import IMAGES, METRICS, RECIPE, RECORD, RESULT
from senet.runs.machine import PACKAGES, describe_machine
from senet.runs.reading import count_epochs, read_record, read_trained_on

COLUMNS = ("split", "class", "image", "stamp")
"""Of `images.csv`."""
LENGTHENED = ("constant", "plateau")
"""Schedules by which the learning rate of a step does not follow from the length of the run."""
SHOWN_DIFFERENCES = 5
"""Images that an error names; a folder that was exchanged would name thousands."""
SHOWN_CLASSES = 10
"""Names of classes that an error gives."""


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """What a run began with.

    Args:
        folder: of the run.
        asked: the recipe before what it leaves open was filled in, as plain JSON values.
        recipe: complete.
        spec: of its network, as plain JSON values.
        preprocessing: of its images.
        class_names: one for each class.
        digest: of its data.
        trained_on: which images it is trained on; `None` where that was not noted.
        rounding: what has to be the same for the same rounding: versions, cores, threads.
    """

    folder: pathlib.Path
    asked: dict[str, Any]
    recipe: Recipe
    spec: dict[str, Any]
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    digest: str
    trained_on: TrainedOn | None
    rounding: dict[str, Any]

    def change_recipe(self, changes: dict[str, Any]) -> Recipe:
        """The recipe with changes that a resumed run may have.

        Raises:
            ValueError: another field would differ; all are listed.
        """
        free = {f.name for f in dataclasses.fields(Recipe) if f.metadata["free"]}
        free |= {"data", "epochs"}
        fields = self.recipe.to_json()
        spec = fields["spec"] | (changes.get("spec") or {})
        wanted = Recipe.from_json(fields | changes | {"spec": spec})
        wrong = [
            f"{name} was {getattr(self.recipe, name)!r} and would be {getattr(wanted, name)!r}"
            for name in changes
            if name not in free and getattr(wanted, name) != getattr(self.recipe, name)
        ]
        if wrong:
            raise InputError(
                f"A resumed run keeps its recipe, and {'; '.join(wrong)}. Leave these out, or "
                f"begin another run. What may change: {', '.join(sorted(free))}."
            )
        if wanted.epochs == self.recipe.epochs:
            return wanted
        self._require_longer(wanted.epochs)
        kept = self.recipe.warmup * self.recipe.epochs / wanted.epochs  # as many steps
        return dataclasses.replace(wanted, warmup=kept)

    def _require_longer(self, epochs: int) -> None:
        """Refuse a number of epochs with which the run would not be as if it had begun so.

        Raises:
            InputError: more are done, or the learning rate of every step follows from it.
        """
        recipe, done = self.recipe, count_epochs(self.folder)
        if epochs < done:
            raise InputError(
                f"The run has trained for {done} epochs already: it cannot have {epochs}. What it "
                f"had learnt after each is in {METRICS}."
            )
        if recipe.schedule not in LENGTHENED:
            raise InputError(
                f"With the schedule {recipe.schedule!r} the learning rate of every step follows "
                f"from the number of epochs, {recipe.epochs}, at whose end it is lowest: the run "
                f"cannot have {epochs}. Begin another one from its network: {self._begin_again()} "
                f"--epochs {max(1, epochs - recipe.epochs)} --warmup 0 --learning-rate "
                f"{recipe.learning_rate / 10:g}. Runs with --schedule {' or '.join(LENGTHENED)} "
                "can be made longer."
            )

    def list_other_fields(self, recipe: Recipe) -> list[str]:
        """Fields in which a recipe differs from what the run was asked for."""
        wanted = json.loads(json.dumps(recipe.to_json()))  # lists for tuples, as in the record
        return [name for name in wanted if wanted[name] != self.asked.get(name)]

    def check_data(self, data: Data, recipe: Recipe) -> None:
        """Refuse other images than those that the run began with.

        Args:
            data: that it would go on with.
            recipe: that names where they lie.

        Raises:
            ValueError: the images or classes are others.
        """
        if data.class_names != tuple(map(name_class, self.class_names)):
            before, now = (
                ", ".join(map(escape_text, names[:SHOWN_CLASSES]))
                for names in (self.class_names, data.class_names)
            )
            raise InputError(
                f"The classes of {recipe.data!r} were {before} when the run began and are {now} "
                "now."
            )
        if not data.is_same(self.digest, self.class_names):
            raise InputError(
                f"The images in {recipe.data!r} are not those that the run began with"
                f"{self._list_differences(data)}. Put them back, or begin another run."
            )

    def list_machine_changes(self) -> list[str]:
        """What differs from when the run began, so that the same rounding cannot be promised."""
        now = describe_machine()
        before = self.rounding.items()
        return [
            f"{clean_text(k)} {clean_text(v)} and now {now.get(k)}"
            for k, v in before
            if now.get(k) != v
        ]

    def _begin_again(self) -> str:
        """The beginning of a command for a run of the same recipe from the network of this one."""
        recipe, weights = str(self.folder / RECIPE), str(self.folder)
        return shlex.join(["senet", "train", "--recipe", recipe, "--weights", weights])

    def note_changes(self, recipe: Recipe) -> None:
        """Write down where the data of the run lie now, and how long it is to be, if that changed.

        A result of before it was made longer goes: the network that it is of will be another one.
        """
        names = ("data", "class_map", "epochs", "warmup")
        changes = {n: getattr(recipe, n) for n in names if vars(recipe)[n] != vars(self.recipe)[n]}
        if not changes:
            return
        record = read_record(self.folder)
        record["recipe"] |= changes
        longer = {name: changes[name] for name in ("epochs", "warmup") if name in changes}
        if longer and isinstance(record.get("asked"), dict):
            record["asked"] |= longer
            with contextlib.suppress(ValueError):  # of a record that somebody changed
                record["command"] = Recipe.from_json(record["asked"]).command(str(self.folder))
        write_json(self.folder / RECORD, record)
        if longer:
            with replacing(self.folder / RECIPE) as path:
                path.write_text(recipe.to_toml(), encoding="utf-8")
            (self.folder / RESULT).unlink(missing_ok=True)

    def note_resumption(self, step: int, epochs: float) -> None:
        """Write down that the run goes on, and from where, for its pictures and its report.

        Args:
            step: that is the next one.
            epochs: that are done, with the part of the present one.
        """
        record = read_record(self.folder)
        before = record.get("resumed")
        before = before if isinstance(before, list) else []
        if any(isinstance(row, dict) and row.get("step") == step for row in before):
            return  # it was killed before its next checkpoint
        now = f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"
        record["resumed"] = [*before, dict(step=step, epochs=round(epochs, 4), time=now)]
        write_json(self.folder / RECORD, record)

    def _list_differences(self, data: Data) -> str:
        """Which images are others, the first few of them; nothing where that is not known."""
        try:
            with open(
                self.folder / IMAGES, newline="", encoding="utf-8", errors="backslashreplace"
            ) as file:
                before = {row["image"]: row for row in csv.DictReader(file)}
            now = {row["image"]: row for row in _list_images(data)}
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
        shown, rest = lines[:SHOWN_DIFFERENCES], len(lines) - SHOWN_DIFFERENCES
        more = f"; and {rest} more" if rest > 0 else ""
        return f": {'; '.join(shown)}{more}" if lines else " in their order"


def write(
    folder: pathlib.Path,
    given: Recipe,
    recipe: Recipe,
    data: Data,
    model: keras.Model,
    preprocessing: Preprocessing,
    trained_on: TrainedOn,
    warnings: Sequence[str] = (),
) -> None:
    """Write `recipe.toml`, `images.csv` and `run.json` into a run folder.

    `run.json` is the last of them: it makes the folder a run's, and a start that is cut off before
    it leaves nothing that has to be removed by hand.

    Args:
        folder: of the run.
        given: the recipe as the user gave it; the command that does it again is its.
        recipe: complete.
        data: that it trains on.
        model: that it trains.
        preprocessing: of its images.
        trained_on: which images it trains on.
        warnings: what is wrong with the data.
    """
    with replacing(folder / RECIPE) as path:
        path.write_text(recipe.to_toml(), encoding="utf-8")
    write_rows(folder / IMAGES, COLUMNS, _list_images(data))
    machine = describe_machine()
    record = dict(
        command=given.command(str(folder)),
        asked=locate_paths(given).to_json(),
        recipe=recipe.to_json(),
        spec=model.card.spec.to_json(),
        parameters=sum(math.prod(v.shape) for v in model.trainable_variables),
        class_names=list(data.class_names),
        images={name: len(split) for name, split in data.splits.items()},
        split_sha256=data.digest,
        images_per_class=data.images_per_class,
        trained_on=trained_on.to_json(),
        warnings=list(warnings),
        preprocessing=preprocessing.to_json(),
        backend=machine["backend"],
        versions={p: machine[p] for p in (*PACKAGES, "senet")}
        | {"python": platform.python_version()},
        machine=dict(
            processor=machine["processor"], cores=machine["cores"], system=platform.system()
        ),
        same=machine,  # what of the above, and more, decides about rounding
    )
    write_json(folder / RECORD, record)


def _list_images(data: Data) -> Iterator[dict[str, str]]:
    """A row of `images.csv` for each image."""
    for split, name, label, stamp in data.listed:
        yield dict(zip(COLUMNS, (split, data.class_names[label], name, stamp), strict=True))


def read(folder: pathlib.Path) -> RunRecord:
    """What a run began with.

    Args:
        folder: of the run.

    Raises:
        FileNotFoundError: the folder is no run folder.
        ValueError: its record is damaged.
    """
    found = read_record(folder)
    asked = found.get("asked")
    try:
        names, warnings = found["class_names"], found.get("warnings", [])
        if not (isinstance(names, list) and isinstance(warnings, list)):
            raise InputError("class_names and warnings are no lists")
        if not all(isinstance(text, str) for text in (found["split_sha256"], *names, *warnings)):
            raise InputError("class_names, warnings and split_sha256 are not all texts")
        if not all(isinstance(found.get(part, {}), dict) for part in ("machine", "versions")):
            raise InputError("machine and versions are no records")
        return RunRecord(
            folder,
            asked if isinstance(asked, dict) else {},
            Recipe.from_json(found["recipe"]),
            dict(found["spec"]),
            Preprocessing.from_json(found["preprocessing"]),
            tuple(found["class_names"]),
            found["split_sha256"],
            read_trained_on(found),
            dict(found["same"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{str(folder / RECORD)!r} is damaged: {error}") from error
