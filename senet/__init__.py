"""Squeeze-and-Excitation networks for Keras 3.

Importing this package starts no backend; the names below are imported when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from senet import errors

if TYPE_CHECKING:
    from senet.acceleration import accelerate
    from senet.applications import (
        SENet154,
        SEResNet18,
        SEResNet34,
        SEResNet50,
        SEResNet101,
        SEResNet152,
        SEResNeXt50,
        SEResNeXt101,
        SEResNeXt101_32x8d,
        SEResNeXt101_64x4d,
        SEResNeXt152,
        create,
        list_models,
        list_weights,
        load,
        save,
    )
    from senet.data.preprocessing import Preprocessing
    from senet.errors import (
        CapacityError,
        Error,
        ExistsError,
        FileError,
        InputError,
        LibraryError,
        NotFoundError,
    )
    from senet.explanation.deletion import deletion_test
    from senet.explanation.gates import gates
    from senet.explanation.gradcam import grad_cam
    from senet.explanation.statistics import gate_statistics
    from senet.models.complexity import complexity
    from senet.models.graph import find_se_blocks
    from senet.models.spec import Spec
    from senet.surgery import fold_gates, insert
    from senet.tasks.benchmarking import benchmark
    from senet.tasks.evaluating import evaluate
    from senet.tasks.explaining import explain
    from senet.tasks.exporting import export
    from senet.tasks.folding import fold
    from senet.tasks.predicting import predict
    from senet.tasks.quantizing import quantize
    from senet.tasks.training import resume, train
    from senet.weights.imagenet import decode_predictions, preprocess_input
    from senet.weights.readers import WeightsError

__version__ = "0.1.0"

_HOME = {
    "CapacityError": "senet.errors",
    "Error": "senet.errors",
    "ExistsError": "senet.errors",
    "FileError": "senet.errors",
    "InputError": "senet.errors",
    "LibraryError": "senet.errors",
    "NotFoundError": "senet.errors",
    "Preprocessing": "senet.data.preprocessing",
    "SENet154": "senet.applications",
    "SEResNeXt101": "senet.applications",
    "SEResNeXt101_32x8d": "senet.applications",
    "SEResNeXt101_64x4d": "senet.applications",
    "SEResNeXt152": "senet.applications",
    "SEResNeXt50": "senet.applications",
    "SEResNet101": "senet.applications",
    "SEResNet152": "senet.applications",
    "SEResNet18": "senet.applications",
    "SEResNet34": "senet.applications",
    "SEResNet50": "senet.applications",
    "Spec": "senet.models.spec",
    "WeightsError": "senet.weights.readers",
    "accelerate": "senet.acceleration",
    "benchmark": "senet.tasks.benchmarking",
    "complexity": "senet.models.complexity",
    "create": "senet.applications",
    "decode_predictions": "senet.weights.imagenet",
    "deletion_test": "senet.explanation.deletion",
    "evaluate": "senet.tasks.evaluating",
    "explain": "senet.tasks.explaining",
    "export": "senet.tasks.exporting",
    "find_se_blocks": "senet.models.graph",
    "fold": "senet.tasks.folding",
    "fold_gates": "senet.surgery",
    "gate_statistics": "senet.explanation.statistics",
    "gates": "senet.explanation.gates",
    "grad_cam": "senet.explanation.gradcam",
    "insert": "senet.surgery",
    "list_models": "senet.applications",
    "list_weights": "senet.applications",
    "load": "senet.applications",
    "predict": "senet.tasks.predicting",
    "preprocess_input": "senet.weights.imagenet",
    "quantize": "senet.tasks.quantizing",
    "resume": "senet.tasks.training",
    "save": "senet.applications",
    "train": "senet.tasks.training",
}

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'senet' has no attribute {name!r}")
    with errors.one_family():  # the backend that Keras is to use may be missing
        return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
