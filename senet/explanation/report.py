"""What the gates of a network do on a data set: pictures, numbers and one HTML page."""

import contextlib
import dataclasses
import itertools
import json
import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from scipy.stats import spearmanr

from senet.data.decode import ImageError
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation, batches, describe_seen, evaluation_of
from senet.explanation.gradcam import grad_cam
from senet.explanation.statistics import GateCounter, GateStatistics
from senet.files import replacing_folder
from senet.plotting import charts
from senet.runs.page import picture, write_page

MANIFEST = "explain.json"
"""The numbers of the page; also the file by which a folder of ours is known."""
CHANNELS = 50
"""Channels of a block in a picture, evenly spread; as the paper's figures have it."""
PANELS = 6
"""Blocks in a picture, at most; as the paper's figures have it."""
CLASSES = 4
"""Classes in a picture beside the mean of all; as the paper's figure 6 has it."""
IMAGES = 12
"""Correct predictions, and as many mistakes, of which Grad-CAM is shown."""
AGNOSTIC, SPECIFIC, SATURATED = 0.25, 0.5, 0.5
"""Our thresholds for the paper's words: shares of the variance, and of the gates of a block."""
PICTURES = {
    "profile": "Each block from the first to the last",
    "classes": "Mean gate of each class",
    "within": "Mean and spread within a class",
    "correct": "Grad-CAM of correct predictions",
    "mistakes": "Grad-CAM of the most confident mistakes",
}


@dataclasses.dataclass(frozen=True)
class Finding:
    """One of the paper's findings, checked on another network.

    Args:
        claim: the paper's, in plain words.
        answer: `"yes"`, `"partly"`, `"no"`, or `"cannot be said"`.
        numbers: what was found.
    """

    claim: str
    answer: str
    numbers: str


@dataclasses.dataclass(frozen=True)
class Explanation:
    """What was found out about a network.

    Args:
        blocks: statistics of each, in network order.
        evaluation: predictions on the same images.
        findings: the paper's three, in its order.
    """

    blocks: list[GateStatistics]
    evaluation: Evaluation
    findings: list[Finding]

    @property
    def profile(self) -> list[dict[str, Any]]:
        """The depth profile, a line for each block."""
        return [block.profile() for block in self.blocks]


def explain(
    model: keras.Model,
    source: Source,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    folder: str | os.PathLike,
    *,
    about: dict[str, Any],
    batch_size: int = 64,
) -> Explanation:
    """Look inside a network on labelled images and write what was seen into a folder.

    Every image is read once, and gates are kept of one batch at a time. The folder gets
    `report.html`, which needs no other file, the pictures in it as PNG, and `explain.json` with the
    numbers.

    Args:
        model: a functional Keras model with squeeze and excitation that gives probabilities.
        source: labelled images; those that cannot be read are left out.
        preprocessing: makes inputs of them.
        class_names: one for each class.
        folder: to write; an earlier report there is replaced.
        about: `data` and `split`, to say in the report; `trained_on`, how many more were left out
            because the network was trained on them, and `trained_on_complete`.
        batch_size: images in a batch.

    Returns:
        The numbers of the report.

    Raises:
        ValueError: the model has no squeeze-and-excitation blocks, or no image can be read.
        FileExistsError: the folder holds something else.

    Reference:
        Hu et al., arXiv 1709.01507, section 7.2 and figures 6 and 7.
    """
    counter = GateCounter(model, len(class_names))
    with replacing_folder(folder, MANIFEST) as written:
        read = np.zeros(len(source), bool)
        probabilities = np.zeros((len(source), len(class_names)), "float32")
        label = "reading gates"
        for batch in batches(source, preprocessing, len(class_names), batch_size, label=label):
            labels = source.labels[batch.indices]
            probabilities[batch.indices] = counter.add(batch.images, labels)
            read[batch.indices] = True
        evaluation = evaluation_of(source, tuple(class_names), read, probabilities)
        blocks = list(counter.blocks.values())
        found = Explanation(blocks, evaluation, findings(blocks))
        _draw_gates(found, written)
        _draw_heat(model, source.take(np.flatnonzero(read)), preprocessing, evaluation, written)
        _write(found, model, written, about)
    return found


