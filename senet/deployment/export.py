"""Write a network for a runtime, and publish it only when it answers as Keras does."""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.trained_on import TrainedOn
from senet.deployment.exported import Exported
from senet.deployment.formats import find_format
from senet.deployment.formats.format import INPUT
from senet.deployment.inference import in_float32, inference_model
from senet.deployment.manifest import COUNTS, MANIFEST, Manifest
from senet.deployment.verify import AGREEMENT, Comparison, compare
from senet.deployment.writing import require_writer, write
from senet.errors import InputError
from senet.files import replacing_folder
from senet.models.complexity import complexity
from senet.progress import meter, working

BATCH = 16
"""Images in a batch of the comparison; two sizes are tried, the last one is what is left."""


def export(
    model: keras.Model,
    folder: str | os.PathLike,
    format: str,
    *,
    images: np.ndarray,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    precision: str | None = None,
    pixels: bool = False,
    trained_on: TrainedOn | None = None,
) -> Comparison:
    """Write a network for a runtime into a folder.

    What is written is `inference_model(model)`. It appears at `folder` only after its outputs on
    `images` were compared with those of `model`: in float32 all outputs, in the precision that it
    will run in the classes.

    Args:
        model: gives probabilities; any functional Keras model of images.
        folder: to write; an earlier export there is replaced.
        format: `"onnx"`, `"openvino"`, `"saved_model"` (in TensorFlow Serving's layout), `"litert"`
            or `"triton"` (a model repository).
        images: real images to compare on, cropped by `preprocessing`: pixels 0-255
            `(N, H, W, 3)`.
        class_names: one for each class.
        preprocessing: how an image becomes an input.
        precision: to run in, of those of the format; int8 is what `quantize` makes.
        pixels: whether the graph normalises pixels 0-255 (`uint8`) itself.
        trained_on: which images it was trained on, to travel with it.

    Returns:
        How its outputs compare with those of Keras.

    Raises:
        ValueError: the format is unknown or has no such precision; or, as `Disagreement`, outputs
            differ. Nothing is written then.
        ModuleNotFoundError: what writes or runs the format is not installed.
        FileExistsError: the folder holds something else.

    Example:
        >>> model = senet.create("se_resnet20_cifar", classes=2)
        >>> crops = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), "uint8")
        >>> about = dict(class_names=("cat", "dog"), preprocessing=Preprocessing(32))
        >>> comparison = export(model, "exported", "onnx", images=crops, **about)
        >>> comparison.images
        4
    """
    precision = check_precision(format, precision)
    with replacing_folder(folder, MANIFEST) as written:
        manifest = write_network(
            model, written, format, precision, class_names, preprocessing, pixels, trained_on
        )
        return prove(model, written, manifest, images, preprocessing)


def check_precision(format: str, precision: str | None) -> str:
    """The precision to run in; int8 is for `quantize` only.

    Raises:
        InputError: the format is unknown, or does not run in that precision.
        LibraryError: what writes or runs it is not installed.
    """
    style = find_format(format)
    precision = precision or style.precisions[0]
    if precision == "int8":
        raise InputError("int8 needs images to calibrate on: use senet quantize.")
    if precision not in style.precisions:
        known = ", ".join(style.precisions)
        raise InputError(f"{format} runs in {known}; got precision {precision!r}.")
    require_writer(style)
    return precision


def write_network(
    model: keras.Model,
    folder: pathlib.Path,
    format: str,
    precision: str,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    pixels: bool = False,
    trained_on: TrainedOn | None = None,
) -> Manifest:
    """Fill a folder with what the runtime reads, and its manifest, without any comparison."""
    graph = inference_model(model)
    graph = keras.Model(graph.input, graph.output, name=_name_plainly(model.name))
    if pixels:
        graph = _of_pixels(graph, preprocessing)
        preprocessing = _pixels_only(preprocessing)
    with working(f"writing {format}"):
        file = write(graph, find_format(format), folder, tuple(class_names))
    manifest = Manifest(
        network=model.name,
        format=format,
        precision=precision,
        file=file,
        class_names=tuple(class_names),
        preprocessing=preprocessing,
        pixels=pixels,
        cost=_count_cost(model),
        trained_on=None if trained_on is None else trained_on.to_json(),
    )
    manifest.write(folder)
    return manifest


def _count_cost(model: keras.Model) -> dict[str, int]:
    """What a network costs for one image; nothing where its layers cannot be counted."""
    try:
        cost = complexity(model)
    except InputError:  # sides are open, say, which a runtime may well run
        return {}
    counts = {name: getattr(cost, name) for name in COUNTS}
    return counts if all(counts.values()) else {}


def prove(
    model: keras.Model,
    folder: pathlib.Path,
    manifest: Manifest,
    images: np.ndarray,
    preprocessing: Preprocessing,
    agreement: float = AGREEMENT,
) -> Comparison:
    """Compare a written network with Keras, and note the result in its manifest.

    Args:
        model: the network in Keras.
        folder: of the exported one.
        manifest: of the exported one.
        images: pixels 0-255, `(N, H, W, 3)`.
        preprocessing: of the network in Keras.
        agreement: share of the images that must have the same class.

    Raises:
        Disagreement: it must not be published.
    """
    inputs = manifest.make_inputs(images)
    theirs = np.stack([preprocessing.normalise(image) for image in images])
    # Under a mixed policy Keras rounds more than the graph, which would hide what is wrong with it.
    expected = _run(in_float32(model), theirs, "running Keras")
    label = f"running {manifest.format} in"
    float32 = ours = None
    if manifest.precision != "int8":
        exact = Exported(folder, precision="float32")
        float32 = ours = _run(exact, inputs, f"{label} float32")
    if ours is None or manifest.precision != "float32":
        ours = _run(Exported(folder), inputs, f"{label} {manifest.precision}")
    comparison = compare(expected, ours, manifest.precision, float32)
    comparison.check(agreement)
    dataclasses.replace(manifest, checked=comparison.to_json()).write(folder)
    return comparison


def _run(network: keras.Model | Exported, inputs: np.ndarray, label: str) -> np.ndarray:
    """Outputs for all inputs, `BATCH` at a time."""
    outputs = []
    with meter(label, len(inputs)) as progress:
        for i in range(0, len(inputs), BATCH):
            part = inputs[i : i + BATCH]
            outputs.append(np.asarray(network.predict_on_batch(part), "float32"))
            progress.advance(len(part))
    return np.concatenate(outputs)


def _name_plainly(name: str) -> str:
    """A name of a network as TensorFlow, a folder and a text of Triton's can have it."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip("_.-") or "network"


def _of_pixels(graph: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """The graph with the normalisation of pixels 0-255 before it."""
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    pixels = keras.Input(graph.input_shape[1:], dtype="uint8", name=INPUT)
    scale, offset = (1 / (255 * std)).tolist(), (-mean / std).tolist()
    normalise = keras.layers.Rescaling(scale, offset, dtype="float32")
    return keras.Model(pixels, graph(normalise(pixels)), name=graph.name)


def _pixels_only(preprocessing: Preprocessing) -> Preprocessing:
    """Resizing and cropping as before; values stay 0-255."""
    return dataclasses.replace(preprocessing, mean=(0.0,) * 3, std=(1 / 255,) * 3)
