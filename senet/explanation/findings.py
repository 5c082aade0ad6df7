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
    alone = "there is one block, which is early and late." if len(blocks) == 1 else ""
    return [
        _check_early(stages, reason or alone),
        _check_deeper(stages, reason),
        _check_late(stages[-1]),
    ]


def split_into_stages(blocks: Sequence[GateStatistics]) -> list[list[GateStatistics]]:
    """The blocks of each stage.

    Stages are those of the names where all have one, as in this package. Else they are runs of
    blocks with the same number of channels; single blocks where all have the same.
    """
    named = [re.match(r"stage\d+_", block.name) for block in blocks]
    keys = [name[0] if name else "" for name in named]
    if not all(keys):
        keys = [str(len(block.largest)) for block in blocks]
    keyed = itertools.groupby(zip(keys, blocks, strict=True), key=lambda pair: pair[0])
    runs = [[block for _, block in run] for _, run in keyed]
    return runs if len(runs) > 1 else [[block] for block in blocks]


def label_block(name: str) -> str:
    """A block as people call it: the name of its multiplication without what all have."""
    return re.sub(r"_se_[a-z]+$", "", name)


def _why_unknown(block: GateStatistics) -> str:
    """Why nothing can be said of classes; empty where something can."""
    classes = int((block.count > 0).sum())
    if classes < 2:
        return "all images are of one class."
    if (classes - 1) / (block.images - 1) > MOST_CHANCE:  # the mean over all ways to shuffle
        return f"{block.images} images of {classes} classes are too few images of each."
    return ""


@dataclasses.dataclass(frozen=True)
class _Specificity:
    """Class-specificity of a stage: the mean of those of its blocks whose gates vary.

    Args:
        beyond: share of the variance between classes beyond what shuffled labels give.
        share: with it.
        chance: what shuffled labels give.
        still: blocks whose gates hardly vary, which do not count.
        blocks: of the stage.
    """

    beyond: float
    share: float
    chance: float
    still: int
    blocks: int

    @classmethod
    def measure(cls, stage: Sequence[GateStatistics]) -> "_Specificity":
        vary = [block for block in stage if not (block.constant | block.dead).all()]
        parts = [
            (b.specificity_beyond_chance, b.block_specificity, float(b.shuffled_specificity.mean()))
            for b in vary
        ]
        beyond, share, chance = np.mean(parts, axis=0).tolist() if parts else (0.0, 0.0, 0.0)
        return cls(beyond, share, chance, len(stage) - len(vary), len(stage))

    def __str__(self) -> str:
        if self.still == self.blocks:
            return "the gates hardly vary"
        left_out = f" ({self.still} of {self.blocks} blocks hardly vary and do not count)"
        return (
            f"{self.share:.0%} of what the gates vary lies between classes"
            f"{left_out if self.still else ''}; {self.chance:.1%} would if labels were shuffled"
        )


def _name_stage(stage: Sequence[GateStatistics]) -> str:
    first, last = label_block(stage[0].name), label_block(stage[-1].name)
    return first if len(stage) == 1 else f"{first} to {last}"


def _check_early(stages: Sequence[Sequence[GateStatistics]], reason: str) -> Finding:
    first = _Specificity.measure(stages[0])
    answer = "yes" if first.beyond < AGNOSTIC else "partly" if first.beyond < SPECIFIC else "no"
    return Finding(
        "Early gates are class-agnostic.",
        UNKNOWN if reason else answer,
        reason or f"in the first stage with gates, {_name_stage(stages[0])}, {first}.",
        f"Yes below {AGNOSTIC:.0%}, partly below {SPECIFIC:.0%}, beyond what shuffled labels give.",
        "The lines of the classes lie on each other in the first panel. Such gates weigh features "
        "that every class needs, such as edges and colours.",
    )


def _check_deeper(stages: Sequence[Sequence[GateStatistics]], reason: str) -> Finding:
    single = [_Specificity.measure([block]) for stage in stages for block in stage]
    depths = [one.beyond for one in single if not one.still]
    first, last = (_Specificity.measure(stage) for stage in (stages[0], stages[-1]))
    if len(single) < 3:
        reason = reason or "fewer than three blocks are no trend."
    varied = len(depths) > 2 and len({round(share, 9) for share in depths}) > 1
    rank = float(spearmanr(np.arange(len(depths)), depths).statistic) if varied else 0.0
    rises = last.beyond > first.beyond and last.beyond >= SPECIFIC
    partly = last.beyond > first.beyond or rank > 0
    answer = "yes" if rises and rank >= TREND else "partly" if partly else "no"
    return Finding(
        "Deeper gates are class-specific.",
        UNKNOWN if reason else answer,
        reason
        or f"in the last stage, {_name_stage(stages[-1])}, {last}. Beyond that it is "
        f"{last.beyond:.0%} in the last stage and {first.beyond:.0%} in the first, and its rank "
        f"correlation with depth is {rank:+.2f} over {len(depths)} blocks.",
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
        "lines of such a block run along the ends of the range. A gate that is the same for every "
        "image can be folded away.",
    )
