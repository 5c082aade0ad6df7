"""`senet.quantize`: a trained network in int8."""

import dataclasses
import os
import pathlib
from typing import Any

from senet.deployment import quantize as deployment
from senet.deployment.images import crops, describe_missing
from senet.deployment.quantize import Quantized
from senet.errors import InputError, one_family
from senet.evaluation import describe_seen
from senet.prediction.labelled import labelled_images, take_held_out
from senet.prediction.trained import TrainedLike, load_in_keras
from senet.tasks.arguments import require_count, require_points


@dataclasses.dataclass(frozen=True, repr=False)
class QuantizationResult(os.PathLike):
    """What quantisation wrote and what it cost; it stands for its folder.

    Args:
        folder: that was written.
        format: what the runtime reads.
        quantized: the scores before and after, and how outputs compare.
        about: `data` and `split` of the images that were scored, and `warnings`.
    """

    folder: pathlib.Path
    format: str
    quantized: Quantized
    about: dict[str, Any]

    def __fspath__(self) -> str:
        return str(self.folder)

    @property
    def top1_before(self) -> float:
        """Top-1 of the network in Keras on held-out images, 0 to 1."""
        return self.quantized.before.top1

    @property
    def top1(self) -> float:
        """Top-1 of the network in int8 on the same images, 0 to 1."""
        return self.quantized.after.top1

    @property
    def warnings(self) -> list[str]:
        """What makes the scores other than they seem, a sentence each."""
        return [*self.about["warnings"], *self.quantized.after.warnings]

    def to_json(self) -> dict[str, Any]:
        """The scores as plain JSON values: the last line of `senet quantize`."""
        before, after = self.quantized.before, self.quantized.after
        about = dict(out=str(self.folder), format=self.format) | self.about
        about |= dict(warnings=self.warnings, images=len(after.labels))
        about |= dict(
            top1_before=before.top1, top1=after.top1, loss_before=before.loss, loss=after.loss
        )
        about |= dict(baseline=after.majority[1], majority_class=after.majority[0])
        return about | {"agreement": self.quantized.comparison.agreement}

    def __str__(self) -> str:
        """How the outputs compare, the scores, and where the folder is."""
        after, (name, share) = self.quantized.after, self.quantized.after.majority
        lines = [
            f"{self.format}: {self.quantized.comparison}",
            f"top-1 on {len(after.labels)} {self.about['split']} images: {self.top1_before:.2%} "
            f"before, {self.top1:.2%} in int8 (baseline {share:.2%}: always {name!r})",
            *describe_seen(self.about),
            f"written: {self.folder}",
        ]
        return "\n".join(lines)

    def __repr__(self) -> str:
        warnings = [f"warning: {line}" for line in self.warnings]
        return "\n".join([f"QuantizationResult({str(self.folder)!r})", str(self), *warnings])


@one_family()
def quantize(
    trained: TrainedLike,
    out: str | os.PathLike,
    format: str = "openvino",
    *,
    weights: str | os.PathLike | None = None,
    data: str | os.PathLike | None = None,
    class_map: str | os.PathLike | None = None,
    images: int = 300,
    max_drop: float = 0.5,
    pixels: bool = False,
) -> QuantizationResult:
    """Write a trained network in int8, if it stays as good on held-out images.

    Ranges come of training images, scores of those held out.

    Args:
        trained: a run folder or what `senet.train` gave, a file, `"se_resnet50.imagenet"`, or a
            network from `senet.load`; all but a run need `data`.
        out: folder to write; an earlier export there is replaced.
        format: `"openvino"`, `"onnx"` or `"triton"`.
        weights: published weights, where `trained` is the name of a network.
        data: labelled images; by default those of the run.
        class_map: file that renames or merges classes, `.csv` or `.json`.
        images: training images to calibrate on, at least 10.
        max_drop: top-1 that may be lost on held-out images, percentage points, 0 to 100.
        pixels: whether the graph normalises pixels 0-255 (`uint8`) itself.

    Returns:
        A `QuantizationResult`.

    Raises:
        InputError: the format is unknown, or the data do not have images to calibrate on and
            others to score on; or, as `Disagreement`, more was lost. Nothing is written then.
        LibraryError: the library that quantises is not installed.
        ExistsError: the folder holds something else.

    Example:
        >>> small = senet.quantize("runs/pets", "pets-int8")
        >>> small.top1_before, small.top1
        (0.9567, 0.9551)
    """
    require_count("images", images, 10)
    require_points("max_drop", max_drop)
    deployment.check_format(format)
    loaded = load_in_keras(trained, weights)
    found = labelled_images(loaded, data, "test", class_map)
    split = found.data.held_out
    if split == "all" or "train" not in found.data.splits:
        raise InputError(
            f"{found.where!r} must have images to calibrate on and others to score on: folders "
            "train and test, or no such folders at all."
        )
    held_out, seen = take_held_out(loaded, found, split)
    about = found.about(split) | seen
    train = found.data.split("train")
    pictures = crops(train, loaded.preprocessing, images)
    about["warnings"] += describe_missing(pictures, train, images)
    quantized = deployment.quantize(
        loaded.model,
        out,
        format,
        images=pictures,
        held_out=held_out,
        class_names=loaded.class_names,
        preprocessing=loaded.preprocessing,
        max_drop=max_drop,
        pixels=pixels,
        trained_on=loaded.trained_on,
    )
    return QuantizationResult(pathlib.Path(out), format, quantized, about)
