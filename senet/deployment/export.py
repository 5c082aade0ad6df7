"""Write a network for a runtime, and publish it only when it answers as Keras does."""

import dataclasses
import importlib
import json
import os
import pathlib
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.trained_on import TrainedOn
from senet.deployment.exported import MANIFEST, PRECISIONS, Exported, Manifest
from senet.deployment.inference import in_float32, inference_model
from senet.deployment.verify import AGREEMENT, Comparison, compare
from senet.errors import InputError
from senet.files import replacing_folder

ENTRY = "image"
"""Name of the input of an exported network."""
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
        precision: to run in, of `PRECISIONS[format]`; int8 is what `quantize` makes.
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
        ValueError: the format is unknown, or does not run in that precision.
    """
    if format not in PRECISIONS:
        raise InputError(f"format must be one of {', '.join(PRECISIONS)}; got {format!r}.")
    if precision is None:
        return PRECISIONS[format][0]
    if precision == "int8":
        raise InputError("int8 needs images to calibrate on: use senet quantize.")
    if precision not in PRECISIONS[format]:
        known = ", ".join(name for name in PRECISIONS[format] if name != "int8")
        raise InputError(f"{format} runs in {known}; got precision {precision!r}.")
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
    if pixels:
        graph = _of_pixels(graph, preprocessing)
        preprocessing = _pixels_only(preprocessing)
    file = WRITERS[format](graph, folder, tuple(class_names))
    manifest = Manifest(
        network=model.name,
        format=format,
        precision=precision,
        file=file,
        class_names=tuple(class_names),
        preprocessing=preprocessing.to_json(),
        pixels=pixels,
        trained_on=None if trained_on is None else trained_on.to_json(),
    )
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: pathlib.Path, manifest: Manifest) -> None:
    """Write a manifest beside what the runtime reads."""
    (folder / MANIFEST).write_text(json.dumps(manifest.to_json(), indent=1) + "\n", "utf-8")


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
    own = Preprocessing.from_json(manifest.preprocessing)
    inputs = np.stack([own.normalise(image) for image in images])
    theirs = np.stack([preprocessing.normalise(image) for image in images])
    # Under a mixed policy Keras rounds more than the graph, which would hide what is wrong with it.
    expected = batches(in_float32(model).predict_on_batch, theirs)
    float32 = ours = None
    if manifest.precision != "int8":
        float32 = ours = batches(Exported(folder, precision="float32").predict_on_batch, inputs)
    if ours is None or manifest.precision != "float32":
        ours = batches(Exported(folder).predict_on_batch, inputs)
    comparison = compare(expected, ours, manifest.precision, float32)
    comparison.check(agreement)
    checked = dataclasses.replace(manifest, checked=comparison.to_json())
    write_manifest(folder, checked)
    return comparison


def batches(predict: Callable[[np.ndarray], np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """Outputs for all inputs, `BATCH` at a time."""
    parts = [inputs[i : i + BATCH] for i in range(0, len(inputs), BATCH)]
    return np.concatenate([np.asarray(predict(part), "float32") for part in parts])


def _of_pixels(graph: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    """The graph with the normalisation of pixels 0-255 before it."""
    mean, std = np.array(preprocessing.mean), np.array(preprocessing.std)
    pixels = keras.Input(graph.input_shape[1:], dtype="uint8", name=ENTRY)
    normalise = keras.layers.Rescaling((1 / (255 * std)).tolist(), (-mean / std).tolist())
    return keras.Model(pixels, graph(normalise(pixels)), name=graph.name)


def _pixels_only(preprocessing: Preprocessing) -> Preprocessing:
    """Resizing and cropping as before; values stay 0-255."""
    return dataclasses.replace(preprocessing, mean=(0.0,) * 3, std=(1 / 255,) * 3)


def _write_onnx(graph: keras.Model, folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    _keras_export(graph, folder / "model.onnx", "onnx", ("tf2onnx", "onnx"))
    return "model.onnx"


def _write_openvino(graph: keras.Model, folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    _keras_export(graph, folder / "model.xml", "openvino", ("openvino",))
    return "model.xml"


def _write_litert(graph: keras.Model, folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    _keras_export(graph, folder / "model.tflite", "litert", ("ai_edge_litert",))
    return "model.tflite"


def _write_saved_model(
    graph: keras.Model, folder: pathlib.Path, class_names: tuple[str, ...]
) -> str:
    _keras_export(graph, folder / "1", "tf_saved_model", ())  # TensorFlow Serving numbers versions
    return "1"


def _write_triton(graph: keras.Model, folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """A model repository: `NAME/config.pbtxt`, `NAME/labels.txt`, `NAME/1/model.onnx`."""
    version = folder / graph.name / "1"
    version.mkdir(parents=True)
    file = _write_onnx(graph, version, class_names)
    labels = "".join(f"{name}\n" for name in class_names)
    (folder / graph.name / "labels.txt").write_text(labels, "utf-8")
    config = _triton_config(graph.name, version / file)
    (folder / graph.name / "config.pbtxt").write_text(config, "utf-8")
    return f"{graph.name}/1/{file}"


LABELS = ' label_filename: "labels.txt"'
TRITON_TYPES = {"tensor(float)": "TYPE_FP32", "tensor(uint8)": "TYPE_UINT8"}


def _triton_config(name: str, file: pathlib.Path) -> str:
    """The configuration of a model for Triton's ONNX Runtime backend."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    (entry,), (outlet,) = session.get_inputs(), session.get_outputs()

    def tensor(of: Any, more: str = "") -> str:
        dims = ", ".join(map(str, of.shape[1:]))
        return (
            f'[{{ name: "{of.name}" data_type: {TRITON_TYPES[of.type]} dims: [ {dims} ]{more} }}]'
        )

    return (
        f'name: "{name}"\n'
        'platform: "onnxruntime_onnx"\n'
        "max_batch_size: 64\n"
        f"input {tensor(entry)}\n"
        f"output {tensor(outlet, LABELS)}\n"
        "dynamic_batching { }\n"
    )


WRITERS: dict[str, Callable[[keras.Model, pathlib.Path, tuple[str, ...]], str]] = {
    "onnx": _write_onnx,
    "openvino": _write_openvino,
    "saved_model": _write_saved_model,
    "litert": _write_litert,
    "triton": _write_triton,
}
"""For each format what writes it: graph, folder and class names to the file for the runtime."""


def _keras_export(
    graph: keras.Model, path: pathlib.Path, format: str, needs: Sequence[str]
) -> None:
    for library in needs:
        importlib.import_module(library)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            signature = [keras.InputSpec(graph.input.dtype, graph.input_shape, name=ENTRY)]
            graph.export(str(path), format=format, verbose=False, input_signature=signature)
    except (MemoryError, ImportError, OSError):
        raise
    except Exception as error:  # each converter has exceptions of its own
        raise InputError(
            f"Keras on {keras.backend.backend()} cannot export {format}: "
            f"{str(error).strip().splitlines()[0][:300]}"
        ) from error
