"""Runs side by side, from what their folders say; nothing in them is trusted or run."""

import csv
import dataclasses
import io
import json
import os
import pathlib
import statistics
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from senet import plotting
from senet.evaluation import wilson_interval
from senet.pages import percent, picture, value, write_page
from senet.progress import clock

MAX_FILE = 16 * 2**20
"""Largest record of a run that is read, bytes."""
LARGEST = 1e15
"""Numbers beyond are taken for damage."""
LONGEST = 60
"""Letters of a text in a table."""


@dataclasses.dataclass(frozen=True)
class Score:
    """How good a finished run is on images that were held out.

    Args:
        split: of the data.
        images: number of them.
        top1: share that is recognised, 0 to 1.
        interrupted: whether the run ended early.
    """

    split: str
    images: int
    top1: float
    interrupted: bool

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of top-1."""
        return wilson_interval(self.top1, self.images)


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run folder says of its run.

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
        scores = [
            (row["val_accuracy"], -row["epoch"]) for row in _with(self.history, "val_accuracy")
        ]
        best = max(scores, default=None)
        rates = [row["images_per_second"] for row in _with(self.history, "images_per_second")]
        times = [row["seconds"] for row in _with(self.history, "seconds")]
        return dict(
            run=self.name,
            folder=self.folder,
            model=_text(self.recipe.get("model")),
            parameters=self.parameters,
            data=_text(self.recipe.get("data")),
            epochs=len(self.history),
            best_val_accuracy=best[0] if best else None,
            best_epoch=round(-best[1]) if best else None,
            val_accuracy=scores[-1][0] if scores else None,
            finished=self.score is not None,
            interrupted=self.score.interrupted if self.score else None,
            split=self.score.split if self.score else None,
            images=self.score.images if self.score else None,
            top1=self.score.top1 if self.score else None,
            top1_interval=self.score.interval if self.score else None,
            seconds=round(sum(times), 2) if times else None,
            images_per_second=statistics.median(rates) if rates else None,
        )


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Runs, and what tells them apart.

    Args:
        records: of the runs, at least one.
    """

    records: Sequence[Record]

    @property
    def table(self) -> list[list[str]]:
        """A row for each run, after a row of headings."""
        return [list(COLUMNS)] + [
            [_text(show(record.summary(), record)) for show in COLUMNS.values()]
            for record in self.records
        ]

    @property
    def differences(self) -> dict[str, dict[str, list[Any]]]:
        """Fields of recipe, versions and machine that differ, each with its value in every run."""
        groups = {}
        for group in ("recipe", "versions", "machine"):
            given = [getattr(record, group) for record in self.records]
            fields = dict.fromkeys(field for values in given for field in values)
            rows = {_text(field): [values.get(field) for values in given] for field in fields}
            different = {f: row for f, row in rows.items() if any(v != row[0] for v in row)}
            if different:
                groups[group] = different
        return groups

    @property
    def warnings(self) -> list[str]:
        """What keeps the scores from being compared."""
        found = []
        unknown = [record.name for record in self.records if not record.digest]
        if unknown and len(self.records) > 1:
            names = ", ".join(unknown)
            found.append(f"It is not recorded which images were held out in {names}.")
        splits = self._groups(lambda record: record.digest)
        if len(splits) > 1:
            parts = "; ".join(", ".join(names) for names in splits.values())
            found.append(
                "These runs do not hold out the same images, so their scores cannot be compared: "
                f"{parts}."
            )
        scored = self._groups(
            lambda r: f"{r.score.images} {r.score.split} images" if r.score else None
        )
        if len(scored) > 1:
            parts = "; ".join(f"{', '.join(names)} on {what}" for what, names in scored.items())
            found.append(f"These runs were not scored on the same images: {parts}.")
        return found

    def write(self, folder: str | os.PathLike) -> list[pathlib.Path]:
        """Write `compare.png`, the curves of all runs, and `compare.html`, everything on a page.

        Args:
            folder: for them; made if it is missing.

        Returns:
            Paths of both.
        """
        folder = pathlib.Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / "compare.png", folder / "compare.html"]
        plotting.compared({record.name: record.history for record in self.records}, paths[0])
        write_page(
            paths[1],
            "compare.html",
            table=self.table,
            names=[record.name for record in self.records],
            folders=[record.folder for record in self.records],
            differences=self.differences,
            warnings=self.warnings,
            curves=picture(paths[0], "Validation loss and accuracy of each epoch"),
        )
        return paths

    def to_json(self) -> dict[str, Any]:
        """Numbers of every run and their differences."""
        return dict(
            runs=[record.summary() for record in self.records],
            differences=self.differences,
            same_images=not self.warnings,
        )

    def __str__(self) -> str:
        """The table, and a table of the differences."""
        parts = [_columns(self.table, left=4)]
        for group, fields in self.differences.items():
            rows = [[f, *map(_text, map(value, values))] for f, values in fields.items()]
            parts.append(_columns([[group, *(r.name for r in self.records)], *rows], left=99))
        if len(self.records) > 1 and not self.differences:
            parts.append("no difference in recipe, versions and machine")
        return "\n\n".join(parts)

    def _groups(self, key: Callable[[Record], str | None]) -> dict[str, list[str]]:
        """Names of the runs by what they have in common; those that have nothing are left out."""
        groups: dict[str, list[str]] = {}
        for record in self.records:
            common = key(record)
            if common:
                groups.setdefault(common, []).append(record.name)
        return groups


