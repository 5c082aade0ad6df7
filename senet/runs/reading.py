"""The one reader of the records of runs; nothing in them is trusted or run."""

import csv
import dataclasses
import io
import pathlib
import statistics
from collections.abc import Mapping
from typing import Any

from senet.data.trained_on import TrainedOn
from senet.errors import InputError, NotFoundError
from senet.evaluation import wilson_interval
from senet.foreign import (
    MAX_PATH,
    MAX_RECORD,
    clean_text,
    is_count,
    plain_fields,
    read_json,
    read_number,
    read_text,
)
from senet.runs.folder import METRICS, RECORD, RESULT, is_run

MOST_EPOCHS = 1_000_000
"""That a run is believed to have had."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How good a finished run is on images that were held out.

    Args:
        split: of the data.
        images: number of them; 0 where all that were held out were trained on too.
        top1: share that is recognised, 0 to 1; `None` without images.
        interrupted: whether the run ended early.
        baseline: top-1 of who always says the most frequent class, if it is known.
        seconds: that the run took, if it is known.
        trained_on_complete: whether none of the images were trained on; `None` where the run does
            not say.
    """

    split: str
    images: int
    top1: float | None
    interrupted: bool
    baseline: float | None = None
    seconds: float | None = None
    trained_on_complete: bool | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Wilson's 95 % interval of top-1; `None` without images."""
        return None if self.top1 is None else wilson_interval(self.top1, self.images)


@dataclasses.dataclass(frozen=True)
class PastRun:
    """What a run folder says of its run, whatever version of this package wrote it.

    Args:
        name: to tell it from the others.
        folder: as it was named.
        recipe: as it was resolved.
        versions: of packages and backend.
        machine: that it ran on.
        digest: of which image is in which split, if it is known.
        parameters: trainable ones, if their number is known.
        history: the numbers of each epoch.
        score: of the finished run; `None` while it is unfinished.
    """

    name: str
    folder: str
    recipe: dict[str, Any]
    versions: dict[str, Any]
    machine: dict[str, Any]
    digest: str | None
    parameters: int | None
    history: list[dict[str, float]]
    score: Score | None

    def summary(self) -> dict[str, Any]:
        """The numbers of the run; `None` for what is not known."""
        accuracies = self._rows_with("val_accuracy")
        rates = [row["images_per_second"] for row in self._rows_with("images_per_second")]
        best = max(accuracies, key=lambda r: (r["val_accuracy"], -r["epoch"]), default=None)
        score = self.score
        return dict(
            run=self.name,
            folder=self.folder,
            model=clean_text(self.recipe.get("model")),
            parameters=self.parameters,
            data=clean_text(self.recipe.get("data")),
            epochs=len(self.history),
            best_val_accuracy=best["val_accuracy"] if best else None,
            best_epoch=round(best["epoch"]) if best else None,
            val_accuracy=accuracies[-1]["val_accuracy"] if accuracies else None,
            finished=score is not None,
            interrupted=score.interrupted if score else None,
            split=score.split if score else None,
            images=score.images if score else None,
            top1=score.top1 if score else None,
            top1_interval=score.interval if score else None,
            baseline=score.baseline if score else None,
            trained_on_complete=score.trained_on_complete if score else None,
            seconds=self._sum_seconds(),
            images_per_second=statistics.median(rates) if rates else None,
        )

    def _sum_seconds(self) -> float | None:
        """How long the run took: what its end says, the sum of the epochs where it says nothing.

        The row of an epoch that was interrupted has only the time since it went on.
        """
        if self.score and self.score.seconds is not None:
            return self.score.seconds
        times = [row["seconds"] for row in self._rows_with("seconds")]
        return round(sum(times), 2) if times else None

    def _rows_with(self, name: str) -> list[dict[str, float]]:
        """The rows of the epochs that have such a number."""
        return [row for row in self.history if name in row]


@dataclasses.dataclass(frozen=True)
class DataOfRun:
    """The images of a run.

    Args:
        where: they lie, as `load_data` takes it.
        class_map: that renames their classes, or `None`.
        trained_on: which of them it was trained on.
    """

    where: str
    class_map: str | None
    trained_on: TrainedOn


def read_run(folder: pathlib.Path, name: str) -> PastRun:
    """What one run folder says.

    Args:
        folder: of the run.
        name: to call it by.

    Returns:
        A `PastRun`; without a score where there is no `result.json`.

    Raises:
        FileNotFoundError: it is no run folder.
        ValueError: a file in it is damaged; the message names it.
    """
    record = read_record(folder)
    if not isinstance(record.get("recipe"), dict):
        raise InputError(f"{str(folder / RECORD)!r} is damaged: it has no recipe.")
    digest, parameters = record.get("split_sha256"), record.get("parameters")
    try:
        recipe, machine = plain_fields(record["recipe"]), plain_fields(record.get("machine"))
        versions = plain_fields(record.get("versions")) | plain_fields(record, only=("backend",))
    except RecursionError as error:
        path = str(folder / RECORD)
        raise InputError(f"{path!r} is damaged: it is nested too deeply.") from error
    return PastRun(
        name=name,
        folder=clean_text(folder, MAX_PATH),
        recipe=recipe,
        versions=versions,
        machine=machine,
        digest=digest if isinstance(digest, str) else None,
        parameters=parameters if is_count(parameters) else None,
        history=_read_history(folder / METRICS),
        score=_read_score(folder / RESULT),
    )


