"""`senet.explain`: what the gates of a trained network do on labelled images."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from senet.data.sources import Source
from senet.errors import one_family
from senet.evaluation import describe_seen
from senet.explanation.deletion import Deletion
from senet.explanation.explaining import Explanation
from senet.explanation.explaining import explain as explain_gates
from senet.explanation.findings import Finding, label_block
from senet.explanation.page import NUMBERS, PAGE, write_explanation
from senet.explanation.statistics import GateStatistics
from senet.files import replacing_folder
from senet.foreign import listed
from senet.prediction.labelled import labelled_images, take_held_out
from senet.prediction.trained import Trained, TrainedLike, load_in_keras
from senet.tasks.arguments import require_count, require_gates

IMAGES = 2000
"""Images that are looked at, where no number is said."""


@dataclasses.dataclass(frozen=True, repr=False)
class ExplanationResult:
    """What the gates of a network do on labelled images.

    Args:
        explanation: statistics of the gates, and predictions on the same images.
        about: `data` and `split` of the images, how many more were left out because the network was
            trained on them (`trained_on`), and `warnings`.
        trained: the network.
        source: the images.
        folder: that was written, or `None`.
        deletion: whether the heat maps on the page beat random ones, where `senet.explain` wrote it
            and the network has maps; else `None`.

    Example:
        >>> found = senet.explain("runs/digits")
        >>> [finding.claim for finding in found.findings][0]
        'Early gates are class-agnostic.'
        >>> [row["channels"] for row in found.profile]
        [16, 16, 16, 32, 32, 32, 64, 64, 64]
    """

    explanation: Explanation
    about: dict[str, Any]
    trained: Trained
    source: Source
    folder: pathlib.Path | None = None
    deletion: Deletion | None = None

    @property
    def images(self) -> int:
        """Number of images that were looked at."""
        return len(self.explanation.evaluation.labels)

    @property
    def blocks(self) -> dict[str, GateStatistics]:
        """Statistics of each block, in network order and by the name of the layer that scales."""
        return {block.name: block for block in self.explanation.blocks}

    @property
    def findings(self) -> list[Finding]:
        """The paper's three, checked: early, deeper and late gates."""
        return self.explanation.findings

    @property
    def profile(self) -> list[dict[str, Any]]:
        """A line for each block, as `GateStatistics.profile` gives it."""
        return self.explanation.profile

    @property
    def warnings(self) -> list[str]:
        """What was left out, and what makes numbers other than they seem, a sentence each."""
        return self.about["warnings"]

    def save(self, folder: str | os.PathLike) -> None:
        """Write `explain.html`, its pictures and `gates.json` into a folder.

        Args:
            folder: to write; an earlier explanation there is replaced.

        Raises:
            ExistsError: the folder holds something else.
        """
        with one_family(), replacing_folder(folder, NUMBERS) as written:
            self._write(written)

    def _write(self, folder: pathlib.Path, batch_size: int = 32) -> Deletion | None:
        return write_explanation(
            self.explanation,
            self.trained.model,
            self.source,
            self.trained.preprocessing,
            folder,
            self.about,
            batch_size=batch_size,
        )

    def to_json(self) -> dict[str, Any]:
        """Findings, profile and scores as plain JSON values: the last line of `senet explain`."""
        out = {} if self.folder is None else dict(out=str(self.folder))
        tested = {} if self.deletion is None else dict(deletion=self.deletion.to_json())
        return self.about | self.explanation.summary() | tested | out

    def __str__(self) -> str:
        """The profile as a table, and what became of the paper's findings."""
        seen = describe_seen(self.about)
        lines = [*_tabulate_profile(self.profile), "", *map(str, self.findings)]
        lines += [] if self.deletion is None else [str(self.deletion)]
        lines += [*self.explanation.sample, *seen]
        if self.folder is not None:
            lines.append(f"page: {self.folder / PAGE}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return "\n".join([str(self), *(f"warning: {line}" for line in self.warnings)])


def _tabulate_profile(profile: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A line for each block."""
    width = max(5, *(len(label_block(row["block"])) for row in profile))
    yield (
        f"{'block':<{width}}  channels   mean  lowest  highest  variation  between classes  "
        "shuffled  dead  constant"
    )
    for row in profile:
        yield (
            f"{label_block(row['block']):<{width}}  {row['channels']:>8}  {row['mean']:>5.3f}  "
            f"{row['low']:>6.1%}  {row['high']:>7.1%}  {row['variation']:>9.1%}  "
            f"{row['specificity']:>15.1%}  {row['shuffled']:>8.1%}  {row['dead']:>4}  "
            f"{row['constant']:>8}"
        )


@one_family()
def explain(
    trained: TrainedLike,
    data: str | os.PathLike | None = None,
    *,
    out: str | os.PathLike | None = None,
    weights: str | os.PathLike | None = None,
    split: str | None = None,
    class_map: str | os.PathLike | None = None,
    classes: str | Sequence[str] = (),
    images: int = IMAGES,
    batch_size: int = 64,
) -> ExplanationResult:
    """Show what the gates of a trained network do on labelled images.

    Mean gate of each class, mean and spread within a class, a profile of all blocks, and the
    paper's three findings, checked. Images that the network was trained on do not count, unless it
    is the training images of its own split that are asked for. Of more than 100 classes 100 are
    looked at. What is kept in memory does not grow with the number of images.

    Args:
        trained: a run folder or what `senet.train` gave, a file, `"se_resnet50.imagenet"`, or a
            network from `senet.load`; with squeeze-and-excitation blocks of any placement.
        data: folder, zip file or name, as for `senet.train`; by default what the run was trained
            on.
        out: folder for `explain.html`, its pictures (PNG, charts SVG too) and `gates.json`; an
            earlier explanation there is replaced. Without it nothing is written; `save` of the
            result does it later.
        weights: published weights, where `trained` is the name of a network.
        split: `"train"`, `"validation"`, `"test"` or `"all"`; by default as for `senet.evaluate`.
        class_map: file that renames or merges classes, `.csv` or `.json`.
        classes: to draw, by name; by default four, evenly spread.
        images: to look at, at most; of each class its share.
        batch_size: images in a batch.

    Returns:
        An `ExplanationResult`.

    Raises:
        InputError: the network has no squeeze-and-excitation blocks, or lacks class names or
            preprocessing; it does not know a class of the data; there is no image of a class to
            draw, or none that the network was not trained on.
        NotFoundError: there is no such network or data.
        ExistsError: the folder holds something else.

    Example:
        >>> found = senet.explain("runs/digits", out="inside")
        >>> found.blocks["stage3_block3_se_scale"].class_means.shape  # (classes, channels)
        (10, 64)
        >>> found.folder
        PosixPath('inside')

    Reference:
        Hu et al., arXiv 1709.01507, section 7.2 and figures 6 and 7.
    """
    require_count("images", images)
    require_count("batch_size", batch_size)
    with contextlib.ExitStack() as open_folder:
        written = None
        if out is not None:  # a folder that may not be replaced is refused before the work
            written = open_folder.enter_context(replacing_folder(out, NUMBERS))
        loaded = load_in_keras(trained, weights)
        require_gates(loaded)
        found = labelled_images(loaded, data, split, class_map)
        split = split or found.data.held_out
        source, seen = take_held_out(loaded, found, split)
        explanation = explain_gates(
            loaded.model,
            source,
            loaded.preprocessing,
            loaded.class_names,
            images=images,
            shown=[classes] if isinstance(classes, str) else classes,
            batch_size=batch_size,
        )
        about = found.about(split) | seen
        about["warnings"] += explanation.evaluation.warnings
        if loaded.folded:
            gone = listed(map(label_block, loaded.folded))
            about["warnings"].append(
                f"{len(loaded.folded)} gates were folded away and are not shown: {gone}."
            )
        if found.own and split == "train" and about["trained_on"] is not None:
            about["trained_on"] = len(explanation.evaluation.labels)  # all of those looked at
        result = ExplanationResult(explanation, about, loaded, source)
        if out is None or written is None:
            return result
        deletion = result._write(written, batch_size)
    return dataclasses.replace(result, folder=pathlib.Path(out), deletion=deletion)
