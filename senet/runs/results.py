"""What a run has achieved, written as it goes: its metrics, and in the end its result."""

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from senet.files import write_json, write_rows
from senet.foreign import is_count, read_text
from senet.recipes.recipe import Recipe
from senet.runs.checkpoint import Checkpoint
from senet.runs.folder import METRICS, RESULT
from senet.runs.record import RunRecord


def write_metrics(folder: pathlib.Path, history: Sequence[dict[str, Any]]) -> None:
    """Write `metrics.csv`, a row for each epoch."""
    write_rows(folder / METRICS, list(history[0]), history)


def write_result(folder: pathlib.Path, result: dict[str, Any]) -> None:
    """Write `result.json`, the last file of a run that was scored.

    The run is finished if nothing interrupted it; else it can be gone on with.
    """
    write_json(folder / RESULT, result)


def read_finished(
    began: RunRecord, newest: Checkpoint | None, recipe: Recipe
) -> dict[str, Any] | None:
    """The result of a run that was trained to its end, or `None`.

    A result that is damaged is none: the run is evaluated again.

    Args:
        began: what the run began with.
        newest: its newest checkpoint.
        recipe: of the run as it is to be, which may be longer than it began.
    """
    path, epochs = began.folder / RESULT, recipe.epochs
    if newest is None or newest.state["epoch"] < epochs or not path.is_file():
        return None
    try:
        result = json.loads(read_text(path))
        finished = result["epochs"] == epochs and not result["interrupted"] and _is_whole(result)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return result if finished else None


def _is_whole(result: dict[str, Any]) -> bool:
    """Whether a result has what is said at the end of a run, of the right kinds."""
    numbers = [result[name] for name in ("top1", "baseline") if name in result]
    counts = [result[name] for name in ("images", "trained_on") if name in result]
    scored = "images" in result if "top1" in result else "trained_on" in result
    named = isinstance(result.get("majority_class"), str) or "baseline" not in result
    return "split" not in result or (
        (scored and named and isinstance(result["split"], str))
        and all(isinstance(n, int | float) and 0 <= n <= 1 for n in numbers)
        and all(n is None or is_count(n) for n in counts)
    )
