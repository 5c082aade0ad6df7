"""Exported networks: a folder that its runtime reads, and the use of it."""

import dataclasses
import os
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from senet.errors import InputError, NotFoundError
from senet.foreign import MAX_PATH, clean_text, read_json
from senet.quiet import held_output

MANIFEST = "senet.json"
"""What travels with an exported network, beside what the runtime reads."""
PRECISIONS = {
    "onnx": ("float32", "int8"),
    "openvino": ("bfloat16", "float32", "int8"),
    "saved_model": ("float32",),
    "litert": ("float32",),
    "triton": ("float32", "int8"),
}
"""For each format the precisions that it can run in; the first is taken by default, and `int8`
comes of `quantize`."""
Run = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What it takes to use an exported network, and how it was proved.

    Args:
        network: name of the network it was made of.
        format: one of `PRECISIONS`.
        precision: that it runs in.
        file: what the runtime reads, relative to the folder.
        class_names: one for each class.
        preprocessing: how an image becomes an input, as plain JSON values.
        pixels: whether inputs are pixels 0-255 (`uint8`), which the graph normalises itself.
        checked: what the comparison with Keras gave.
        trained_on: which images it was trained on, where that is known, as plain JSON values; they
            are checked where they are used.

    Raises:
        ValueError: a field is missing, unknown or of another kind.
    """

    network: str
    format: str
    precision: str
    file: str
    class_names: tuple[str, ...]
    preprocessing: dict[str, Any]
    pixels: bool = False
    checked: dict[str, Any] = dataclasses.field(default_factory=dict)
    trained_on: Any = None

    def __post_init__(self) -> None:
        if isinstance(self.class_names, list):
            object.__setattr__(self, "class_names", tuple(self.class_names))
        kinds: dict[str, Any] = dict(
            network=str,
            format=str,
            precision=str,
            file=str,
            class_names=tuple,
            preprocessing=dict,
            pixels=bool,
            checked=dict,
        )
        for field, kind in kinds.items():
            if not isinstance(getattr(self, field), kind):
                given = clean_text(repr(getattr(self, field)))
                raise InputError(f"the {field} cannot be {given}")
        if not all(isinstance(name, str) for name in self.class_names):
            raise InputError("the class_names cannot be other than texts")
        if self.precision not in PRECISIONS.get(self.format, ()):
            kind = f"{clean_text(self.format)!r} in {clean_text(self.precision)!r}"
            raise InputError(f"{kind} is not known")
        if len(self.file) > MAX_PATH or not self.file.isprintable():
            raise InputError(f"{clean_text(self.file)!r} is no name of a file")
        if pathlib.PurePath(self.file).is_absolute() or ".." in pathlib.PurePath(self.file).parts:
            raise InputError(f"{clean_text(self.file)!r} is outside of the folder")

    def to_json(self) -> dict[str, Any]:
        """This record as plain JSON values; `read` reads it back from a file."""
        return {"version": 1, **vars(self)}

    @classmethod
    def read(cls, folder: str | os.PathLike) -> "Manifest":
        """The manifest of an exported network.

        Raises:
            FileNotFoundError: the folder has none.
            ValueError: it is damaged, larger than any that senet writes, or of a later version.
        """
        path = pathlib.Path(folder, MANIFEST)
        if not path.exists():
            raise NotFoundError(f"{str(folder)!r} is no exported network: it has no {MANIFEST}.")
        values = read_json(path)
        try:
            if values.pop("version", None) != 1:
                raise InputError("it was written by a later version of senet")
            return cls(**values)
        except (ValueError, TypeError, AttributeError) as error:
            reason = clean_text(error, MAX_PATH)
            raise InputError(f"{str(path)!r} cannot be used: {reason}.") from error


class Exported:
    """An exported network that predicts like a Keras model.

    Args:
        folder: that `senet.export` wrote.
        precision: to run in, where the format has a choice; by default that of the manifest.
        threads: of the processor; 0 leaves it to the runtime.

    Raises:
        FileNotFoundError: there is no exported network in the folder.
        ValueError: it is damaged, or the runtime refuses it.
        ModuleNotFoundError: its runtime is not installed.

    Example:
        >>> model = senet.create("se_resnet20_cifar", classes=2)
        >>> rule = senet.Preprocessing(32)
        >>> senet.save(model, "pets.keras", class_names=("cat", "dog"), preprocessing=rule)
        >>> exported = senet.export("pets.keras", "pets", "onnx")
        >>> Exported("pets").predict_on_batch(np.zeros((1, 32, 32, 3), "float32")).shape
        (1, 2)
    """

    def __init__(
        self, folder: str | os.PathLike, *, precision: str | None = None, threads: int = 0
    ) -> None:
        self.folder = pathlib.Path(folder)
        self.manifest = Manifest.read(folder)
        file = self.folder / self.manifest.file
        if not file.exists():
            raise NotFoundError(f"{str(self.folder)!r} lacks {self.manifest.file!r}.")
        start = RUNTIMES[self.manifest.format]
        try:
            self._run = start(str(file), precision or self.manifest.precision, threads)
        except (ImportError, MemoryError):
            raise
        except Exception as error:  # each runtime has exceptions of its own
            raise InputError(
                f"{str(file)!r} cannot be run: {str(error).strip().splitlines()[0][:300]}"
            ) from error

    def predict_on_batch(self, inputs: np.ndarray) -> np.ndarray:
        """Outputs for a batch of inputs, as a Keras model gives them.

        Args:
            inputs: `(N, H, W, 3)`; pixels 0-255 for a network that normalises itself.

        Returns:
            `(N, C)` float32.

        Raises:
            ValueError: it does not give a number for each class that the manifest names.
        """
        if self.manifest.pixels:
            inputs = np.rint(inputs).clip(0, 255).astype("uint8")
        outputs = np.asarray(self._run(np.ascontiguousarray(inputs)), "float32")
        classes = len(self.manifest.class_names)
        if outputs.shape != (len(inputs), classes):
            raise InputError(
                f"{str(self.folder)!r} is damaged: its {MANIFEST} names {classes} classes, and the "
                f"network gives outputs {outputs.shape[1:]} for each image."
            )
        return outputs


def is_exported(path: str | os.PathLike) -> bool:
    """Whether a folder holds an exported network."""
    return pathlib.Path(path, MANIFEST).is_file()


def onnx_runtime(file: str, precision: str = "float32", threads: int = 0) -> Run:
    """Run an ONNX file with ONNX Runtime on the processor."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda inputs: session.run(None, {name: inputs})[0]


