"""The table of a comparison: what its columns show, and how they become text."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from senet.foreign import clean_text
from senet.progress import clock
from senet.runs.page import percent
from senet.runs.reading import PastRun


def _show_data(run: dict[str, Any]) -> str:
    return pathlib.PurePath(run["data"]).name or run["data"]


def _show_epochs(run: dict[str, Any], past: PastRun) -> str:
    planned = past.recipe.get("epochs")
    return f"{run['epochs']}" + (f" of {clean_text(planned)}" if planned != run["epochs"] else "")


def _show_best(run: dict[str, Any], _: PastRun) -> str:
    known = run["best_val_accuracy"] is not None
    return f"{percent(run['best_val_accuracy'])} (epoch {run['best_epoch']})" if known else "-"


def _show_held_out(run: dict[str, Any], _: PastRun) -> str:
    if not run["finished"]:
        return "unfinished"
    note = ", interrupted" if run["interrupted"] else ""
    if run["top1"] is None:
        return f"no score: all {run['split']} images were trained on{note}"
    return f"{percent(run['top1'], 2)} of {run['images']} {run['split']}{note}"


def _show_interval(run: dict[str, Any], _: PastRun) -> str:
    ends = run["top1_interval"]
    return f"{100 * ends[0]:.1f} to {percent(ends[1])}" if ends else "-"


COLUMNS: dict[str, Callable[[dict[str, Any], PastRun], str]] = {
    "run": lambda run, _: run["run"],
    "network": lambda run, _: run["model"],
    "data": lambda run, _: _show_data(run),
    "epochs": _show_epochs,
    "parameters": lambda run, _: f"{run['parameters']:,}" if run["parameters"] else "-",
    "best validation": _show_best,
    "last": lambda run, _: percent(run["val_accuracy"]) if run["val_accuracy"] is not None else "-",
    "top-1 on held-out images": _show_held_out,
    "95 % interval": _show_interval,
    "baseline": lambda run, _: percent(run["baseline"]) if run["baseline"] is not None else "-",
    "time": lambda run, _: clock(run["seconds"]) if run["seconds"] is not None else "-",
    "images/s": lambda run, _: (
        f"{run['images_per_second']:.1f}" if run["images_per_second"] else "-"
    ),
}
"""Columns of the table, and how a run fills them."""
TEXT_COLUMNS = 4
"""How many of them, from the first, are texts; the others are numbers and end under each other."""


def fill_row(run: PastRun) -> list[str]:
    """The cells of a run, one for each of `COLUMNS`."""
    summary = run.summary()
    return [clean_text(show(summary, run)) for show in COLUMNS.values()]


def align_columns(rows: Sequence[Sequence[str]], left: int) -> str:
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
