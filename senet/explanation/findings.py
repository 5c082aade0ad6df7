"""The paper's three findings on what gates do, checked on another network."""

import dataclasses
import itertools
import re
from collections.abc import Sequence

import numpy as np
from scipy.stats import spearmanr

from senet.explanation.statistics import NEAR, GateStatistics

AGNOSTIC, SPECIFIC, SATURATED = 0.25, 0.5, 0.5
"""Our thresholds for the paper's words, which has none: shares of the variance of the gates of a
stage, beyond what shuffled labels give, and of the gates of a block."""
TREND = 0.5
"""Rank correlation of depth and class-specificity from which it rises with depth."""
MOST_CHANCE = 0.5
"""Share of the variance between shuffled classes from which there are too few images of each."""
UNKNOWN = "cannot be said"


@dataclasses.dataclass(frozen=True)
class Finding:
    """One of the paper's findings, checked on another network.

    Args:
        claim: the paper's, in plain words.
        answer: `"yes"`, `"partly"`, `"no"`, or `"cannot be said"`.
        found: what was found, in a sentence with its numbers.
        rule: from which numbers on the answer is which.
        look: where on the pictures it shows, and what it means.
    """

    claim: str
    answer: str
    found: str
    rule: str
    look: str

    def __str__(self) -> str:
        return f"{self.claim} {self.answer.capitalize()}: {self.found}"


def check_findings(blocks: Sequence[GateStatistics]) -> list[Finding]:
    """The three findings of section 7.2: in early, in deeper, and in the last blocks.

    Args:
        blocks: statistics of each, in network order, of the same images.

    Reference:
        Hu et al., arXiv 1709.01507, section 7.2.
    """
    stages = split_into_stages(blocks)
    reason = _why_unknown(blocks[0])
    return [_check_early(stages, reason), _check_deeper(stages, reason), _check_late(stages[-1])]


def split_into_stages(blocks: Sequence[GateStatistics]) -> list[list[GateStatistics]]:
    """Runs of blocks with the same number of channels; single blocks where all have the same."""
    runs = [list(run) for _, run in itertools.groupby(blocks, key=lambda b: len(b.largest))]
    return runs if len(runs) > 1 else [[block] for block in blocks]


def label_block(name: str) -> str:
    """A block as people call it: the name of its multiplication without what all have."""
    return re.sub(r"_se_[a-z]+$", "", name)


def _why_unknown(block: GateStatistics) -> str:
    """Why nothing can be said of classes; empty where something can."""
    classes = int((block.count > 0).sum())
    if classes < 2:
        return "all images are of one class."
    if block.shuffled_specificity.mean() > MOST_CHANCE:
        return f"{block.images} images of {classes} classes are too few images of each."
    return ""


def _measure_specificity(stage: Sequence[GateStatistics]) -> tuple[float, float, float]:
    """Mean of a stage beyond chance, with it, and of shuffled labels; 0 where no gate varies."""
    parts = [
        (0.0, 0.0, 0.0)
        if (block.constant | block.dead).all()
        else (
            block.specificity_beyond_chance,
            block.block_specificity,
            float(block.shuffled_specificity.mean()),
        )
        for block in stage
    ]
    beyond, share, chance = np.mean(parts, axis=0).tolist()
    return beyond, share, chance


def _name_stage(stage: Sequence[GateStatistics]) -> str:
    first, last = label_block(stage[0].name), label_block(stage[-1].name)
    return first if len(stage) == 1 else f"{first} to {last}"


def _check_early(stages: Sequence[Sequence[GateStatistics]], reason: str) -> Finding:
    beyond, share, chance = _measure_specificity(stages[0])
    answer = "yes" if beyond < AGNOSTIC else "partly" if beyond < SPECIFIC else "no"
    found = (
        f"in the first stage with gates ({_name_stage(stages[0])}) {share:.0%} of what they vary "
        f"lies between classes, on average; {chance:.1%} would if labels were shuffled."
    )
    if not share:
        found = f"the gates of the first stage with them ({_name_stage(stages[0])}) hardly vary."
    return Finding(
        "Early gates are class-agnostic.",
        UNKNOWN if reason else answer,
        reason or found,
        f"Yes below {AGNOSTIC:.0%}, partly below {SPECIFIC:.0%}, beyond what shuffled labels give.",
        "The lines of the classes lie on each other in the first panel. Such gates weigh features "
        "that every class needs, such as edges and colours.",
    )


def _check_deeper(stages: Sequence[Sequence[GateStatistics]], reason: str) -> Finding:
    blocks = [block for stage in stages for block in stage]
    depths = [_measure_specificity([block])[0] for block in blocks]
    (first, _, _), (last, share, _) = (_measure_specificity(s) for s in (stages[0], stages[-1]))
    if len(blocks) < 3:
        reason = reason or f"{len(blocks)} blocks are too few for a trend."
    varied = len({round(share, 9) for share in depths}) > 1
    rank = float(spearmanr(np.arange(len(depths)), depths).statistic) if varied else 0.0
    rises = last > first and last >= SPECIFIC
    answer = "yes" if rises and rank >= TREND else "partly" if last > first or rank > 0 else "no"
    return Finding(
        "Deeper gates are class-specific.",
        UNKNOWN if reason else answer,
        reason
        or f"in the last stage ({_name_stage(stages[-1])}) {share:.0%} of what the gates vary lies "
        f"between classes, on average; over all {len(blocks)} blocks the rank correlation of this "
        f"share with depth is {rank:+.2f}.",
        f"Yes where the last stage has at least {SPECIFIC:.0%} beyond what shuffled labels give "
        f"and more than the first, and the correlation is at least {TREND:g}; partly where one of "
        "them rises.",
        "The lines of the classes part from panel to panel, and the bars of class-specificity grow "
        "to the right. Such gates pick the channels that a class needs.",
    )


def _check_late(stage: Sequence[GateStatistics]) -> Finding:
    shares = {block.name: sum(block.saturation) for block in stage}
    name, share = max(shares.items(), key=lambda item: item[1])
    answer = "yes" if share >= SATURATED else "partly" if share >= SATURATED / 2 else "no"
    return Finding(
        "Some late blocks are saturated.",
        answer,
        f"{share:.0%} of the gates of {label_block(name)} are at an end of their range, the most "
        "of a block in the last stage.",
        f"Yes from {SATURATED:.0%}, partly from {SATURATED / 2:.0%} of the gates of a block in the "
        f"last stage within {NEAR:.0%} of the range of an end.",
        "In the profile the bars of saturation are high at the right; in the class picture the "
        "lines of such a block run along the upper or the lower edge. Open for every image, a gate "
        "does nothing, and can be folded away.",
    )
