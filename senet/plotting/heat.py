"""Heat over images, and what removing what is hot does."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from PIL import Image

from senet.plotting.style import BLUE, MUTED, ORANGE, Paths, drawing

HEAT = colormaps["inferno"]
"""From black over red to yellow, lighter with every step: told apart by everybody, in grey too."""
HOTTEST = 0.88
"""Place on it of the hottest: a strong yellow, as its end is nearly white."""
STRONGEST = 0.65
"""Share of the colour where it is hottest; the image shows through."""


def lay_heat(image: Image.Image | np.ndarray, heat: np.ndarray) -> Image.Image:
    """An image with its heat over it; where there is none, it is grey and darker.

    Args:
        image: pixels 0-255, `(H, W, 3)`, or an image of Pillow.
        heat: `(H, W)`, 0 or more; its largest value is the hottest colour.
    """
    pixels = np.asarray(image, "float32") / 255
    share = (heat / max(float(np.max(heat)), 1e-12))[..., None].astype("float32")
    grey = pixels.mean(axis=-1, keepdims=True)
    ground = 0.55 * grey + 0.2 * pixels
    colour = HEAT(HOTTEST * share[..., 0])[..., :3].astype("float32")
    covered = STRONGEST * share**0.7
    laid = ground * (1 - covered) + colour * covered
    return Image.fromarray(np.round(255 * laid.clip(0, 1)).astype("uint8"))


def draw_deletion(
    shares: Sequence[float], hottest: Any, random: Any, paths: Paths, *, title: str = ""
) -> None:
    """The score as pixels are removed, the hottest first, beside those of a random map.

    Args:
        shares: of the pixels that are removed, 0 to 1, `(S,)`.
        hottest: score of each image, `(N, S)`.
        random: the same with the pixels of a random map, `(N, S)`.
        paths: of the picture.
        title: above it.
    """
    places = 100 * np.asarray(shares)
    with drawing(paths, 6.4, 3.8, title) as figure:
        axes = figure.subplots()
        for values, colour, marker, label in (
            (hottest, ORANGE, "o", "the hottest first"),
            (random, BLUE, "s", "those of a random map first"),
        ):
            mean = np.mean(values, axis=0)
            axes.plot(places, mean, color=colour, marker=marker, label=label)
            if len(values) > 1:
                error = 1.96 * np.std(values, axis=0, ddof=1) / len(values) ** 0.5
                band: Any = dict(color=colour, alpha=0.18, lw=0)
                axes.fill_between(places, mean - error, mean + error, **band)
        low, high = np.mean(hottest, axis=0), np.mean(random, axis=0)
        axes.fill_between(places, low, high, color=MUTED, alpha=0.12, lw=0)
        axes.set(xlabel="pixels removed, %", ylabel="score of the class")
        axes.set_ylim(bottom=min(0, axes.get_ylim()[0]))
        figure.legend(loc="outside lower center", ncols=2)
