"""What libraries say for themselves stays off standard error, unless somebody debugs.

TensorFlow, JAX, LiteRT and others greet from native code, some before any switch of theirs is read;
what they write goes past `sys.stderr`, straight to the file descriptor. So does this module.
"""

import contextlib
import importlib.abc
import importlib.machinery
import io
import logging
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from senet.foreign import escape_text

DEBUG = "SENET_DEBUG"
"""The environment variable that lets libraries speak; `senet --debug` sets it."""

GREETERS = ("tensorflow", "jax", "torch", "openvino", "onnxruntime", "ai_edge_litert", "nncf")
"""Libraries that write to the file descriptor while they are imported."""

LOGGERS = ("absl", "tensorflow", "jax", "nncf", "huggingface_hub", "tf2onnx")


def debugging() -> bool:
    """Whether libraries may speak."""
    return bool(os.environ.get(DEBUG))


def hush() -> None:
    """Keep libraries quiet in this process, and give warnings of our own one line.

    For programs that own their process, as the command line does. Warnings that Python was told
    about by `-W` or PYTHONWARNINGS stay as they are.
    """
    if debugging():
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for library in LOGGERS:
        logging.getLogger(library).setLevel(logging.ERROR)
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"senet(\.|$)")
        warnings.showwarning = _in_one_line
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


@contextlib.contextmanager
def held_output() -> Iterator[None]:
    """Hold back what is written to standard error while the body runs; show it if the body fails.

    Example:
        >>> with held_output():
        ...     import tensorflow
    """
    try:
        before = None if debugging() else os.dup(2)
    except OSError:  # there is no standard error
        before = None
    if before is None:
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:
            held.seek(0)
            os.write(before, held.read())
            raise
        finally:
            os.dup2(before, 2)
            os.close(before)


@contextlib.contextmanager
def quiet_library(name: str) -> Iterator[None]:
    """Keep back what a library prints and logs below an error while the body runs.

    Args:
        name: of its logger.
    """
    if debugging():
        yield
        return
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def _in_one_line(message: Any, *_: Any, **__: Any) -> None:
    print("warning:", escape_text(" ".join(str(message).split())), file=sys.stderr)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds libraries as Python does, and lets them be imported without a greeting."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in GREETERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Held(spec.loader)
        return spec


class _Held(importlib.abc.Loader):
    """A loader that holds back what a module writes while it is executed."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __getattr__(self, name: str) -> Any:  # what readers of resources ask a loader for
        return getattr(self.loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        with held_output():
            self.loader.exec_module(module)