def findings(blocks: Sequence[GateStatistics]) -> list[Finding]:
    """The paper's three findings of section 7.2, checked.

    A stage is a run of blocks with the same number of channels. The thresholds are ours, for the
    paper has none: see `AGNOSTIC`, `SPECIFIC` and `SATURATED`.
    """
    stages = _stages(blocks)
    shares = [block.block_specificity for block in blocks]
    first, last = (
        float(np.mean([b.block_specificity for b in s])) for s in (stages[0], stages[-1])
    )
    where = f"blocks of {len(stages[0][0].mean)} channels" if len(stages) > 1 else "first block"
    early = "yes" if first < AGNOSTIC else "partly" if first < SPECIFIC else "no"
    chance = blocks[0].chance
    deeper, trend = "cannot be said", f"{len(blocks)} blocks are too few for a trend"
    if len(blocks) > 2 and len({round(share, 9) for share in shares}) > 1:
        rank = float(spearmanr(np.arange(len(shares)), shares).statistic)
        rises = last > first and last >= SPECIFIC
        deeper = "yes" if rises and rank >= 0.5 else "partly" if last > first or rank > 0 else "no"
        trend = f"rank correlation with depth {rank:+.2f} over {len(blocks)} blocks"
    ends = {block.name: sum(block.saturation) for block in stages[-1]}
    most = max(ends, key=lambda name: ends[name])
    late = "yes" if ends[most] >= SATURATED else "partly" if ends[most] >= SATURATED / 2 else "no"
    return [
        Finding(
            "Early gates are class-agnostic.",
            early,
            f"{first:.0%} of the variance of the gates lies between classes in the {where} at the "
            f"entry; {chance:.1%} would by chance. Yes below {AGNOSTIC:.0%}, partly below "
            f"{SPECIFIC:.0%}.",
        ),
        Finding(
            "Deeper gates are class-specific.",
            deeper,
            f"{last:.0%} in the last stage against {first:.0%} in the first; {trend}. Yes where "
            f"the last stage has at least {SPECIFIC:.0%} and more than the first, and the "
            "correlation is at least 0.5.",
        ),
        Finding(
            "Some late blocks are saturated.",
            late,
            f"{ends[most]:.0%} of the gates of {block_label(most)} are within a tenth of an end of "
            f"their range, the most in the last stage. Yes from {SATURATED:.0%}, partly from half "
            "of that.",
        ),
    ]


def block_label(name: str) -> str:
    """A block as people call it: the name of its multiplication without what all have."""
    return re.sub(r"_se_[a-z]+$", "", name)


def _stages(blocks: Sequence[GateStatistics]) -> list[list[GateStatistics]]:
    """Runs of blocks with the same number of channels; single blocks where all have the same."""
    runs = [list(run) for _, run in itertools.groupby(blocks, key=lambda b: len(b.mean))]
    return runs if len(runs) > 1 else [[block] for block in blocks]


def chosen_blocks(blocks: Sequence[GateStatistics]) -> list[GateStatistics]:
    """The blocks of the pictures: the last ones of the last stage and the last of each before.

    For SE-ResNet-50 these are the paper's: SE_2_3, SE_3_4, SE_4_6, SE_5_1, SE_5_2 and SE_5_3.
    """
    *before, last = _stages(blocks)
    ends = [stage[-1] for stage in before]
    late = last[-max(1, min(3, PANELS - len(ends))) :]
    room = PANELS - len(late)
    if len(ends) > room:
        ends = [ends[i] for i in _spread(len(ends), room)]
    return ends + late


def _spread(number: int, count: int) -> list[int]:
    """At most `count` of the first `number` integers, evenly spread."""
    return sorted({round(i) for i in np.linspace(0, number - 1, min(number, count))})