def read_record(folder: pathlib.Path) -> dict[str, Any]:
    """What began a run, as plain values.

    Raises:
        FileNotFoundError: the folder is no run folder.
        ValueError: its record is damaged.
    """
    if not is_run(folder):
        raise NotFoundError(
            f"{str(folder)!r} is no run folder, or its run never began: there is no {RECORD} in it."
        )
    return read_json(folder / RECORD, MAX_RECORD)


def read_data_of_run(folder: pathlib.Path) -> DataOfRun | None:
    """The images of a run, if its record says what they are.

    Raises:
        ValueError: what it says of those that it was trained on is damaged.
    """
    try:
        record = read_record(folder)
    except (OSError, ValueError):
        return None
    try:
        trained_on = read_trained_on(record)
    except ValueError as error:
        raise InputError(f"{str(folder / RECORD)!r} is damaged: {error}.") from error
    try:
        recipe = record["recipe"]
        where, class_map = recipe["data"], recipe["class_map"]
        if trained_on is None:  # a run of version 0.1, of before it was noted
            options = {name: recipe[name] for name in ("seed", "validation", "test", "fraction")}
            images = record["images"]["train"]
            trained_on = TrainedOn(
                **options,
                split_sha256=record["split_sha256"],
                images=images,
                trained_elsewhere=recipe["weights"] is not None,
            )
    except (ValueError, KeyError, TypeError):
        return None
    known = isinstance(where, str) and isinstance(class_map, str | None)
    return DataOfRun(where, class_map, trained_on) if known else None


def read_trained_on(record: dict[str, Any]) -> TrainedOn | None:
    """Which images a run was trained on, of its record; `None` where that was not noted.

    Raises:
        ValueError: it is damaged.
    """
    values = record.get("trained_on")
    return None if values is None else TrainedOn.from_json(values)


def _read_score(path: pathlib.Path) -> Score | None:
    """The score of a run that was evaluated, in the end or after Ctrl-C; `interrupted` says which.

    Raises:
        ValueError: the file is damaged.
    """
    if not path.exists():
        return None
    result = read_json(path)
    top1, images = result.get("top1"), result.get("images", -1)
    share = read_number(top1) if isinstance(top1, int | float) else None
    scored = images and share is not None and 0 <= share <= 1
    unscored = not images and top1 is None  # all that were held out were trained on
    if not is_count(images) or not (scored or unscored):
        raise InputError(f"{str(path)!r} is damaged: it has no top1 from 0 to 1 of so many images.")
    baseline, seconds = (
        read_number(given) if isinstance(given, int | float) else None
        for given in (result.get("baseline"), result.get("seconds"))
    )
    split, interrupted = clean_text(result.get("split")), bool(result.get("interrupted"))
    complete = result.get("trained_on_complete")
    complete = complete if isinstance(complete, bool) else None
    return Score(split, images, share, interrupted, baseline, seconds, complete)


def count_epochs(folder: pathlib.Path) -> int:
    """Epochs that a run has trained for, by its metrics; 0 where they cannot be read."""
    try:
        return len(_read_history(folder / METRICS))
    except (OSError, ValueError):
        return 0


def _read_history(path: pathlib.Path) -> list[dict[str, float]]:
    """The numbers of each epoch; what is empty or no finite number is left out."""
    if not path.exists():
        return []
    history: list[dict[str, float]] = []
    try:
        for row in csv.DictReader(io.StringIO(read_text(path)), strict=True):
            numbers = {key: read_number(cell) for key, cell in row.items()}
            history.append({k: number for k, number in numbers.items() if number is not None})
            if "epoch" not in history[-1]:
                raise InputError(f"{str(path)!r} is damaged: row {len(history)} is no epoch.")
    except csv.Error as error:
        raise InputError(f"{str(path)!r} is damaged: {error}.") from error
    return history


def list_resumptions(record: Mapping[str, Any]) -> list[float]:
    """Where a run was gone on with, in epochs, by its record; what cannot be is left out."""
    rows = record.get("resumed")
    rows = rows if isinstance(rows, list) else []
    given = [row.get("epochs") for row in rows if isinstance(row, dict)]
    numbers = [n for n in given if isinstance(n, int | float) and not isinstance(n, bool)]
    return [float(n) for n in numbers if 0 <= n <= MOST_EPOCHS]
