"""Diagrams: boxes and arrows."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from matplotlib.patches import FancyBboxPatch

from senet.plotting.style import GROUND, INK, MUTED, PLAIN, Paths, drawing


@dataclasses.dataclass(frozen=True)
class Box:
    """One box of a diagram.

    Args:
        text: its first line.
        detail: smaller, under it; may be empty.
        note: beside it; may be empty.
        colour: of its face.
    """

    text: str
    detail: str = ""
    note: str = ""
    colour: str = PLAIN


@dataclasses.dataclass(frozen=True)
class Diagram:
    """Boxes and the arrows between them; the longest way through is drawn as a column.

    Args:
        title: above it.
        boxes: by name, in the order of the data flow.
        arrows: pairs of names; the data flows from the first to the second.
    """

    title: str
    boxes: dict[str, Box]
    arrows: Sequence[tuple[str, str]]


WIDTH, HEIGHT, STEP, ASIDE = 2.6, 0.62, 1.0, 2.9
"""Sizes in a diagram, inches: width and height of a box, way down, way to the second column."""


def draw_diagrams(pictures: Sequence[Diagram], paths: Paths) -> None:
    """Diagrams side by side.

    Args:
        pictures: from left to right.
        paths: of the picture.
    """
    columns = [_column(picture) for picture in pictures]
    sides = [
        bool(set(p.boxes) - set(c)) or _passes(p, c) for p, c in zip(pictures, columns, strict=True)
    ]
    widths = [WIDTH + 2.0 + (ASIDE if side else 0.0) for side in sides]
    rows = max(map(len, columns))
    with drawing(paths, sum(widths) * 0.8, (rows * STEP + 0.4) * 0.8) as figure:
        grid = figure.subplots(1, len(pictures), squeeze=False, width_ratios=widths)
        for axes, picture, column, side in zip(grid.flat, pictures, columns, sides, strict=True):
            left = -WIDTH / 2 - (ASIDE if side else 0) - 0.1
            below = -(rows - 0.4) * STEP
            axes.set(xlim=(left, WIDTH / 2 + 1.9), ylim=(below, 0.75), aspect="equal")
            axes.axis("off")
            axes.text(0, 0.55, picture.title, fontsize=11, ha="center", parse_math=False)
            _draw(axes, picture, column)


def _column(picture: Diagram) -> list[str]:
    """Names along the longest way through a diagram."""
    longest: dict[str, list[str]] = {}
    for name in picture.boxes:
        ways = [longest[a] for a, b in picture.arrows if b == name]
        longest[name] = [*max(ways, key=len, default=[]), name]
    return max(longest.values(), key=len)


def _passes(picture: Diagram, column: list[str]) -> bool:
    """Whether an arrow passes boxes of the column by."""
    place = {name: i for i, name in enumerate(column)}
    return any(place[b] - place[a] > 1 for a, b in picture.arrows if a in place and b in place)


def _draw(axes: Any, picture: Diagram, column: list[str]) -> None:
    where = {name: (0.0, -i * STEP) for i, name in enumerate(column)}
    aside = [name for name in picture.boxes if name not in where]
    if aside:  # boxes beside the column, evenly between what feeds them and what they feed
        top = where[next(a for a, b in picture.arrows if b == aside[0])][1]
        bottom = where[next(b for a, b in picture.arrows if a == aside[-1])][1]
        for i, name in enumerate(aside):
            where[name] = (-ASIDE, top + (bottom - top) * (i + 1) / (len(aside) + 1))
    line = dict(arrowstyle="-|>", color=MUTED, shrinkA=0, shrinkB=0, linewidth=1.1)
    for a, b in picture.arrows:
        (xa, ya), (xb, yb) = where[a], where[b]
        if xa == xb and (xa or abs(ya - yb) < 1.5 * STEP):
            points = [(xa, ya - HEIGHT / 2), (xb, yb + HEIGHT / 2)]
        elif xb != 0:
            points = [(xa - WIDTH / 2, ya), (xb, ya), (xb, yb + HEIGHT / 2)]
        else:
            start = (xa, ya - HEIGHT / 2) if xa else (-WIDTH / 2, ya)
            points = [start, (-ASIDE, ya), (-ASIDE, yb), (-WIDTH / 2, yb)]
        axes.plot(*zip(*points[:-1], strict=True), color=MUTED, linewidth=1.1)
        axes.annotate("", points[-1], points[-2], arrowprops=line)
    for name, box in picture.boxes.items():
        _draw_box(axes, box, *where[name])


def _draw_box(axes: Any, box: Box, x: float, y: float) -> None:
    axes.add_patch(
        FancyBboxPatch(
            (x - WIDTH / 2, y - HEIGHT / 2),
            WIDTH,
            HEIGHT,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=box.colour,
            edgecolor=MUTED,
            linewidth=0.9,
            zorder=2,
        )
    )
    middle = dict(ha="center", va="center", zorder=3, parse_math=False)
    axes.text(x, y + (0.13 if box.detail else 0), box.text, fontsize=9, color=INK, **middle)
    axes.text(x, y - 0.15, box.detail, fontsize=7.5, color=MUTED, **middle)
    beside = dict(va="center", fontsize=7.5, color=MUTED, zorder=3, parse_math=False)
    if x == 0:
        axes.text(x + WIDTH / 2 + 0.12, y, box.note, **beside)
    else:
        over_the_arrow = dict(facecolor=GROUND, edgecolor="none", pad=1.5)
        below = y - HEIGHT / 2 - 0.32
        axes.text(x, below, box.note, ha="center", bbox=over_the_arrow, **beside)
