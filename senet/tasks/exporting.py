"""`senet.export`: a trained network for another runtime."""

import dataclasses
import os
import pathlib
from typing import Any

from senet.deployment import export as deployment
from senet.deployment.images import crops, describe_missing, photographs
from senet.deployment.verify import Comparison
from senet.errors import one_family
from senet.prediction.labelled import images_of
from senet.prediction.trained import TrainedLike, load_in_keras
from senet.tasks.arguments import require_count


@dataclasses.dataclass(frozen=True, repr=False)
class ExportResult(os.PathLike):
    """What an export wrote; it stands for its folder wherever a path is asked for.

    Args:
        folder: that was written.
        format: what the runtime reads.
        comparison: of its outputs with those of Keras.
        images: what they were compared on, in words.
        warnings: what was left out of them, a sentence each.
    """

    folder: pathlib.Path
    format: str
    comparison: Comparison
    images: str
    warnings: list[str]

    def __fspath__(self) -> str:
        return str(self.folder)

    def to_json(self) -> dict[str, Any]:
        """The comparison as plain JSON values: the last line of `senet export`."""
        about = dict(out=str(self.folder), format=self.format, warnings=self.warnings)
        return about | self.comparison.to_json()

    def __str__(self) -> str:
        """How the outputs compare, and where the folder is."""
        return f"{self.format}: {self.comparison} ({self.images})\nwritten: {self.folder}"

    def __repr__(self) -> str:
        warnings = [f"warning: {line}" for line in self.warnings]
        return "\n".join([f"ExportResult({str(self.folder)!r})", str(self), *warnings])


@one_family()
def export(
    trained: TrainedLike,
    out: str | os.PathLike,
    format: str = "openvino",
    *,
    weights: str | os.PathLike | None = None,
    precision: str | None = None,
    pixels: bool = False,
    data: str | os.PathLike | None = None,
    images: int = 64,
) -> ExportResult:
    """Write a trained network for another runtime, proved equal to Keras on real images.

    Batch normalisation is folded and the batch is open. The folder appears only after the outputs
    were compared; `senet.predict` and `senet.evaluate` use it like a run.

    Args:
        trained: a run folder or what `senet.train` gave, a file, `"se_resnet50.imagenet"`, or a
            network from `senet.load`.
        out: folder to write; an earlier export there is replaced.
        format: `"openvino"`, `"onnx"`, `"saved_model"`, `"litert"` or `"triton"`.
        weights: published weights, where `trained` is the name of a network.
        precision: to run in, `"float32"` or `"bfloat16"`; by default `"bfloat16"` for `"openvino"`
            and `"float32"` for the others.
        pixels: whether the graph normalises pixels 0-255 (`uint8`) itself.
        data: images to compare on; by default those that the run held out, or two photographs.
        images: number of them, at most.

    Returns:
        An `ExportResult`.

    Raises:
        InputError: the format is unknown or has no such precision, the network lacks class names
            or preprocessing; or, as `Disagreement`, outputs differ. Nothing is written then.
        LibraryError: what writes or runs the format is not installed.
        ExistsError: the folder holds something else.

    Example:
        >>> exported = senet.export("runs/pets", "pets-onnx", "onnx")
        >>> senet.predict(exported, "photo.jpg")[0].name
        'cat'
    """
    require_count("images", images)
    deployment.check_precision(format, precision)
    loaded, warnings = load_in_keras(trained, weights), list[str]()
    if data is None and loaded.run is None:
        pictures, where = photographs(loaded.preprocessing), "parts of two photographs"
    else:
        found = images_of(loaded, data)
        where, source = found.where, found.data.split(found.data.held_out)
        pictures = crops(source, loaded.preprocessing, images)
        warnings += [*found.data.notes, *describe_missing(pictures, source, images)]
    comparison = deployment.export(
        loaded.model,
        out,
        format,
        images=pictures,
        class_names=loaded.class_names,
        preprocessing=loaded.preprocessing,
        precision=precision,
        pixels=pixels,
        trained_on=loaded.trained_on,
    )
    return ExportResult(pathlib.Path(out), format, comparison, where, warnings)
