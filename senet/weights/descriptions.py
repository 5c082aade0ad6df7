"""Networks as Keras describes them in a file: of stock layers, and no larger than their arrays.

Layers ask for memory when they are built, which is before their names and shapes can be compared
with those of a file.
"""

import contextlib
import math
import re
import threading
from collections.abc import Iterator
from typing import Any

import keras

from senet.errors import InputError
from senet.models import family

STOCK = re.compile(
    r"keras(\.src)?(\.(layers|initializers|regularizers|constraints|ops|models|applications)[\w.]*)?"
)
UNSAFE = (
    *("Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "function"),
    *("StringLookup", "IntegerLookup", "IndexLookup", "TextVectorization"),
)
"""What the description of a network in a file may be made of, and may not: these run code, or read
files that they name."""

LAYERS, LAYERS_OF_ARRAY = 60, 6
"""Most layers in the description of a network: these, and for each of its arrays so many more."""

_building = threading.Lock()


def build_described(config: dict[str, Any], held: tuple[int, int]) -> keras.Model:
    """The model that a description stands for, with initial values.

    Args:
        config: of the model, as Keras writes it in `config.json`.
        held: how many arrays there are beside it, and how many values in them.

    Raises:
        ValueError: something in it is no stock layer, could run code, or is larger than the arrays.
        Exception: whatever Keras raises of a damaged description.
    """
    config = config | {"compile_config": None}
    refuse_code(config)
    if _count_layers(config) > LAYERS + LAYERS_OF_ARRAY * held[0]:
        raise InputError("it has more layers than its arrays are of")
    arrays, values = held
    with at_most(2 * arrays, family.LENIENCE * values):  # what little is missing is named later
        model = keras.saving.deserialize_keras_object(config)
    if not isinstance(model, keras.Model):
        raise InputError(f"it describes a {type(model).__name__}, which is no model")
    return model


def refuse_code(config: Any) -> None:
    """Refuse a description of a model that is made of anything but layers of Keras.

    Raises:
        ValueError: it names something else.
    """
    if isinstance(config, dict):
        name, module = config.get("class_name"), config.get("module")
        stock = isinstance(module, str) and STOCK.fullmatch(module) and name not in UNSAFE
        plain = module is None and name in (None, "__keras_tensor__", "__tuple__")
        if not (stock or plain) and ("class_name" in config or "module" in config):
            raise InputError(
                f"{module}.{name} is not one of the layers of Keras that neither run code nor read "
                "files"
            )
        config = list(config.values())
    if isinstance(config, list):
        for part in config:
            refuse_code(part)


def _count_layers(config: Any) -> int:
    """Layers in a description of a model, those of models inside it too."""
    parts = config.values() if isinstance(config, dict) else config
    layers = config.get("layers", ()) if isinstance(config, dict) else ()
    own = len(layers) if isinstance(layers, list | dict) else 0
    return own + sum(_count_layers(part) for part in parts if isinstance(part, dict | list))


@contextlib.contextmanager
def at_most(arrays: int, values: int) -> Iterator[None]:
    """Let layers be built in this thread only as far as there are arrays for their weights.

    Args:
        arrays: how many there are.
        values: in all of them.

    Raises:
        ValueError: in the body, for a weight beyond them.
    """
    here, left = threading.get_ident(), [arrays, values]

    def add_weight(layer: keras.Layer, shape: Any = None, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() == here:
            left[0] -= 1
            left[1] -= math.prod(shape or ())
            if min(left) < 0:
                raise InputError("its layers are larger than its arrays")
        return add(layer, shape, *args, **kwargs)

    with _building:
        add = keras.Layer.add_weight
        keras.Layer.add_weight = add_weight
        try:
            yield
        finally:
            keras.Layer.add_weight = add
