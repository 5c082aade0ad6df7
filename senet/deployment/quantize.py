"""Post-training quantisation: convolutions in int8, calibrated on the user's images.

OpenVINO's networks go through NNCF, ONNX files through the static quantisation of ONNX Runtime
(QDQ). Both read what a few hundred images give at every layer and choose the ranges from that. The
excitations stay in floating point: they are a thousandth of the work, and a gate in 256 steps
multiplies a whole channel.
"""

import dataclasses
import io
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from typing import Any

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.data.trained_on import TrainedOn
from senet.deployment.export import prove, write_network
from senet.deployment.exported import MANIFEST, Exported
from senet.deployment.verify import Comparison, Disagreement
from senet.errors import InputError
from senet.evaluation import Evaluation, evaluate
from senet.files import replacing_folder
from senet.progress import meter

FORMATS = ("openvino", "onnx", "triton")


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
        trained_on: which images it was trained on, to travel with it.

    Returns:
        The scores before and after, and how outputs compare.

    Raises:
        ValueError: the format is unknown; or, as `Disagreement`, more was lost. Nothing is written
            then.
        ModuleNotFoundError: the library that quantises is not installed.
        FileExistsError: the folder holds something else.
    """
    check_format(format)
    names = tuple(class_names)
    with replacing_folder(folder, MANIFEST) as written:
        manifest = write_network(
            model, written, format, "int8", names, preprocessing, trained_on=trained_on
        )
        inputs = np.stack([preprocessing.normalise(image) for image in images])
        QUANTIZERS[format](written / manifest.file, inputs)
        comparison = prove(model, written, manifest, images, preprocessing, agreement=0.0)
        before = evaluate(model, held_out, preprocessing, names, label="before")
        after = evaluate(Exported(written), held_out, preprocessing, names, label="after")
        result = Quantized(comparison, before, after)
        if not result.drop <= max_drop:
            raise Disagreement(
                f"In int8 {after.top1:.2%} of {len(after.labels)} held-out images are right and "
                f"{before.top1:.2%} were: {result.drop:.2f} points are lost, and {max_drop:g} may "
                "be. Nothing was written. Calibrate on more images, or allow more by --max-drop."
            )
        return result


def check_format(format: str) -> None:
    """Refuse a format that has no int8.

    Raises:
        ValueError: it is none of `FORMATS`.
    """
    if format not in FORMATS:
        raise InputError(f"format must be one of {', '.join(FORMATS)} for int8; got {format!r}.")


def _openvino(file: pathlib.Path, inputs: np.ndarray) -> None:
    import nncf
    import openvino

    graph = openvino.Core().read_model(file)
    with meter("calibrating", len(inputs)) as progress, redirect_stdout(io.StringIO()):

        def counted(row: np.ndarray) -> np.ndarray:
            if progress.done < progress.total:  # later steps read some images again
                progress.advance(1)
            return row[None]

        smaller = nncf.quantize(
            graph,
            nncf.Dataset(inputs, counted),
            subset_size=len(inputs),
            ignored_scope=nncf.IgnoredScope(names=_excitations_of_openvino(graph)),
        )
    with tempfile.TemporaryDirectory(dir=file.parent) as beside:  # weights are read from `file`
        written = pathlib.Path(beside, file.name)
        openvino.save_model(smaller, written, compress_to_fp16=False)
        for suffix in (".xml", ".bin"):
            written.with_suffix(suffix).replace(file.with_suffix(suffix))


def _onnx(file: pathlib.Path, inputs: np.ndarray) -> None:
    import onnx
    from onnxruntime import quantization

    graph = onnx.load(file)
    name = graph.graph.input[0].name

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows: Iterator[np.ndarray] = iter(inputs)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else {name: row[None]}

    quantization.quantize_static(
        graph,
        file,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        nodes_to_exclude=_excitations_of_onnx(graph),
    )


QUANTIZERS = {"openvino": _openvino, "onnx": _onnx, "triton": _onnx}
POOLS = ("ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool")
LONGEST = 12
"""Most nodes between a squeeze and its gate; converters add some that move axes."""


def _excitations_of_openvino(graph: Any) -> list[str]:
    def before(node: Any) -> Any:
        return node.input_value(0).get_node() if node.get_input_size() else None

    nodes = graph.get_ordered_ops()
    chains = (
        _excitation(node, before, lambda n: n.get_type_name())
        for node in nodes
        if node.get_type_name() == "Sigmoid"
    )
    return [node.get_friendly_name() for chain in chains for node in chain]


def _excitations_of_onnx(graph: Any) -> list[str]:
    makers = {output: node for node in graph.graph.node for output in node.output}

    def before(node: Any) -> Any:
        return makers.get(node.input[0]) if node.input else None

    chains = (
        _excitation(node, before, lambda n: n.op_type)
        for node in graph.graph.node
        if node.op_type == "Sigmoid"
    )
    return [node.name for chain in chains for node in chain]


def _excitation(
    sigmoid: Any, before: Callable[[Any], Any], kind: Callable[[Any], str]
) -> list[Any]:
    """The nodes from a global pooling to a gate, without the pooling; none if there is no such."""
    chain: list[Any] = []
    node = sigmoid
    while node is not None and len(chain) < LONGEST:
        if kind(node) in POOLS:
            return chain
        chain.append(node)
        node = before(node)
    return []
