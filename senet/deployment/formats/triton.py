"""A model repository for Triton Inference Server, which runs its ONNX file.

`NAME/config.pbtxt`, `NAME/labels.txt`, `NAME/1/model.onnx`.
"""

import pathlib
from typing import TYPE_CHECKING

from senet.deployment.formats import onnx
from senet.deployment.formats.format import INPUT, OUTPUT, Format, Write

if TYPE_CHECKING:
    import keras

TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
VERSION = "1"
MAX_BATCH = 64
"""Images that Triton may put into one batch."""


def write(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """Write the repository, with a file of tf2onnx."""
    return _write(onnx.write, graph, folder, class_names)


def write_by_torch(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """Write the repository, with a file of PyTorch."""
    return _write(onnx.write_by_torch, graph, folder, class_names)


def _write(
    write_onnx: Write, graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]
) -> str:
    model = folder / graph.name
    (model / VERSION).mkdir(parents=True)
    file = write_onnx(graph, model / VERSION, class_names)
    labels = "".join(f"{name}\n" for name in class_names)
    (model / "labels.txt").write_text(labels, "utf-8")
    (model / "config.pbtxt").write_text(_configure(graph), "utf-8")
    return f"{graph.name}/{VERSION}/{file}"


def _configure(graph: "keras.Model") -> str:
    """The configuration for Triton's ONNX Runtime backend; dimensions are without the batch."""

    def describe(name: str, tensor: "keras.KerasTensor", more: str = "") -> str:
        dims = ", ".join(str(-1 if side is None else side) for side in tensor.shape[1:])
        return f'[{{ name: "{name}" data_type: {TYPES[tensor.dtype]} dims: [ {dims} ]{more} }}]'

    labels = ' label_filename: "labels.txt"'
    return (
        f'name: "{graph.name}"\n'
        'platform: "onnxruntime_onnx"\n'
        f"max_batch_size: {MAX_BATCH}\n"
        f"input {describe(INPUT, graph.input)}\n"
        f"output {describe(OUTPUT, graph.output, labels)}\n"
        "dynamic_batching { }\n"
    )


FORMAT = Format(
    "triton",
    onnx.FORMAT.precisions,
    write,
    onnx.run,
    write_by_torch=write_by_torch,
    quantize=onnx.quantize,
    written_by=onnx.FORMAT.written_by,
    written_by_torch=onnx.FORMAT.written_by_torch,
    run_by=onnx.FORMAT.run_by,
    quantized_by=onnx.FORMAT.quantized_by,
)
