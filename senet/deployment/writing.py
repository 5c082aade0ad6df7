"""Write what a runtime reads, whatever Keras computes with.

TensorFlow writes every format, so that a network gives the same file on every backend. Where Keras
computes with another one, the graph goes to TensorFlow in a process of its own: two such libraries
in one process fight over processors and memory. PyTorch alone can write ONNX and what is made of
it; its graph pads and turns axes around each convolution.
"""

import importlib.util
import json
import pathlib
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

import keras

from senet.deployment.child import ANSWER, NETWORK, REQUEST
from senet.deployment.formats.format import Format
from senet.errors import CapacityError, FileError, InputError, require_libraries
from senet.graph import functional, is_readable
from senet.machine import own_program

WRITER = "tensorflow"
"""The backend that writes every format."""
KILLED = -9
"""Status of a process that the system ended for want of memory."""


def require_writer(style: Format, quantized: bool = False) -> None:
    """Refuse a format that cannot be written or proved for want of a library.

    Raises:
        LibraryError: it is not installed; the message has the command that installs it.
    """
    require_libraries(*style.written_by, *style.run_by)
    if quantized:
        require_libraries(*style.quantized_by)
    if not _writes_by_torch(style):
        require_libraries(WRITER)


def _writes_by_torch(style: Format) -> bool:
    return (
        keras.backend.backend() == "torch"
        and style.write_by_torch is not None
        and importlib.util.find_spec(WRITER) is None
    )


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
    if keras.backend.backend() == WRITER:
        return _try(style.write, graph, style.name, folder, class_names)
    if _writes_by_torch(style) and style.write_by_torch is not None:
        return _try(style.write_by_torch, graph, style.name, folder, class_names)
    return write_in_child(graph, style, folder, class_names)


def _try(write: Callable[..., str], graph: keras.Model, name: str, *where: Any) -> str:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return write(graph, *where)
    except (MemoryError, ImportError, OSError):
        raise
    except Exception as error:  # each converter has exceptions of its own
        raise InputError(f"{name} cannot hold this network: {name_reason(error)}") from error


def name_reason(error: BaseException) -> str:
    """The first line of an error of another library, or its kind where it has no text."""
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


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
        raise InputError(
            f"TensorFlow writes {style.name} in a process of its own, which cannot know layers "
            f"that are not of Keras ({', '.join(strange)}). With KERAS_BACKEND=tensorflow it is "
            "written in this process."
        )
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
            capture_output=True,
        )
        try:
            answer = json.loads((between / ANSWER).read_text("utf-8"))
        except (FileNotFoundError, ValueError):  # it ended before, or while it wrote that
            answer = {}
    if "file" in answer:
        return answer["file"]
    if done.returncode == KILLED or answer.get("kind") == "MemoryError":
        raise CapacityError(f"There is not enough memory to write {style.name}.")
    if answer.get("kind") == "OSError":
        raise FileError(f"{style.name} cannot be written: {answer['error']}")
    said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
    reason = answer.get("error", f"TensorFlow ended with status {done.returncode}: {said[-1]}")
    raise InputError(f"{style.name} cannot hold this network: {reason[:300]}")


def _find_strange_layers(graph: keras.Model) -> set[str]:
    """The kinds of layers that a file of Keras does not describe, or only as code."""
    strange = set()
    for layer in functional(graph).layers:
        if is_readable(layer):
            strange |= _find_strange_layers(layer)
        elif not type(layer).__module__.startswith("keras.") or type(layer) is keras.layers.Lambda:
            strange.add(type(layer).__name__)
    return strange
