"""Curves over the epochs: of one run, and of several."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from senet.plotting.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    Paths,
    drawing,
    mark_size,
    series,
    shorten,
)


def draw_curves(
    history: Sequence[Mapping[str, Any]],
    paths: Paths,
    *,
    title: str = "",
    resumed: Sequence[float] = (),
) -> None:
    """Loss, accuracy and learning rate of each epoch, with the best one marked.

    Args:
        history: one record for each epoch with `epoch`, `learning_rate`, `loss`, `accuracy`,
            `val_loss` and `val_accuracy`; a value that is missing leaves a gap.
        paths: of the picture.
        title: above it.
        resumed: where the run was gone on with, in epochs: 2.5 is the middle of the third.
    """
    best = find_best(history)
    with drawing(paths, 10, 3.7, title) as figure:
        loss, accuracy, rate = figure.subplots(1, 3, width_ratios=(4, 4, 3))
        for axes, key in ((loss, "loss"), (accuracy, "accuracy")):
            for prefix, colour, marker in (("", BLUE, "o"), ("val_", ORANGE, "s")):
                label = "validation" if prefix else "training, with augmentation"
                _plot(axes, history, prefix + key, color=colour, marker=marker, label=label)
        _plot(rate, history, "learning_rate", color=MUTED, marker="o")
        loss.set_title("Loss")
        accuracy.set_title("Top-1, %")
        rate.set_title("Learning rate")
        rate.set_ylim(bottom=0)
        rate.ticklabel_format(axis="y", scilimits=(-3, 3))
        if best:
            label = f"best validation: {100 * best['val_accuracy']:.1f} % in epoch {best['epoch']}"
            for axes in (loss, accuracy):
                axes.axvline(best["epoch"], color=INK, linestyle=":", lw=1.1, zorder=1, label=label)
        for i, place in enumerate(resumed):
            for axes in (loss, accuracy, rate):
                label = "" if i else "went on from a checkpoint"
                axes.axvline(place, color=MUTED, linestyle="--", linewidth=1, label=label)
        _number_epochs(figure, [row["epoch"] for row in history])
        handles, labels = loss.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)


def find_best(history: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The epoch of the best validation accuracy, the first if there are several."""
    scored = [row for row in history if row.get("val_accuracy") is not None]
    return max(scored, key=lambda row: row["val_accuracy"], default=None)


def draw_comparison(
    histories: Mapping[str, Sequence[Mapping[str, Any]]], paths: Paths, *, title: str = ""
) -> None:
    """Validation loss and accuracy of several runs, a line for each.

    Args:
        histories: for each run, by name, one record for each epoch with `epoch`, `val_loss` and
            `val_accuracy`; a value that is missing leaves a gap.
        paths: of the picture.
        title: above it.
    """
    names = [shorten(name, 40) for name in histories]
    columns = 2 if max(map(len, names), default=0) > 24 else 4
    rows = -(-len(names) // columns)
    with drawing(paths, 10, 3.7 + 0.22 * rows, title) as figure:
        loss, accuracy = figure.subplots(1, 2)
        for number, history in enumerate(histories.values()):
            _plot(loss, history, "val_loss", **series(number))
            _plot(accuracy, history, "val_accuracy", **series(number))
        loss.set_title("Validation loss")
        accuracy.set_title("Validation top-1, %")
        _number_epochs(figure, [row["epoch"] for rows in histories.values() for row in rows])
        add_legend(figure, loss.get_lines(), names, columns)


def add_legend(figure: Figure, lines: Sequence[Any], names: Sequence[str], columns: int) -> None:
    """A legend below a picture, with these names as they are."""
    # A name may begin with an underscore, which a legend leaves out: say it to the text instead.
    legend = figure.legend(lines, ["-"] * len(names), loc="outside lower center", ncols=columns)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)


def _plot(axes: Axes, history: Sequence[Mapping[str, Any]], key: str, **look: Any) -> None:
    """One line; where there is one epoch, its point with its number."""
    scale = 100 if key.endswith("accuracy") else 1
    given = [row.get(key) for row in history]
    values = [np.nan if value is None else scale * value for value in given]
    epochs = [row["epoch"] for row in history]
    axes.plot(epochs, values, markersize=mark_size(len(history)), **look)
    if len(history) == 1 and given[0] is not None:
        shift: Any = dict(
            xytext=(9, 0), textcoords="offset points", va="center", annotation_clip=False
        )
        axes.annotate(f"{values[0]:.3g}", (epochs[0], values[0]), color=look["color"], **shift)


def _number_epochs(figure: Figure, epochs: Sequence[int]) -> None:
    """Whole epochs below all panels, with room where there is only one."""
    for axes in figure.axes:
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
        if len(set(epochs)) == 1:
            axes.set(xlim=(epochs[0] - 0.9, epochs[0] + 0.9), xticks=[epochs[0]])
            axes.margins(y=0.4)
