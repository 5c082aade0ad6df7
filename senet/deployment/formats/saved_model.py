"""TensorFlow's SavedModel, in a folder numbered as TensorFlow Serving numbers versions.

It is what the other formats are made of too: one function with one named input and one named
output, whose variables are stored once.
"""

import contextlib
import pathlib
from typing import TYPE_CHECKING, Any

from senet.deployment.formats.format import INPUT, OUTPUT, Format, Run
from senet.errors import InputError

if TYPE_CHECKING:
    import keras

VERSION = "1"


def write(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """Write the folder `1`."""
    write_saved_model(graph, folder / VERSION)
    return VERSION


def write_saved_model(graph: "keras.Model", folder: pathlib.Path) -> None:
    """Write a network with one signature, `serving_default`."""
    archive, _ = serve(graph)
    archive.write_out(str(folder), verbose=False)


def serve(graph: "keras.Model") -> tuple[Any, Any]:
    """An archive of Keras with the network in it, and the function of TensorFlow that it serves.

    The function is added rather than the model: a model that is tracked stores its variables again.
    """
    import keras

    archive = keras.export.ExportArchive()
    entry = keras.InputSpec(graph.input.dtype, graph.input.shape, name=INPUT)
    function = archive.add_endpoint(
        "serve", lambda image: {OUTPUT: graph(image, training=False)}, [entry]
    )
    return archive, function


def run(folder: str, precision: str, threads: int) -> Run:
    """Run it with TensorFlow, after its operations were looked through."""
    import keras
    import tensorflow as tf

    _check_operations(folder)
    if keras.backend.backend() != "tensorflow":
        with contextlib.suppress(RuntimeError):  # it has begun already
            tf.config.set_visible_devices([], "GPU")  # that memory is the backend's
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    loaded = tf.saved_model.load(folder)
    serve = loaded.signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    return lambda inputs: next(iter(serve(**{name: tf.constant(inputs)}).values())).numpy()


OPERATIONS = frozenset(
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


KINDS = frozenset(("user_object", "variable", "function", "bare_concrete_function", "constant"))
"""What lies in a SavedModel of ours. Others, as tables and assets, run functions of their own while
they are loaded."""


def _check_operations(folder: str) -> None:
    """Refuse to load a SavedModel that runs other operations than networks do, as `ReadFile`.

    Its answers must come of known operations, and nothing of it may run while it is loaded.
    """
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
    for thing in graph.object_graph_def.nodes:
        saves = any(f.save_function or f.restore_function for f in thing.saveable_objects.values())
        if thing.WhichOneof("kind") not in KINDS or thing.registered_saver or saves:
            kind = thing.WhichOneof("kind")
            raise InputError(
                f"it has parts that run functions of their own while they are loaded ({kind}), so "
                "it is not loaded: a graph of TensorFlow can read and write files"
            )
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
    if strange := sorted(used - OPERATIONS - set(functions)):
        raise InputError(
            f"it has operations that exported networks do not have ({', '.join(strange)}), so it "
            "is not run: a graph of TensorFlow can read and write files."
        )


FORMAT = Format("saved_model", ("float32",), write, run, run_by=("tensorflow",))
