"""What gates do: lines over the channels of a block, and bars over the blocks of a network."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from senet.plotting.curves import add_legend
from senet.plotting.style import (
    BLUE,
    INK,
    MUTED,
    ORANGE,
    RED,
    Paths,
    drawing,
    series,
    shorten,
)


def draw_gate_curves(
    panels: Mapping[str, Mapping[str, Mapping[str, np.ndarray]]], paths: Paths, *, title: str = ""
) -> None:
    """Gates of some channels, a panel for each block and a line for each class.

    Args:
        panels: for each block, by its title, and each line, by its name, the `channels` `(C,)`, the
            `mean` gate `(C,)` and, where it is to be shown, its `spread` `(C,)`. Every panel has
            the lines of the first.
        paths: of the picture.
        title: above it.
    """
    columns = min(3, len(panels)) if len(panels) != 4 else 2
    rows = -(-len(panels) // columns)
    names = list(next(iter(panels.values())))
    with drawing(paths, max(6.0, 3.8 * columns), 2.6 * rows + 0.9, title) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.axis("off")
        lines: list[Any] = []
        for axes, (heading, curves) in zip(grid.flat, panels.items(), strict=False):
            for i, name in enumerate(names):
                line = curves[name]
                look = series(i) | dict(linewidth=1.1, marker="")
                if i == len(names) - 1 and len(names) > 2:  # the mean of all
                    look |= dict(color=INK, linestyle="-", linewidth=1.8)
                lines += axes.plot(line["channels"], line["mean"], **look)
                if "spread" in line:
                    low, high = line["mean"] - line["spread"], line["mean"] + line["spread"]
                    band = dict(color=look["color"], alpha=0.2, linewidth=0)
                    axes.fill_between(line["channels"], low, high, **band)
            axes.set_title(shorten(heading, 40), parse_math=False)
            axes.margins(x=0.01)
            axes.xaxis.get_major_locator().set_params(integer=True)
            ends = [
                c["mean"] + sign * c.get("spread", 0) for c in curves.values() for sign in (-1, 1)
            ]
            low, high = np.min(ends), np.max(ends)
            axes.set_ylim(min(0, 1.1 * low), 1 if 0.3 < high <= 1 else 1.15 * max(high, 1e-3))
        for axes in grid[:, 0]:
            axes.set_ylabel("gate")
        for place in range(columns):
            below = [axes for axes in grid[:, place] if axes.axison]
            below[-1].set_xlabel("channel")
        shown = [shorten(name) for name in names]
        add_legend(figure, lines[: len(names)], shown, min(6, len(names)))


def draw_depth_profile(
    profile: Sequence[Mapping[str, Any]],
    names: Sequence[str],
    paths: Paths,
    *,
    near: float,
    dead: float,
    constant: float,
    title: str = "",
) -> None:
    """What the gates of each block do, from the first block to the last.

    Args:
        profile: one line for each block, as `GateStatistics.profile` gives them.
        names: of the blocks.
        paths: of the picture.
        near: share of the range of a gate that is near its end.
        dead: gate that a dead channel never exceeds.
        constant: standard deviation, in shares of the range, up to which a channel is constant.
        title: above it.
    """
    places = np.arange(len(profile))
    column = {
        key: np.array([row[key] for row in profile], float) for key in profile[0] if key != "block"
    }
    bars = dict(width=0.7, linewidth=0.5)
    with drawing(paths, min(14, max(6.5, 0.34 * len(places) + 2)), 9, title) as figure:
        saturation, variation, specificity, idle = figure.subplots(4, 1, sharex=True)
        high, low = 100 * column["high"], 100 * column["low"]
        label = f"above {1 - near:g}\nof the range"
        saturation.bar(places, high, color=ORANGE, label=label, **bars)
        label = f"below {near:g}\nof the range"
        saturation.bar(places, low, bottom=high, color=BLUE, label=label, **bars)
        saturation.set(title="Saturation: gates at an end of their range, %", ylim=(0, 100))
        variation.bar(places, 100 * column["variation"], color=BLUE, **bars)
        variation.set(title="Variation between images: standard deviation, % of the range")
        specificity.bar(places, 100 * column["specificity"], color=BLUE, label="classes", **bars)
        shuffled, narrow = 100 * column["shuffled"], bars | dict(width=0.3)
        specificity.bar(places, shuffled, color=ORANGE, label="shuffled labels", **narrow)
        specificity.set(
            title="Class-specificity: share of the variance between classes, %", ylim=(0, 100)
        )
        shut, fixed = (100 * column[key] / column["channels"] for key in ("dead", "constant"))
        idle.bar(places, shut, color=RED, label=f"dead: at most {dead:g}", **bars)
        label = f"constant: vary by less\nthan {constant:g} of the range"
        idle.bar(places, fixed, bottom=shut, color=MUTED, label=label, **bars)
        idle.set(title="Dead and constant channels, %", ylim=(0, 100))
        for axes in figure.axes:
            axes.grid(axis="x", visible=False)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
        step = max(1, -(-len(places) // 40))
        blocks = [shorten(name) for name in names]
        idle.set_xticks(places[::step], blocks[::step], rotation=90, fontsize=8, parse_math=False)
