"""LiteRT, once TensorFlow Lite: for phones and small computers."""

import os
import pathlib
import tempfile
from typing import TYPE_CHECKING

from senet.deployment.formats.format import Format, Run
from senet.deployment.formats.saved_model import write_saved_model
from senet.quiet import held_output

if TYPE_CHECKING:
    import keras
    import numpy as np

FILE = "model.tflite"


def write(graph: "keras.Model", folder: pathlib.Path, class_names: tuple[str, ...]) -> str:
    """Write `model.tflite`, of LiteRT's own operations."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory(dir=folder) as beside:
        write_saved_model(graph, pathlib.Path(beside))
        converted = tf.lite.TFLiteConverter.from_saved_model(beside).convert()
    (folder / FILE).write_bytes(converted)
    return FILE


def run(file: str, precision: str, threads: int) -> Run:
    """Run a LiteRT file on the processor."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(file, num_threads=threads or os.cpu_count())
    entry = interpreter.get_input_details()[0]["index"]
    outlet = interpreter.get_output_details()[0]["index"]
    shape: tuple[int, ...] = ()

    def run(inputs: "np.ndarray") -> "np.ndarray":
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


FORMAT = Format("litert", ("float32",), write, run, run_by=("ai_edge_litert",))
