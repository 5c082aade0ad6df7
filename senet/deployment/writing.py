"""Write what a runtime reads, whatever Keras computes with.

TensorFlow writes every format, so that a network gives the same nodes and weights on each. Where
Keras computes with another one, the graph goes to TensorFlow in a process of its own: two such
libraries in one process fight over processors and memory. PyTorch alone can write ONNX and what is
made of it; its graph pads and turns axes around each convolution.
"""

import importlib.util
import json
import pathlib
import subprocess
import tempfile
import warnings

import keras

from senet.deployment.child import ANSWER, LOADING, MEMORY, NETWORK, REQUEST, SYSTEM
from senet.deployment.formats.format import Format, Write
from senet.errors import CapacityError, FileError, InputError, explained, require_libraries
from senet.graph import functional, is_readable
from senet.machine import own_program
from senet.quiet import debugging

WRITER = "tensorflow"
"""The backend that writes every format."""
KILLED = -9
"""Status of a process that the system ended for want of memory."""


def require_writer(style: Format, quantized: bool = False) -> None:
    """Refuse a format that cannot be written or proved for want of a library.

    Raises:
        LibraryError: it is not installed; the message has the command that installs it.
    """
    writers = style.written_by_torch if _find_torch_writer(style) else (WRITER, *style.written_by)
    require_libraries(*writers, *style.run_by, *(style.quantized_by if quantized else ()))


def _find_torch_writer(style: Format) -> Write | None:
    """What writes it on PyTorch, if it is to be used."""
    if keras.backend.backend() != "torch" or importlib.util.find_spec(WRITER) is not None:
        return None
    return style.write_by_torch


def write(
    graph: keras.Model, style: Format, folder: pathlib.Path, class_names: tuple[str, ...]
) -> str:
    """Fill an empty folder with what the runtime reads.

    Args:
        graph: of stock layers, in float32.
        style: to write.
        folder: to fill.
        class_names: one for each class.

    Returns:
        The file for the runtime, relative to the folder.

    Raises:
        InputError: the format cannot hold the graph.
        CapacityError: there is not enough memory.
    """
    here = style.write if keras.backend.backend() == WRITER else _find_torch_writer(style)
    if here is None:
        return write_in_child(graph, style, folder, class_names)
    with explained(f"{style.name} cannot hold this network"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return here(graph, folder, class_names)


def write_in_child(
    graph: keras.Model, style: Format, folder: pathlib.Path, class_names: tuple[str, ...]
) -> str:
    """`write` on TensorFlow in a process of its own, from any backend.

    The graph passes through a file of Keras, which the child loads without running anything of it.

    Raises:
        InputError: the format cannot hold the graph, or it has layers that only this process knows.
        CapacityError: there is not enough memory.
    """
    if strange := sorted(_find_strange_layers(graph)):
        raise InputError(f"{_cannot_pass(style)} (here {', '.join(strange)}).")
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as beside:
        between = pathlib.Path(beside)
        graph.save(between / NETWORK)
        request = dict(format=style.name, folder=str(folder.absolute()), class_names=class_names)
        (between / REQUEST).write_text(json.dumps(request), "utf-8")
        command, environment = own_program("senet.deployment.child", beside)
        about = dict(
            KERAS_BACKEND=WRITER,
            CUDA_VISIBLE_DEVICES="-1",  # to write a file takes none of the memory of a GPU
        )
        done = subprocess.run(  # noqa: S603  our own program
            command,
            env=environment | about,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=None if debugging() else subprocess.PIPE,
        )
        try:
            answer = json.loads((between / ANSWER).read_text("utf-8"))
        except (FileNotFoundError, ValueError):  # it ended before, or while it wrote that
            answer = {}
    if "file" in answer:
        return answer["file"]
    reason, kind = answer.get("error", ""), answer.get("kind", "")
    if done.returncode == KILLED or kind == MEMORY:
        raise CapacityError(f"There is not enough memory to write {style.name}.")
    if kind == SYSTEM:
        raise FileError(f"{style.name} cannot be written: {reason}")
    if kind == LOADING:
        raise InputError(f"{_cannot_pass(style)}: {reason}")
    if not answer:
        said = (done.stderr or b"").decode(errors="replace").strip().splitlines()
        last = said[-1][:300] if said else "it said nothing"
        reason = f"TensorFlow ended with status {done.returncode}: {last}"
    raise InputError(f"{style.name} cannot hold this network: {reason}")


def _cannot_pass(style: Format) -> str:
    return (
        f"TensorFlow writes {style.name} in a process of its own, which knows the layers and "
        "functions of Keras alone; with KERAS_BACKEND=tensorflow it is written in this process"
    )


def _find_strange_layers(graph: keras.Model) -> set[str]:
    """The kinds of layers that a file of Keras does not describe, or only as code."""
    strange = set()
    for layer in functional(graph).layers:
        if is_readable(layer):
            strange |= _find_strange_layers(layer)
        elif not type(layer).__module__.startswith("keras.") or type(layer) is keras.layers.Lambda:
            strange.add(type(layer).__name__)
    return strange
