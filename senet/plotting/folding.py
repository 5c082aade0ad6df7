"""What a network takes and what it is worth as its gates go."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from senet.plotting.style import BLUE, INK, MUTED, ORANGE, RED, Paths, drawing, shorten


def draw_tradeoff(
    labels: Sequence[str],
    steps: Sequence[Mapping[str, Any]],
    paths: Paths,
    *,
    chosen: int,
    allowed: float,
    title: str = "",
) -> None:
    """Accuracy, loss and costs as gates are folded one after the other.

    Args:
        labels: of the steps.
        steps: each with `top1`, `loss`, `parameters`, `multiply_adds` (or `None`) and
            `milliseconds`.
        paths: of the picture.
        chosen: the step that is taken; it is marked.
        allowed: top-1 that may not be fallen below, 0 to 1.
        title: above it.
    """
    places = np.arange(len(steps))
    with drawing(paths, min(14, max(6.5, 0.34 * len(places) + 3)), 8.5, title) as figure:
        right, loss, costs = figure.subplots(3, 1, sharex=True)
        right.plot(places, [100 * step["top1"] for step in steps], color=BLUE, marker="o")
        right.axhline(100 * allowed, color=RED, linestyle="--", linewidth=1, label="allowed")
        right.set_title("Top-1, %")
        loss.plot(places, [step["loss"] for step in steps], color=BLUE, marker="o")
        loss.set_title("Loss, nats")
        loss.set_ylim(0, 1.1 * max(step["loss"] for step in steps) or 1)
        for key, (name, colour, marker) in {
            "parameters": ("parameters", MUTED, "s"),
            "multiply_adds": ("multiply-adds", BLUE, "^"),
            "milliseconds": ("time for one image", ORANGE, "o"),
        }.items():
            if (whole := steps[0][key]) is not None:
                values = [100 * step[key] / whole for step in steps]
                costs.plot(places, values, color=colour, marker=marker, label=name)
        costs.set_title("What it takes, % of the network as it was")
        for axes in (right, loss, costs):
            mark = dict(color=INK, linestyle=":", linewidth=1.2)
            axes.axvline(chosen, label="folded up to here" if axes is right else "", **mark)
        step = max(1, -(-len(places) // 40))
        shown = [shorten(label) for label in labels]
        costs.set_xticks(places[::step], shown[::step], rotation=90, fontsize=8, parse_math=False)
        figure.legend(loc="outside lower center", ncols=3)