def read_runs(folders: Iterable[str | os.PathLike]) -> tuple[list[Record], list[str]]:
    """What run folders say, each folder once.

    Args:
        folders: of the runs.

    Returns:
        A record of each that can be read, and a line for each that cannot.
    """
    paths = {os.path.realpath(folder): pathlib.Path(folder) for folder in folders}
    records, errors = [], []
    for path, name in zip(paths.values(), _names(list(paths)), strict=True):
        try:
            records.append(read_run(path, name))
        except (OSError, ValueError) as error:
            errors.append(_text(error, 400))
    return records, errors


def _names(paths: Sequence[str]) -> list[str]:
    """Names of folders that tell them apart: the last part of the path, or more of it."""
    names = [os.path.basename(path) for path in paths]
    if len(set(names)) < len(names):
        above = os.path.commonpath(paths)
        names = [os.path.relpath(path, above) for path in paths]
    names = [_text(name) for name in names]
    twice = len(set(names)) < len(names)
    return [f"{i + 1}: {name}" if twice else name for i, name in enumerate(names)]


def read_run(folder: pathlib.Path, name: str) -> Record:
    """What one run folder says.

    Args:
        folder: of the run.
        name: to call it by.

    Returns:
        A `Record`; without a score where there is no `result.json`.

    Raises:
        FileNotFoundError: it is no run folder.
        ValueError: a file in it is damaged; the message names it.
    """
    if not (folder / "run.json").is_file():
        raise FileNotFoundError(f"{str(folder)!r} is no run folder: there is no run.json in it.")
    config = _read_json(folder / "run.json")
    if not isinstance(config.get("recipe"), dict):
        raise ValueError(f"{str(folder / 'run.json')!r} is damaged: it has no recipe.")
    digest, parameters = config.get("split_sha256"), config.get("parameters")
    return Record(
        name=name,
        folder=_text(folder, 400),
        recipe=_flat(config["recipe"]),
        versions=_flat(config.get("versions")) | _flat(config, only=("backend",)),
        machine=_flat(config.get("machine")),
        digest=digest if isinstance(digest, str) else None,
        parameters=parameters if _is_count(parameters) else None,
        history=_read_history(folder / "metrics.csv"),
        score=_read_score(folder / "result.json"),
    )


def _read_score(path: pathlib.Path) -> Score | None:
    if not path.exists():
        return None
    result = _read_json(path)
    top1, images = result.get("top1"), result.get("images")
    share = _number(top1) if isinstance(top1, int | float) else None
    if share is None or not 0 <= share <= 1 or not _is_count(images) or not images:
        raise ValueError(f"{str(path)!r} is damaged: it has no top1 from 0 to 1 of so many images.")
    return Score(_text(result.get("split")), images, share, result.get("interrupted") is True)


def _read_history(path: pathlib.Path) -> list[dict[str, float]]:
    """The numbers of each epoch; what is empty or no finite number is left out."""
    if not path.exists():
        return []
    history = []
    try:
        for row in csv.DictReader(io.StringIO(_read_text(path)), strict=True):
            numbers = {key: _number(cell) for key, cell in row.items()}
            history.append({k: number for k, number in numbers.items() if number is not None})
            if "epoch" not in history[-1]:
                raise ValueError(f"{str(path)!r} is damaged: row {len(history)} is no epoch.")
    except csv.Error as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}.") from error
    return history


