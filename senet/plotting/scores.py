"""How good a network is: confusion, calibration, and the arms of an experiment."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, to_rgba

from senet.plotting.style import (
    ALWAYS_WHITE,
    BLUE,
    INK,
    MUTED,
    ORANGE,
    RULE,
    Paths,
    drawing,
    shorten,
)

SHARES = LinearSegmentedColormap.from_list("shares", [to_rgba(BLUE, 0), to_rgba(BLUE, 1)])
"""From the ground, light or dark, to blue."""
MOST_COUNTED, MOST_NAMED = 25, 40
"""Classes up to which a confusion matrix has its numbers, and all of its names."""


def draw_confusion(
    matrix: np.ndarray, class_names: Sequence[str], paths: Paths, title: str = ""
) -> None:
    """A confusion matrix: colour is the share of the true class, numbers are images.

    Args:
        matrix: images of each true class (row) predicted as each class (column), `(C, C)`.
        class_names: one for each class.
        paths: of the picture.
        title: above it.
    """
    size = len(class_names)
    side = min(3.2 + 0.45 * size, 14)
    with drawing(paths, side + 0.8, side + 0.3, title) as figure:
        axes = figure.subplots()
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        shown = axes.imshow(share, cmap=SHARES, vmin=0, vmax=1, interpolation="none")
        bar = figure.colorbar(shown, ax=axes, shrink=0.8, label="share of the true class")
        bar.ax.collections[0].set_rasterized(True)  # else its seams show
        bar.outline.set_edgecolor(RULE)
        step = 1 if size <= MOST_NAMED else size // 20
        ticks = np.arange(0, size, step)
        names = [shorten(class_names[int(i)]) for i in ticks]
        rotation = 90 if max(map(len, names)) > 2 else 0
        axes.set_xticks(ticks, names, rotation=rotation, parse_math=False)
        axes.set_yticks(ticks, names, parse_math=False)
        axes.set(xlabel="predicted", ylabel="true")
        axes.grid(False)
        if size <= MOST_COUNTED:
            for row, column in np.argwhere(matrix):
                colour = ALWAYS_WHITE if share[row, column] > 0.8 else INK
                text = str(matrix[row, column])
                axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)


def draw_calibration(rows: Sequence[Mapping[str, Any]], paths: Paths, title: str = "") -> None:
    """A reliability diagram: accuracy against confidence, the images of each bin below.

    Args:
        rows: as `Evaluation.calibration` gives them.
        paths: of the picture.
        title: above it.
    """
    left = np.array([100 * row["low"] for row in rows])
    widths = np.array([100 * (row["high"] - row["low"]) for row in rows])
    accuracy = [100 * row["accuracy"] for row in rows]
    confidence = [100 * row["confidence"] for row in rows]
    bars = dict(width=widths, align="edge", linewidth=0.8)
    with drawing(paths, 6.4, 5.8, title) as figure:
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
        above.bar(left, accuracy, color=BLUE, alpha=0.45, label="accuracy in the bin", **bars)
        above.plot((0, 100), (0, 100), color=MUTED, linestyle="--", label="perfectly calibrated")
        above.plot(confidence, accuracy, "o", color=BLUE, label="at the mean confidence")
        above.set(ylabel="accuracy, %", ylim=(0, 103), xlim=(0, 100))
        below.bar(left, [row["images"] for row in rows], color=MUTED, **bars)
        below.set(xlabel="confidence (probability of the predicted class), %", ylabel="images")
        below.yaxis.get_major_locator().set_params(integer=True)
        below.grid(axis="x", visible=False)
        figure.legend(loc="outside lower center", ncols=3)


def draw_arms(scores: Mapping[str, Sequence[float]], paths: Paths, title: str = "") -> None:
    """Scores of several runs of each arm of an experiment: points, mean and spread.

    Runs with the same seed are joined by a line.

    Args:
        scores: for each arm, by name, one score from 0 to 1 for each seed, in the same order.
        paths: of the picture.
        title: above it.
    """
    places = np.arange(len(scores))
    values = 100 * np.array(list(scores.values()))
    deviation = values.std(axis=1, ddof=1)
    with drawing(paths, max(5.0, 1.2 * len(scores) + 2), 4) as figure:
        # of no fixed width, as names of data may be long
        figure.suptitle(title, fontsize="medium", wrap=True, parse_math=False)
        axes = figure.subplots()
        axes.plot(places, values, color=MUTED, linewidth=0.8, alpha=0.6, zorder=1)
        for place, row in zip(places, values, strict=True):
            axes.scatter(np.full(len(row), place), row, s=24, color=BLUE, alpha=0.8, zorder=2)
        look: Any = dict(fmt="s", color=ORANGE, capsize=4, markersize=6)
        axes.errorbar(places + 0.16, values.mean(axis=1), deviation, **look)
        axes.set_xticks(places, [shorten(name, 20) for name in scores], parse_math=False)
        axes.set(ylabel="top-1, %", xlim=(-0.5, len(scores) - 0.5))
        axes.grid(axis="x", visible=False)
        axes.plot([], [], "s", color=ORANGE, label="mean and standard deviation of a run")
        axes.plot([], [], "o", color=BLUE, label="one run; lines join runs of one seed")
        figure.legend(loc="outside lower center")
