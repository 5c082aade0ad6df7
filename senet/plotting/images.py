"""Images in rows, with what is said of each."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from senet.plotting.style import INK, RED, Paths, drawing, shorten


@dataclasses.dataclass(frozen=True)
class Tile:
    """An image with its caption.

    Args:
        image: pixels 0-255, `(H, W, 3)`, or an image of Pillow.
        caption: its lines; long ones lose their middle.
        wrong: whether the caption is red.
    """

    image: Any
    caption: str
    wrong: bool = False


def draw_grid(
    sections: Mapping[str, Sequence[Tile]], paths: Paths, *, title: str = "", columns: int = 6
) -> None:
    """Images in rows with a caption above each, in sections with a heading.

    Args:
        sections: the images of each, by its heading, which may be empty; one without images is
            left out.
        paths: of the picture.
        title: above it.
        columns: images in a row.
    """
    filled = {heading: tiles for heading, tiles in sections.items() if tiles} or {"": []}
    rows = [max(1, -(-len(tiles) // columns)) for tiles in filled.values()]
    heights = [
        2.1 * count + (0.4 if heading else 0) for count, heading in zip(rows, filled, strict=True)
    ]
    with drawing(paths, 1.75 * columns, sum(heights) + (0.4 if title else 0), title) as figure:
        parts = figure.subfigures(len(filled), 1, squeeze=False, height_ratios=heights)
        for part, count, (heading, tiles) in zip(parts.flat, rows, filled.items(), strict=True):
            if heading:
                part.suptitle(heading, x=0.01, ha="left", fontweight="bold", parse_math=False)
            for axes in part.subplots(count, columns, squeeze=False).flat:
                axes.axis("off")
            for axes, tile in zip(part.axes, tiles, strict=False):
                axes.imshow(tile.image)
                lines = "\n".join(shorten(line) for line in tile.caption.split("\n"))
                look = dict(color=RED if tile.wrong else INK, fontsize=8, fontweight="normal")
                axes.set_title(lines, loc="center", parse_math=False, **look)
