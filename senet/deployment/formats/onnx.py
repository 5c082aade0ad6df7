"""ONNX, which ONNX Runtime and many others read."""

import pathlib
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from senet.deployment.formats.excitations import find_excitation
from senet.deployment.formats.format import BATCH, INPUT, OUTPUT, Format, Run
from senet.deployment.formats.saved_model import serve
from senet.progress import meter

if TYPE_CHECKING:
    import keras
    import numpy as np

FILE = "model.onnx"


def write(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """Write `model.onnx` by tf2onnx."""
    import onnx
    import tf2onnx

    _, function = serve(graph)
    made, _ = tf2onnx.convert.from_function(function, function.input_signature)
    _name_batch(made)
    onnx.save(made, folder / FILE)
    return FILE


def write_by_torch(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """Write `model.onnx` by PyTorch."""
    import keras
    import onnx

    path = folder / FILE
    entry = keras.InputSpec(graph.input.dtype, graph.input.shape, name=INPUT)
    graph.export(str(path), format="onnx", verbose=False, input_signature=[entry])
    made = onnx.load(path)
    _rename(made.graph, made.graph.output[0].name, OUTPUT)
    _name_batch(made)
    onnx.save(made, path)
    return FILE


def _rename(graph: Any, name: str, new: str) -> None:
    """Give a value another name wherever it is written or read."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if value == name else value for value in names]
    for value in graph.output:
        value.name = new if value.name == name else value.name


def _name_batch(made: Any) -> None:
    for value in (*made.graph.input, *made.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH


def run(file: str, precision: str, threads: int) -> Run:
    """Run it with ONNX Runtime on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})[0]


def quantize(file: pathlib.Path, inputs: "np.ndarray") -> None:
    """Make int8 of it by the static quantisation of ONNX Runtime (QDQ).

    Shapes are inferred and nodes joined before, as the runtime advises: what it would join later
    must not have its own scale in between.
    """
    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory(dir=file.parent) as beside:
        ready = pathlib.Path(beside, file.name)
        quantization.quant_pre_process(file, ready, skip_symbolic_shape=True)
        graph = onnx.load(ready)
    with meter("calibrating", len(inputs)) as progress:

        class Reader(quantization.CalibrationDataReader):
            def __init__(self) -> None:
                self.rows: Iterator[np.ndarray] = iter(inputs)

            def get_next(self) -> dict[str, Any] | None:
                row = next(self.rows, None)
                if row is None:
                    return None
                progress.advance(1)
                return {INPUT: row[None]}

        quantization.quantize_static(
            graph,
            file,
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            per_channel=True,
            nodes_to_exclude=_find_excitations(graph.graph),
        )


def _find_excitations(graph: Any) -> list[str]:
    makers = {output: node for node in graph.node for output in node.output}

    def before(node: Any) -> Any:
        return makers.get(node.input[0]) if node.input else None

    chains = (
        find_excitation(node, before, lambda n: n.op_type)
        for node in graph.node
        if node.op_type == "Sigmoid"
    )
    return [node.name for chain in chains for node in chain]


FORMAT = Format(
    "onnx",
    ("float32",),
    write,
    run,
    write_by_torch=write_by_torch,
    quantize=quantize,
    written_by=("tf2onnx", "onnx"),
    written_by_torch=("onnx",),
    run_by=("onnxruntime",),
    quantized_by=("onnx",),
)
