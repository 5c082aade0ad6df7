"""What a run has achieved, written as it goes: its metrics, and in the end its result."""

import pathlib
from collections.abc import Sequence
from typing import Any

from senet.files import write_json, write_rows
from senet.runs.folder import METRICS, RESULT
from senet.runs.foreign import read_json


def write_metrics(folder: pathlib.Path, history: Sequence[dict[str, Any]]) -> None:
    """Write `metrics.csv`, a row for each epoch."""
    write_rows(folder / METRICS, list(history[0]), history)


def write_result(folder: pathlib.Path, result: dict[str, Any]) -> None:
    """Write `result.json`, after which the run is finished."""
    write_json(folder / RESULT, result)


def read_finished(folder: pathlib.Path, epochs: int) -> dict[str, Any] | None:
    """The result of a run that was trained for so many epochs to its end, or `None`.

    A result that is damaged is none: the run is evaluated again.
    """
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        result = read_json(path)
        finished = result["epochs"] == epochs and not result["interrupted"]
    except (OSError, ValueError, KeyError):
        return None
    return result if finished else None
