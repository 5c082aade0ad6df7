"""Charts: curves, matrices, grids of images."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

from senet.files import replacing
from senet.plotting.fonts import escape_missing, fit_fonts

BLUE, ORANGE, RED, GREY = "#1f5fa8", "#d9772b", "#b3261e", "#777777"
LONGEST = 24
"""Letters of a name in a picture; the rest of a longer one is left out."""


def curves(history: Sequence[dict[str, Any]], path: str | os.PathLike) -> None:
    """Loss and accuracy of each epoch, training and validation, as a PNG.

    Args:
        history: one record for each epoch with `epoch`, `loss`, `accuracy`, `val_loss` and
            `val_accuracy`.
        path: of the PNG.
    """
    epochs = [row["epoch"] for row in history]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axes, key, title in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("Loss", "Top-1 accuracy, %"), strict=True
    ):
        scale = 100 if key == "accuracy" else 1
        for prefix, colour, label in (("", BLUE, "training"), ("val_", ORANGE, "validation")):
            values = [scale * row[prefix + key] for row in history]
            axes.plot(epochs, values, color=colour, label=label, marker="o", markersize=2.5)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend(loc="lower right")
    _save(figure, path)


def compared(
    histories: Mapping[str, Sequence[Mapping[str, float]]], path: str | os.PathLike
) -> None:
    """Validation loss and accuracy of several runs, a colour for each, as a PNG.

    Args:
        histories: for each run, by name, one record for each epoch with `epoch`, `val_loss` and
            `val_accuracy`; a value that is missing leaves a gap.
        path: of the PNG.
    """
    columns = 2 if max((len(_short(name, 40)) for name in histories), default=0) > 24 else 4
    rows = -(-len(histories) // columns)
    figure = Figure(figsize=(9, 3.6 + 0.22 * rows), layout="constrained")
    palette = colormaps["tab10" if len(histories) <= 10 else "turbo"]
    shown = np.arange(len(histories))
    colours = palette(shown if len(histories) <= 10 else shown / len(histories))
    lines = []
    for axes, key, title in zip(
        figure.subplots(1, 2),
        ("val_loss", "val_accuracy"),
        ("Validation loss", "Validation top-1 accuracy, %"),
        strict=True,
    ):
        scale = 100 if key == "val_accuracy" else 1
        for colour, history in zip(colours, histories.values(), strict=True):
            epochs = [row["epoch"] for row in history]
            values = [scale * row.get(key, np.nan) for row in history]
            lines += axes.plot(epochs, values, color=colour, marker="o", markersize=2.5)
        axes.set(title=title, xlabel="epoch")
        axes.grid(alpha=0.3)
        axes.xaxis.get_major_locator().set_params(integer=True)
    # A name may begin with an underscore, which a legend leaves out: say it to the text instead.
    names = [_short(name, 40) for name in histories]
    legend = figure.legend(
        lines[: len(names)], ["-"] * len(names), loc="outside lower center", ncols=columns
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=name, parse_math=False)
    _save(figure, path)


def arms(scores: Mapping[str, Sequence[float]], path: str | os.PathLike, title: str = "") -> None:
    """Scores of several runs of each arm of an experiment as a PNG: points, mean and spread.

    Runs with the same seed are joined by a line.

    Args:
        scores: for each arm, by name, one score from 0 to 1 for each seed, in the same order.
        path: of the PNG.
        title: above the plot.
    """
    figure = Figure(figsize=(max(4.5, 1.2 * len(scores) + 2), 4), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(scores))
    values = 100 * np.array(list(scores.values()))
    axes.plot(places, values, color="lightgrey", linewidth=1, zorder=1)
    for place, row in zip(places, values, strict=True):
        axes.scatter(np.full(len(row), place), row, s=22, color="tab:blue", alpha=0.8, zorder=2)
    deviation = values.std(axis=1, ddof=1)
    axes.errorbar(
        places + 0.16, values.mean(axis=1), deviation, fmt="s", color="tab:orange", capsize=4
    )
    axes.set_xticks(places, [_short(name, 20) for name in scores], parse_math=False)
    axes.set(ylabel="top-1, %", xlim=(-0.5, len(scores) - 0.5))
    figure.suptitle(title, fontsize="medium", wrap=True, parse_math=False)
    axes.grid(axis="y", alpha=0.3)
    axes.plot([], [], "s", color="tab:orange", label="mean and standard deviation of a run")
    axes.plot([], [], "o", color="tab:blue", label="one run; lines join runs of one seed")
    figure.legend(loc="outside lower center", fontsize="small")
    _save(figure, path)


def calibration(
    rows: Sequence[Mapping[str, Any]], path: str | os.PathLike, title: str = ""
) -> None:
    """A reliability diagram as a PNG: accuracy against confidence, the images of each bin below.

    Args:
        rows: as `Evaluation.calibration` gives them.
        path: of the PNG.
        title: above the picture.
    """
    figure = Figure(figsize=(5.6, 5.6), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    left = np.array([100 * row["low"] for row in rows])
    widths = np.array([100 * (row["high"] - row["low"]) for row in rows])
    accuracy = [100 * row["accuracy"] for row in rows]
    confidence = [100 * row["confidence"] for row in rows]
    bars = dict(width=widths, align="edge", edgecolor="white", linewidth=0.8)
    above.bar(left, accuracy, color=BLUE, alpha=0.45, label="accuracy in the bin", **bars)
    above.plot((0, 100), (0, 100), color=GREY, linestyle="--", label="perfectly calibrated")
    above.plot(confidence, accuracy, "o", color=BLUE, label="at the mean confidence")
    above.set(ylabel="accuracy, %", ylim=(0, 103), xlim=(0, 100))
    above.grid(alpha=0.3)
    above.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=12)
    below.bar(left, [row["images"] for row in rows], color=GREY, **bars)
    below.set(xlabel="confidence (probability of the predicted class), %", ylabel="images")
    below.yaxis.get_major_locator().set_params(integer=True)
    below.grid(alpha=0.3, axis="y")
    _save(figure, path)


def confusion(
    matrix: np.ndarray, class_names: Sequence[str], path: str | os.PathLike, title: str = ""
) -> None:
    """A confusion matrix as a PNG: colour is the share of the true class, numbers are images.

    Args:
        matrix: images of each true class (row) predicted as each class (column), `(C, C)`.
        class_names: one for each class.
        path: of the PNG.
        title: above the picture.
    """
    size = len(class_names)
    side = min(3.0 + 0.45 * size, 14)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    picture = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(picture, ax=axes, shrink=0.8, label="share of the true class")
    ticks = np.arange(size) if size <= 40 else np.arange(0, size, size // 20)
    names = [_short(class_names[int(i)]) for i in ticks]
    rotation = 90 if max(map(len, names)) > 2 else 0
    axes.set_xticks(ticks, names, rotation=rotation, parse_math=False)
    axes.set_yticks(ticks, names, parse_math=False)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    if size <= 25:
        for row, column in np.argwhere(matrix):
            colour = "white" if share[row, column] > 0.5 else "black"
            text = str(matrix[row, column])
            axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8)
    _save(figure, path)


def grid(
    images: Sequence[np.ndarray | Image.Image],
    captions: Sequence[str],
    path: str | os.PathLike,
    *,
    title: str = "",
    columns: int = 6,
    marked: Sequence[bool] | np.ndarray = (),
    heat: Sequence[np.ndarray | None] = (),
) -> None:
    """Images in rows with a caption above each, as a PNG.

    Args:
        images: pixels 0-255, `(H, W, 3)` each.
        captions: one for each image.
        path: of the PNG.
        title: above the picture.
        columns: images in a row.
        marked: for each image whether its caption is red.
        heat: for each image a map `(h, w)` of 0 or more to lay over it, or `None`.
    """
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(1.75 * columns, 2.1 * rows + 0.4), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for i, (axes, image, caption) in enumerate(zip(figure.axes, images, captions, strict=False)):
        axes.imshow(image)
        over = heat[i] if i < len(heat) else None
        if over is not None:
            right, bottom = axes.get_xlim()[1], axes.get_ylim()[0]
            axes.imshow(
                over,
                cmap="turbo",
                alpha=0.5,
                vmin=0,
                vmax=max(float(np.max(over)), 1e-12),
                extent=(-0.5, right, bottom, -0.5),
                interpolation="bicubic",
            )
        colour = RED if i < len(marked) and marked[i] else "black"
        lines = "\n".join(_short(line) for line in caption.split("\n"))
        axes.set_title(lines, fontsize=8, color=colour, parse_math=False)
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def gate_curves(
    panels: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]],
    path: str | os.PathLike,
    *,
    title: str = "",
) -> None:
    """Gates of some channels, a panel for each block and a line for each class, as a PNG.

    Args:
        panels: for each block, by its title, and each line, by its name, the `channels` `(C,)`, the
            `mean` gate `(C,)` and, where it is to be shown, its `spread` `(C,)`. Every panel has
            the lines of the first.
        path: of the PNG.
        title: above the picture.
    """
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(max(6.0, 3.8 * columns), 2.6 * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.axis("off")
    palette = colormaps["tab10"]
    names = list(next(iter(panels.values())))
    lines: list[Any] = []
    for axes, (heading, curves) in zip(grid.flat, panels.items(), strict=False):
        for i, name in enumerate(names):
            line, last = curves[name], i == len(names) - 1
            colour = "black" if last and len(names) > 2 else palette(i)
            style = dict(color=colour, linewidth=1.6 if colour == "black" else 1.0)
            lines += axes.plot(line["channels"], line["mean"], **style)
            if "spread" in line:
                low, high = line["mean"] - line["spread"], line["mean"] + line["spread"]
                axes.fill_between(line["channels"], low, high, color=colour, alpha=0.2, linewidth=0)
        axes.set_title(_short(heading, 40), fontsize=10, parse_math=False)
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)
        axes.xaxis.get_major_locator().set_params(integer=True)
        ends = [c["mean"] + sign * c.get("spread", 0) for c in curves.values() for sign in (-1, 1)]
        low, high = np.min(ends), np.max(ends)
        axes.set_ylim(min(0, 1.1 * low), 1 if 0.3 < high <= 1 else 1.15 * max(high, 1e-3))
    for axes in grid[:, 0]:
        axes.set_ylabel("gate")
    for place in range(columns):
        below = [axes for axes in grid[:, place] if axes.axison]
        below[-1].set_xlabel("channel")
    legend = figure.legend(
        lines[: len(names)],
        ["-"] * len(names),
        loc="outside lower center",
        ncols=min(6, len(names)),
    )
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=_short(name), parse_math=False)
    figure.suptitle(title, fontsize=12)
    _save(figure, path)


def depth_profile(
    profile: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    path: str | os.PathLike,
    *,
    near: float,
    dead: float,
    constant: float,
) -> None:
    """What the gates of each block do, from the first block to the last, as a PNG.

    Args:
        profile: one line for each block, as `GateStatistics.profile` gives them.
        names: of the blocks.
        path: of the PNG.
        near: share of the range of a gate that is near its end.
        dead: gate that a dead channel never exceeds.
        constant: standard deviation, in shares of the range, up to which a channel is constant.
    """
    places = np.arange(len(profile))
    figure = Figure(figsize=(min(14, max(6.5, 0.34 * len(places) + 2)), 9), layout="constrained")
    saturation, variation, specificity, idle = figure.subplots(4, 1, sharex=True)
    column = {
        key: np.array([row[key] for row in profile], float) for key in profile[0] if key != "block"
    }
    bars = dict(width=0.7, edgecolor="white", linewidth=0.5)
    high, low = 100 * column["high"], 100 * column["low"]
    saturation.bar(places, high, color=ORANGE, label=f"above {1 - near:g}\nof the range", **bars)
    saturation.bar(
        places, low, bottom=high, color=BLUE, label=f"below {near:g}\nof the range", **bars
    )
    saturation.set(title="Saturation: gates at an end of their range, %", ylim=(0, 100))
    variation.bar(places, 100 * column["variation"], color=BLUE, **bars)
    variation.set(title="Variation between images: standard deviation, % of the range")
    specificity.bar(places, 100 * column["specificity"], color=BLUE, label="classes", **bars)
    shuffled = 100 * column["shuffled"]
    specificity.bar(places, shuffled, color=RED, label="shuffled labels", **bars | dict(width=0.3))
    specificity.set(
        title="Class-specificity: share of the variance between classes, %", ylim=(0, 100)
    )
    shut, fixed = (100 * column[key] / column["channels"] for key in ("dead", "constant"))
    idle.bar(places, shut, color=RED, label=f"dead: at most {dead:g}", **bars)
    label = f"constant: vary by less\nthan {constant:g} of the range"
    idle.bar(places, fixed, bottom=shut, color=GREY, label=label, **bars)
    idle.set(title="Dead and constant channels, %", ylim=(0, 100))
    for axes in figure.axes:
        axes.set_title(axes.get_title(), fontsize=10)
        axes.grid(axis="y", alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    step = max(1, -(-len(places) // 40))
    blocks = [_short(name) for name in names]
    idle.set_xticks(places[::step], blocks[::step], rotation=90, fontsize=8, parse_math=False)
    _save(figure, path)


def tradeoff(
    labels: Sequence[str],
    steps: Sequence[Mapping[str, Any]],
    path: str | os.PathLike,
    *,
    chosen: int,
    allowed: float,
    title: str = "",
) -> None:
    """Accuracy, loss and costs as gates are folded one after the other, as a PNG.

    Args:
        labels: of the steps.
        steps: each with `top1`, `loss`, `parameters`, `multiply_adds` (or `None`) and
            `milliseconds`.
        path: of the PNG.
        chosen: the step that is taken; it is marked.
        allowed: top-1 that may not be fallen below, 0 to 1.
        title: above the picture.
    """
    places = np.arange(len(steps))
    width = min(14, max(6.5, 0.34 * len(places) + 3))
    figure = Figure(figsize=(width, 8.5), layout="constrained")
    right, loss, costs = figure.subplots(3, 1, sharex=True)
    right.plot(places, [100 * step["top1"] for step in steps], color=BLUE, marker="o", markersize=4)
    right.axhline(100 * allowed, color=RED, linestyle="--", linewidth=1, label="allowed")
    right.set_title("Top-1, %", fontsize=10)
    loss.plot(places, [step["loss"] for step in steps], color=RED, marker="o", markersize=4)
    loss.set_title("Loss, nats", fontsize=10)
    loss.set_ylim(0, 1.1 * max(step["loss"] for step in steps) or 1)
    for key, (name, colour, marker) in {
        "parameters": ("parameters", GREY, "s"),
        "multiply_adds": ("multiply-adds", BLUE, "^"),
        "milliseconds": ("time for one image", ORANGE, "o"),
    }.items():
        if (whole := steps[0][key]) is not None:
            values = [100 * step[key] / whole for step in steps]
            costs.plot(places, values, color=colour, marker=marker, markersize=4, label=name)
    costs.set_title("What it takes, % of the network as it was", fontsize=10)
    costs.legend(fontsize=8)
    for axes in (right, loss, costs):
        axes.axvline(chosen, color="black", linestyle=":", linewidth=1.2, label="folded up to here")
        axes.grid(alpha=0.3)
    figure.legend(*right.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    step = max(1, -(-len(places) // 40))
    shown = [_short(label) for label in labels]
    costs.set_xticks(places[::step], shown[::step], rotation=90, fontsize=8, parse_math=False)
    figure.suptitle(title, fontsize=12)
    _save(figure, path)


def _short(name: str, longest: int = LONGEST) -> str:
    """A name without its middle where it is too long for a picture; its ends tell it apart."""
    name = escape_missing(name)
    if len(name) <= longest:
        return name
    end = longest // 3
    return f"{name[: longest - end - 1]}…{name[-end:]}"


def _save(figure: Figure, path: str | os.PathLike) -> None:
    fit_fonts(figure)
    with replacing(path) as written:
        figure.savefig(written, dpi=120)
