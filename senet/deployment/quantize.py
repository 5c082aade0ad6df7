"""Post-training quantisation: convolutions in int8, calibrated on the user's images.

OpenVINO's networks go through NNCF, ONNX files through the static quantisation of ONNX Runtime
(QDQ). Both read what a few hundred images give at every layer and choose the ranges from that. What
stays in floating point, `formats/excitations.py` says.
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.data.trained_on import TrainedOn
from senet.deployment.export import prove, write_network
from senet.deployment.exported import Exported
from senet.deployment.formats import QUANTIZABLE, find_format
from senet.deployment.manifest import MANIFEST
from senet.deployment.verify import Comparison, Disagreement
from senet.deployment.writing import require_writer
from senet.errors import InputError, explained
from senet.evaluation import Evaluation, evaluate
from senet.files import replacing_folder


@dataclasses.dataclass(frozen=True)
class Quantized:
    """What quantisation did.

    Args:
        comparison: of the outputs with those of Keras, on calibration images.
        before: the network in Keras on held-out images.
        after: the network in int8 on the same.
    """

    comparison: Comparison
    before: Evaluation
    after: Evaluation

    @property
    def drop(self) -> float:
        """Top-1 lost, percentage points; negative if it was won."""
        return 100 * (self.before.top1 - self.after.top1)


def quantize(
    model: keras.Model,
    folder: str | os.PathLike,
    format: str,
    *,
    images: np.ndarray,
    held_out: Source,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    max_drop: float = 0.5,
    pixels: bool = False,
    trained_on: TrainedOn | None = None,
) -> Quantized:
    """Write a network in int8 into a folder, if it is as good as before.

    Args:
        model: gives probabilities; any functional Keras model of images.
        folder: to write; an earlier export there is replaced.
        format: `"openvino"`, `"onnx"` or `"triton"`.
        images: to calibrate on, cropped by `preprocessing`: pixels 0-255 `(N, H, W, 3)`. A few
            hundred that were trained on will do.
        held_out: labelled images that neither training nor calibration saw.
        class_names: one for each class.
        preprocessing: how an image becomes an input.
        max_drop: top-1 that may be lost on them, percentage points.
        pixels: whether the graph normalises pixels 0-255 (`uint8`) itself.
        trained_on: which images it was trained on, to travel with it.

    Returns:
        The scores before and after, and how outputs compare.

    Raises:
        ValueError: the format is unknown; or, as `Disagreement`, more was lost. Nothing is written
            then.
        ModuleNotFoundError: the library that quantises is not installed.
        FileExistsError: the folder holds something else.
    """
    make_int8, names = check_format(format), tuple(class_names)
    with replacing_folder(folder, MANIFEST) as written:
        manifest = write_network(
            model, written, format, "int8", names, preprocessing, pixels, trained_on
        )
        with explained(f"int8 cannot be made of this network for {format}"):
            make_int8(written / manifest.file, manifest.make_inputs(images))
        comparison = prove(model, written, manifest, images, preprocessing, agreement=0.0)
        before = evaluate(model, held_out, preprocessing, names, label="before")
        own = manifest.preprocessing
        after = evaluate(Exported(written), held_out, own, names, label="after")
        result = Quantized(comparison, before, after)
        if not result.drop <= max_drop:
            raise Disagreement(
                f"In int8 {after.top1:.2%} of {len(after.labels)} held-out images are right and "
                f"{before.top1:.2%} were: {result.drop:.2f} points are lost, and {max_drop:g} may "
                "be. Nothing was written. Calibrate on more images, or allow more by --max-drop."
            )
        return result


def check_format(format: str) -> Callable[[pathlib.Path, np.ndarray], None]:
    """What makes int8 of a format.

    Raises:
        InputError: it has no int8.
        LibraryError: what writes, quantises or runs it is not installed.
    """
    style = find_format(format) if format in QUANTIZABLE else None
    if style is None or style.quantize is None:
        known = ", ".join(QUANTIZABLE)
        raise InputError(f"format must be one of {known} for int8; got {format!r}.")
    require_writer(style, quantized=True)
    return style.quantize