def _read_json(path: pathlib.Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        values = json.loads(text, parse_constant=lambda _: None, parse_float=_number)
    except RecursionError as error:
        raise ValueError(f"{str(path)!r} is damaged: it is nested too deeply.") from error
    except ValueError as error:
        raise ValueError(f"{str(path)!r} is damaged: {error}.") from error
    if not isinstance(values, dict):
        raise ValueError(f"{str(path)!r} is damaged: it holds no record.")
    return values


def _read_text(path: pathlib.Path) -> str:
    if not path.is_file() or path.stat().st_size > MAX_FILE:
        raise ValueError(f"{str(path)!r} is no file of up to {MAX_FILE:,} bytes.")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(path)!r} is damaged: it is no text.") from error


def _number(text: Any) -> float | None:
    """A number of a sensible size, or nothing."""
    try:
        number = float(text)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < LARGEST else None


def _is_count(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool) and 0 <= given < 2**63


def _flat(given: Any, only: Sequence[str] | None = None) -> dict[str, Any]:
    """Fields of a record, those of `only`; what is neither text nor a number becomes text."""
    fields = given if isinstance(given, dict) else {}
    try:
        return {
            _text(key): cell if isinstance(cell, int | float | str | None) else _text(cell)
            for key, cell in fields.items()
            if only is None or key in only
        }
    except RecursionError as error:
        raise ValueError("run.json is damaged: it is nested too deeply.") from error


def _with(history: Iterable[dict[str, float]], key: str) -> list[dict[str, float]]:
    return [row for row in history if key in row]


def _text(given: Any, longest: int = LONGEST) -> str:
    """Foreign text that a terminal can show: no control characters, not too long."""
    shown = "".join(c if c.isprintable() else "?" for c in str("-" if given is None else given))
    if len(shown) <= longest:
        return shown
    return f"{shown[: longest // 2 - 1]}…{shown[-(longest // 2) :]}"


def _data(run: dict[str, Any]) -> str:
    return pathlib.PurePath(run["data"]).name or run["data"]


def _epochs(run: dict[str, Any], record: Record) -> str:
    planned = record.recipe.get("epochs")
    return f"{run['epochs']}" + (f" of {_text(planned)}" if planned != run["epochs"] else "")


def _best(run: dict[str, Any], _: Record) -> str:
    known = run["best_val_accuracy"] is not None
    return f"{percent(run['best_val_accuracy'])} (epoch {run['best_epoch']})" if known else "-"


def _held_out(run: dict[str, Any], _: Record) -> str:
    if not run["finished"]:
        return "unfinished"
    note = ", interrupted" if run["interrupted"] else ""
    return f"{percent(run['top1'], 2)} of {run['images']} {run['split']}{note}"


def _interval(run: dict[str, Any], _: Record) -> str:
    ends = run["top1_interval"]
    return f"{100 * ends[0]:.1f} to {percent(ends[1])}" if ends else "-"


COLUMNS: dict[str, Callable[[dict[str, Any], Record], str]] = {
    "run": lambda run, _: run["run"],
    "network": lambda run, _: run["model"],
    "data": lambda run, _: _data(run),
    "epochs": _epochs,
    "parameters": lambda run, _: f"{run['parameters']:,}" if run["parameters"] else "-",
    "best validation": _best,
    "last": lambda run, _: percent(run["val_accuracy"]) if run["val_accuracy"] is not None else "-",
    "top-1 on held-out images": _held_out,
    "95 % interval": _interval,
    "time": lambda run, _: clock(run["seconds"]) if run["seconds"] is not None else "-",
    "images/s": lambda run, _: (
        f"{run['images_per_second']:.1f}" if run["images_per_second"] else "-"
    ),
}
"""Columns of the table, and how a run fills them."""


def _columns(rows: Sequence[Sequence[str]], left: int) -> str:
    """Rows as text; the first `left` columns begin under each other, the others end so."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            f"{cell:<{width}}" if i < left else f"{cell:>{width}}"
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