def _draw_gates(found: Explanation, folder: pathlib.Path) -> None:
    blocks, names = found.blocks, found.evaluation.class_names
    labels = [block_label(block.name) for block in blocks]
    charts.depth_profile(found.profile, labels, blocks[0].chance, folder / "profile.png")
    seen = np.flatnonzero(blocks[0].count)
    four = [int(seen[i]) for i in _spread(len(seen), CLASSES)]
    two = [four[0], four[-1]] if len(four) > 1 else four

    def panels(classes: list[int], spread: bool) -> dict[str, Any]:
        made = {}
        for block in chosen_blocks(blocks):
            channels = np.array(_spread(len(block.mean), CHANNELS))
            lines = {}
            for k in classes:
                lines[names[k]] = dict(channels=channels, mean=block.class_means[k, channels])
                if spread:
                    lines[names[k]]["spread"] = block.class_spread[k, channels]
            if not spread:
                lines["all classes"] = dict(channels=channels, mean=block.mean[channels])
            made[block_label(block.name)] = lines
        return made

    channels = f"at most {CHANNELS} channels, evenly sampled"
    charts.gate_curves(
        panels(four, False), folder / "classes.png", title=f"Mean gate of each class ({channels})"
    )
    charts.gate_curves(
        panels(two, True),
        folder / "within.png",
        title=f"Mean gate and standard deviation within a class ({channels})",
    )


def _draw_heat(
    model: keras.Model,
    source: Source,
    preprocessing: Preprocessing,
    evaluation: Evaluation,
    folder: pathlib.Path,
) -> None:
    """Grad-CAM beside the original, of correct predictions and of the worst mistakes."""
    predicted, true = evaluation.predictions, evaluation.labels
    right = np.flatnonzero(predicted == true)
    # of each class in turn, so that few images show many classes
    turn = {int(i): n for k in np.unique(true) for n, i in enumerate(right[true[right] == k])}
    correct = sorted(turn, key=lambda i: (turn[i], true[i]))[:IMAGES]
    crops = _crops(source, preprocessing, [*correct, *evaluation.mistakes[:IMAGES].tolist()])
    wrong = [i for i in crops if predicted[i] != true[i]]
    asked = [(i, int(predicted[i])) for i in crops] + [(i, int(true[i])) for i in wrong]
    inputs = np.stack([preprocessing.normalise(crops[i]) for i, _ in asked])
    maps = grad_cam(model, inputs, np.array([k for _, k in asked]))
    heat = dict(zip(asked, maps, strict=True))

    def tile(i: int, k: int | None, heading: str) -> tuple[Any, Any, str]:
        share = "" if k is None else f"{evaluation.probabilities[i, k]:.0%}"
        return crops[i], None if k is None else heat[i, k], f"{heading}\n{share}"

    names = evaluation.class_names
    tiles: dict[str, list[tuple[Any, Any, str]]] = {"correct": [], "mistakes": []}
    for i in crops:
        here, was = names[predicted[i]], names[true[i]]
        if i not in wrong:
            tiles["correct"] += [tile(i, None, was), tile(i, predicted[i], f"why {here}")]
        else:
            tiles["mistakes"] += [tile(i, None, f"is {was}"), tile(i, predicted[i], f"why {here}")]
            tiles["mistakes"] += [tile(i, true[i], f"where {was}")]
    for name, row in tiles.items():
        if row:
            images, over, captions = zip(*row, strict=True)
            charts.grid(images, captions, folder / f"{name}.png", heat=over)


def _crops(source: Source, preprocessing: Preprocessing, chosen: Sequence[int]) -> dict[int, Any]:
    """What the network sees of images, without those that cannot be read any more."""
    found = {}
    for i in chosen:
        with contextlib.suppress(ImageError):
            found[i] = preprocessing.crop(source.image(i))
    return found


def _write(
    found: Explanation, model: keras.Model, folder: pathlib.Path, about: dict[str, Any]
) -> None:
    evaluation = found.evaluation
    numbers = about | dict(
        model=model.name,
        images=len(evaluation.labels),
        skipped=len(evaluation.skipped),
        top1=evaluation.top1,
        baseline=evaluation.majority[1],
        chance=float(found.blocks[0].chance),
        findings=[dataclasses.asdict(finding) for finding in found.findings],
        profile=found.profile,
    )
    (folder / MANIFEST).write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
    write_page(
        folder / "report.html",
        "explain.html",
        numbers=numbers,
        data=pathlib.Path(about["data"]).name,
        seen=list(describe_seen(about)) if "trained_on" in about else [],
        label=block_label,
        chosen=[block_label(block.name) for block in chosen_blocks(found.blocks)],
        mistakes=len(evaluation.mistakes),
        pictures={
            name: picture(folder / f"{name}.png", title)
            if (folder / f"{name}.png").is_file()  # there may be no mistakes
            else None
            for name, title in PICTURES.items()
        },
    )
