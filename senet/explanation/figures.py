"""The paper's figures 6 and 7, and the profile of all blocks: their numbers and their pictures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from senet.explanation.findings import label_block, split_into_stages
from senet.explanation.sampling import spread_evenly
from senet.explanation.statistics import THRESHOLDS, GateStatistics
from senet.plotting.gates import draw_depth_profile, draw_gate_curves
from senet.plotting.style import Paths

CHANNELS = 50
"""Channels of a block in a picture, evenly spread; as the paper's figures have it."""
CLASSES = 4
"""Classes in a picture beside the mean of all; as the paper's figure 6 has it."""
PANELS = 12
"""Blocks in a picture, at most."""
Curves = dict[str, dict[str, np.ndarray]]
"""For each line by its name its `channels`, its `mean` and perhaps its `spread`."""


def choose_blocks(blocks: Sequence[GateStatistics], most: int = PANELS) -> list[GateStatistics]:
    """The blocks of the pictures: the last one of each stage, and all of the last stage.

    For SE-ResNet-50 these are the paper's: SE_2_3, SE_3_4, SE_4_6, SE_5_1, SE_5_2 and SE_5_3.
    Where they are too many, some are left out, evenly spread: of the last stage, and where that is
    not enough, of the stages.
    """
    *before, last = split_into_stages(blocks)
    ends = [stage[-1] for stage in before]
    if len(ends) >= most:
        ends = [ends[i] for i in spread_evenly(len(ends), most - 1)]
    room = most - len(ends)
    kept = spread_evenly(len(last), room) if room > 1 else [len(last) - 1]
    return ends + [last[i] for i in kept]


def choose_early_and_late(blocks: Sequence[GateStatistics]) -> list[GateStatistics]:
    """Two of the blocks of the pictures: the first and the last; one where there is one."""
    return choose_blocks(blocks, most=2)


def compute_class_curves(block: GateStatistics, names: Mapping[int, str]) -> Curves:
    """The paper's figure 6: mean gate of some channels for classes, and over all classes.

    Args:
        block: statistics.
        names: of the classes that are shown, by their row.
    """
    channels = spread_evenly(len(block.largest), CHANNELS)
    means = block.class_means
    lines = {name: dict(channels=channels, mean=means[k, channels]) for k, name in names.items()}
    whole = f"all {int((block.count > 0).sum())} classes"
    return lines | {whole: dict(channels=channels, mean=block.mean[channels])}


def compute_spread_curves(block: GateStatistics, names: Mapping[int, str]) -> Curves:
    """The paper's figure 7: mean and standard deviation of the gates within classes."""
    channels = spread_evenly(len(block.largest), CHANNELS)
    means, spreads = block.class_means, block.class_spread
    return {
        name: dict(channels=channels, mean=means[k, channels], spread=spreads[k, channels])
        for k, name in names.items()
    }


def draw_class_curves(
    blocks: Sequence[GateStatistics], names: Mapping[int, str], paths: Paths
) -> None:
    """Figure 6, a panel for each of these blocks."""
    _draw_curves(blocks, names, paths, compute_class_curves, "Mean gate of each class")


def draw_spread_curves(
    blocks: Sequence[GateStatistics], names: Mapping[int, str], paths: Paths
) -> None:
    """Figure 7, a panel for each of these blocks."""
    title = "Mean gate and standard deviation within a class"
    _draw_curves(blocks, names, paths, compute_spread_curves, title)


def _draw_curves(
    blocks: Sequence[GateStatistics],
    names: Mapping[int, str],
    paths: Paths,
    compute: Callable[[GateStatistics, Mapping[int, str]], Curves],
    title: str,
) -> None:
    channels = "all channels"
    if max(len(block.largest) for block in blocks) > CHANNELS:
        channels = f"at most {CHANNELS} channels of a block, evenly spread"
    panels = {label_block(block.name): compute(block, names) for block in blocks}
    draw_gate_curves(panels, paths, title=f"{title}\n({channels})")


def draw_profile(blocks: Sequence[GateStatistics], paths: Paths) -> None:
    """What the gates of each block do, from the first to the last."""
    draw_depth_profile(
        [block.profile() for block in blocks],
        [label_block(block.name) for block in blocks],
        paths,
        near=THRESHOLDS["near"],
        dead=THRESHOLDS["dead"],
        constant=THRESHOLDS["constant"],
        title="What the gates of each block do",
    )


def list_curves(blocks: Sequence[GateStatistics], names: Mapping[int, str]) -> dict[str, Any]:
    """The numbers of both figures as plain values, by the name of the layer that scales."""

    def plain(curves: Curves) -> dict[str, Any]:
        return {
            name: {key: value.tolist() for key, value in line.items() if key != "channels"}
            for name, line in curves.items()
        }

    return {
        block.name: dict(
            channels=spread_evenly(len(block.largest), CHANNELS).tolist(),
            means=plain(compute_class_curves(block, names)),
            within=plain(compute_spread_curves(block, choose_two(names))),
        )
        for block in blocks
    }


def choose_two(names: Mapping[int, str]) -> dict[int, str]:
    """The first and the last of the classes that are shown."""
    rows = list(names)
    return {row: names[row] for row in dict.fromkeys([rows[0], rows[-1]])}
