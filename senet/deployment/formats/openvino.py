"""OpenVINO's own format: for processors, in bfloat16 where they compute in it."""

import pathlib
import tempfile
from typing import TYPE_CHECKING, Any

from senet.deployment.formats import onnx
from senet.deployment.formats.excitations import find_excitation
from senet.deployment.formats.format import INPUT, OUTPUT, Format, Run
from senet.deployment.formats.saved_model import write_saved_model
from senet.progress import meter
from senet.quiet import quiet_library

if TYPE_CHECKING:
    import keras
    import numpy as np

FILE = "model.xml"


def write(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """Write `model.xml` and `model.bin`."""
    import openvino

    with tempfile.TemporaryDirectory(dir=folder) as beside:
        write_saved_model(graph, pathlib.Path(beside))
        _save(openvino.convert_model(beside), folder / FILE)
    return FILE


def write_by_torch(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """The same by way of ONNX."""
    import openvino

    with tempfile.TemporaryDirectory(dir=folder) as beside:
        file = onnx.write_by_torch(graph, pathlib.Path(beside), class_names)
        _save(openvino.convert_model(pathlib.Path(beside, file)), folder / FILE)
    return FILE


def _save(converted: Any, path: pathlib.Path) -> None:
    """Write a network whose input and output have our names alone, and no path of this machine."""
    import openvino

    if "conversion_parameters" in converted.rt_info:
        del converted.rt_info["conversion_parameters"]  # where the file lay that it was made of
    converted.input(0).set_names({INPUT})
    converted.output(0).set_names({OUTPUT})
    openvino.save_model(converted, path, compress_to_fp16=False)


def run(file: str, precision: str, threads: int) -> Run:
    """Run it on the processor; int8 leaves the rest to bfloat16."""
    import openvino

    options = {
        "INFERENCE_PRECISION_HINT": "f32" if precision == "float32" else "bf16",
        "PERFORMANCE_HINT": "LATENCY",
    }
    if threads:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    compiled = openvino.Core().compile_model(file, "CPU", options)
    request = compiled.create_infer_request()
    return lambda inputs: request.infer({0: inputs}, share_inputs=True)[0].copy()


def quantize(file: pathlib.Path, inputs: "np.ndarray") -> None:
    """Make int8 of it by NNCF."""
    import nncf
    import openvino

    graph = openvino.Core().read_model(file)
    with meter("calibrating", len(inputs)) as progress, quiet_library("nncf"):

        def counted(row: "np.ndarray") -> "np.ndarray":
            if progress.done < progress.total:  # later steps read some images again
                progress.advance(1)
            return row[None]

        smaller = nncf.quantize(
            graph,
            nncf.Dataset(inputs, counted),
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=_find_excitations(graph)),
        )
    with tempfile.TemporaryDirectory(dir=file.parent) as beside:  # weights are read from `file`
        written = pathlib.Path(beside, file.name)
        _save(smaller, written)
        del graph, smaller  # Windows replaces no file that is still read
        for suffix in (".xml", ".bin"):
            written.with_suffix(suffix).replace(file.with_suffix(suffix))


def _find_excitations(graph: Any) -> list[str]:
    def before(node: Any) -> Any:
        return node.input_value(0).get_node() if node.get_input_size() else None

    chains = (
        find_excitation(node, before, lambda n: n.get_type_name())
        for node in graph.get_ordered_ops()
        if node.get_type_name() == "Sigmoid"
    )
    return [node.get_friendly_name() for chain in chains for node in chain]


FORMAT = Format(
    "openvino",
    ("bfloat16", "float32"),
    write,
    run,
    write_by_torch=write_by_torch,
    quantize=quantize,
    written_by_torch=onnx.FORMAT.written_by_torch,
    run_by=("openvino",),
    quantized_by=("nncf",),
)
