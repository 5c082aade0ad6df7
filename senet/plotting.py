"""Plots, in one place: curves, confusion matrices, grids of images."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from senet.files import replacing

BLUE, ORANGE, RED = "#1f5fa8", "#d9772b", "#b3261e"


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
    names = [class_names[int(i)] for i in ticks]
    axes.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 2 else 0)
    axes.set_yticks(ticks, names)
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
) -> None:
    """Images in rows with a caption above each, as a PNG.

    Args:
        images: pixels 0-255, `(H, W, 3)` each.
        captions: one for each image.
        path: of the PNG.
        title: above the picture.
        columns: images in a row.
        marked: for each image whether its caption is red.
    """
    rows = max(1, -(-len(images) // columns))
    figure = Figure(figsize=(1.75 * columns, 2.1 * rows + 0.4), layout="constrained")
    for axes in figure.subplots(rows, columns, squeeze=False).flat:
        axes.axis("off")
    for i, (axes, image, caption) in enumerate(zip(figure.axes, images, captions, strict=False)):
        axes.imshow(image)
        axes.set_title(caption, fontsize=8, color=RED if i < len(marked) and marked[i] else "black")
    figure.suptitle(title, fontsize=11)
    _save(figure, path)


def _save(figure: Figure, path: str | os.PathLike) -> None:
    with replacing(path) as written:
        figure.savefig(written, dpi=120)