def openvino(file: str, precision: str = "bfloat16", threads: int = 0) -> Run:
    """Run OpenVINO's format on the processor; int8 leaves the rest to bfloat16."""
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


def saved_model(folder: str, precision: str = "float32", threads: int = 0) -> Run:
    """Run a SavedModel with TensorFlow, after its operations were looked through."""
    import tensorflow as tf

    _check_operations(folder)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    loaded = tf.saved_model.load(folder)
    serve = loaded.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    return lambda inputs: next(iter(serve(**{name: tf.constant(inputs)}).values())).numpy()


def litert(file: str, precision: str = "float32", threads: int = 0) -> Run:
    """Run a LiteRT file on the processor."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=threads or os.cpu_count())
    entry = interpreter.get_input_details()[0]["index"]
    outlet = interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(inputs: np.ndarray) -> np.ndarray:
        nonlocal shape
        if inputs.shape != shape:
            interpreter.resize_tensor_input(entry, inputs.shape)
            with held_output():  # it says which delegate it takes
                interpreter.allocate_tensors()
            shape = inputs.shape
        interpreter.set_tensor(entry, inputs)
        interpreter.invoke()
        return interpreter.get_tensor(outlet)

    return run


RUNTIMES = {
    "onnx": onnx_runtime,
    "openvino": openvino,
    "saved_model": saved_model,
    "litert": litert,
    "triton": onnx_runtime,
}
"""For each format what runs it: path, precision and threads to a function of a batch."""
SAVED_MODEL_OPERATIONS = frozenset(
    (
        *("Add", "AddV2", "AvgPool", "BiasAdd", "Cast", "ConcatV2", "Const", "Conv2D"),
        *("DepthwiseConv2dNative", "ExpandDims", "FusedBatchNormV3", "Identity", "MatMul", "Max"),
        *("MaxPool", "Maximum", "Mean", "Minimum", "Mul", "NoOp", "Pack", "PartitionedCall"),
        *("Pad", "PadV2", "Placeholder", "ReadVariableOp", "RealDiv", "Relu", "Relu6", "Reshape"),
        *("Rsqrt", "Select", "Shape", "Sigmoid", "Softmax", "Split", "Squeeze", "StridedSlice"),
        *("StatefulPartitionedCall", "Sub", "Sum", "Tanh", "Tile", "Transpose", "VarHandleOp"),
    )
)
"""Operations that networks of images are made of; none of them reads or writes a file."""


def _check_operations(folder: str) -> None:
    """Refuse to run a SavedModel whose answers come of other operations, as `ReadFile`."""
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    try:
        content.ParseFromString(pathlib.Path(folder, "saved_model.pb").read_bytes())
        (graph,) = content.meta_graphs
        functions = {f.signature.name: f.node_def for f in graph.graph_def.library.function}
        nodes = {node.name: node for node in graph.graph_def.node}
        outputs = graph.signature_def["serving_default"].outputs.values()
        waiting: list[Any] = [nodes[output.name.split(":")[0]] for output in outputs]
    except (DecodeError, KeyError, ValueError) as error:
        raise InputError("it is no SavedModel of one graph with a serving signature") from error
    used: set[str] = set()
    called: set[str] = set()
    reached = {node.name for node in waiting}
    while waiting:
        node: Any = waiting.pop()
        used.add(node.op)
        names = {value.func.name for value in node.attr.values() if value.func.name}
        names |= {node.op} & set(functions)
        for name in names - called:
            waiting += functions.get(name, ())
        called |= names
        outermost = nodes.get(node.name) is node  # of that graph only what is needed is run
        if outermost:
            read = {name.lstrip("^").split(":")[0] for name in node.input} - reached
            waiting += [nodes[name] for name in read]
            reached |= read
    if strange := sorted(used - SAVED_MODEL_OPERATIONS - set(functions)):
        raise InputError(
            f"it has operations that exported networks do not have ({', '.join(strange)}), so it "
            "is not run: a graph of TensorFlow can read and write files."
        )
