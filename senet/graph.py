"""The graph of a functional Keras model: who feeds whom, and what a rewriting has to remember."""

import functools
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras

from senet.errors import InputError

Call = tuple[str, int]
"""One call of a layer: its name, and which of its calls in this model it is."""
Given = tuple[str, int, int]
"""What a call gives: the call, and which of its outputs."""


def has_graph(model: Any) -> bool:
    """Whether it is a model of Keras with inputs and outputs, as a functional one is."""
    if not isinstance(model, keras.Model):
        return False
    return bool(getattr(model, "inputs", None)) and bool(model.outputs)


@functools.cache
def _functional_class() -> type:
    """The class of a functional model, which Keras has no public name for."""
    image = keras.Input((1,), name="any")  # names of its own take none from the networks of users
    return type(keras.Model(image, image, name="any"))


def is_readable(layer: Any) -> bool:
    """Whether it is a model whose graph is what it computes."""
    return has_graph(layer) and not find_overrides(layer, ("call",))


def same_layers(model: keras.Model) -> keras.Model:
    """A functional model, not compiled, of the very layers of one that has a graph."""
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def find_overrides(model: keras.Model, names: tuple[str, ...]) -> list[str]:
    """Which of these methods a class of users has in place of those of Keras."""
    stock = keras.Sequential if isinstance(model, keras.Sequential) else _functional_class()
    return [name for name in names if getattr(type(model), name) is not getattr(stock, name)]


def functional(model: keras.Model) -> keras.Model:
    """The functional model that a network is: itself, or that of a Sequential one.

    Raises:
        ValueError: it is no model, has no graph yet or never, or is called in a way of its own.
    """
    if not isinstance(model, keras.Model):
        raise InputError(
            f"A network must be a keras.Model; got {type(model).__name__}. senet.load gives one "
            "of a file."
        )
    if not has_graph(model):
        how = (
            "Give it a keras.Input as its first layer, or call it on images first."
            if isinstance(model, keras.Sequential)
            else "Rebuild it as keras.Model(inputs, outputs)."
        )
        raise InputError(
            f"The graph of {model.name!r} cannot be read: only functional models, and Sequential "
            f"ones that are built, have one; got {type(model).__name__}. {how}"
        )
    if find_overrides(model, ("call",)):
        raise InputError(
            f"{type(model).__name__} has a call of its own, so that its graph is not what "
            f"{model.name!r} computes: rebuild it as keras.Model(inputs, outputs)."
        )
    return model if type(model) is _functional_class() else same_layers(model)


def inbound(model: keras.Model) -> dict[str, list[str]]:
    """For each layer of a functional model the names of the layers that feed it.

    Read from `model.get_config()`, which is public and is what a saved file holds. A layer that is
    called several times lists the sources of all its calls.

    Raises:
        ValueError: the model has no graph, as `functional` says.
    """
    found: dict[str, list[str]] = {name: [] for name in calls(model)}
    for (name, _), sources in call_sources(model).items():
        found[name] += [source for source, *_ in sources]
    return found


def call_sources(model: keras.Model) -> dict[Call, list[Given]]:
    """For each call of a layer or an operation what feeds it, in the order of its arguments.

    Raises:
        ValueError: as for `inbound`.
    """
    nodes = {name: own or [None] for name, own in calls(model).items()}  # an input has no call
    return {
        (name, i): [
            # the last call of a model may be counted from one, because its own graph is a call too
            (source, min(number, len(nodes[source]) - 1), output)
            for source, number, output in _tensors(node)
        ]
        for name, own in nodes.items()
        for i, node in enumerate(own)
    }


def calls(model: keras.Model) -> dict[str, list[Any]]:
    """For each layer of a functional model its calls, as `model.get_config()` writes them.

    Raises:
        ValueError: as for `inbound`.
    """
    model = functional(model)
    try:
        config = model.get_config()
    except Exception as error:  # of classes of users, which may raise anything
        raise InputError(
            f"The graph of {model.name!r} cannot be read, because {_name_silent(model)} has no "
            "get_config() that works, as a layer that is made with more than numbers must."
        ) from error
    return {entry["name"]: entry["inbound_nodes"] for entry in config["layers"]}


def _name_silent(model: keras.Model) -> str:
    """The layer of a model that does not say how it is made."""
    for layer in model.layers:
        try:
            layer.get_config()
        except Exception:
            return f"{layer.name!r} ({type(layer).__name__})"
    return "one of its layers"


def open_path(model: keras.Model, path: str) -> tuple[keras.Model, str]:
    """The functional model in which a layer is, and its name there.

    Args:
        model: a functional model.
        path: the name of the layer, behind those of the models around it, as `"backbone/conv1"`.
    """
    *around, name = path.split("/")
    for folder in around:
        model = functional(model).get_layer(folder)
    return functional(model), name


def inner_models(model: keras.Model) -> dict[str, keras.Model]:
    """The models among the layers of a functional model whose graphs can be read, by name."""
    return {layer.name: layer for layer in functional(model).layers if is_readable(layer)}


def rebuild(
    model: keras.Model,
    clone: Callable[[Any], Any] | None = None,
    call: Callable[..., Any] | None = None,
    inputs: Any = None,
) -> keras.Model:
    """A functional model that calls other layers, or calls them otherwise; it is not compiled.

    Args:
        model: a functional model.
        clone: makes the layer, or the operation, that takes the place of one; by default
            `copy_layer`.
        call: calls one in the graph, as `call(layer, *args, **kwargs)`.
        inputs: to rebuild on; by default new ones of the same shapes and names.

    Raises:
        ValueError: as for `inbound`.
    """
    own = same_layers(functional(model))  # a clone of what is compiled would make an optimizer too
    return keras.models.clone_model(
        own,
        input_tensors=fresh_inputs(own) if inputs is None else inputs,
        clone_function=clone or copy_layer,
        call_function=call,
    )


def copy_layer(layer: Any, **changed: Any) -> Any:
    """A new layer or operation of the same configuration, but for what is changed in it.

    Raises:
        ValueError: it has none that a layer could be made of.
    """
    if isinstance(layer, keras.layers.Lambda):
        return layer  # has no weights, and of a Python function there is no copy
    try:
        config = layer.get_config()
        config |= {name: value for name, value in changed.items() if name in config}
        return layer.__class__.from_config(config)
    except Exception as error:  # of classes of users, which may raise anything
        raise InputError(
            f"The layer {layer.name!r} cannot be copied, because {type(layer).__name__} cannot be "
            f"made of its get_config(): {error}"
        ) from error


def find_tensor(source: str, read: list[Given], *given: Any) -> Any:
    """Of the tensors that a call is given that which a layer made.

    Args:
        source: name of the layer.
        read: what feeds the call, as `call_sources` has it.
        *given: the arguments of the call.
    """
    tensors = [t for t in keras.tree.flatten(given) if keras.utils.is_keras_tensor(t)]
    return tensors[[name for name, *_ in read].index(source)]


def fresh_inputs(model: keras.Model) -> Any:
    """New inputs of the same structure, shapes, types and names, to rebuild a model on."""
    optional = {
        id(layer.output): layer.optional
        for layer in model.layers
        if isinstance(layer, keras.layers.InputLayer)
    }
    return keras.tree.map_structure(
        lambda t: keras.Input(
            batch_shape=t.shape, dtype=t.dtype, name=t.name, optional=optional.get(id(t), False)
        ),
        model.input,
    )


def set_weights(layer: keras.layers.Layer, weights: list[Any]) -> None:
    """Give a layer these values, as `layer.get_weights()` has them.

    Raises:
        ValueError: it has weights of other shapes.
    """
    try:
        layer.set_weights(weights)
    except ValueError as error:
        raise InputError(
            f"The layer {layer.name!r} cannot be copied, because {type(layer).__name__} made of "
            f"its get_config() has other weights: {error}"
        ) from error
    settle(layer)


def settle(layer: keras.layers.Layer) -> None:
    """Let a layer, or those of a model, work out of weights that were set what it computes with.

    A normalisation that was adapted keeps mean and variance apart from its weights.
    """
    for inside in (*getattr(layer, "layers", ()), getattr(layer, "layer", None)):
        if isinstance(inside, keras.layers.Layer):  # of a model, or in a wrapper
            settle(inside)
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


class Rebuilding:
    """What is known while a graph is rebuilt from its inputs to its outputs.

    Layers that nothing reads in the end are dropped when a model is made of the outputs.

    Args:
        model: a functional model.

    Raises:
        ValueError: the model is not functional.
    """

    def __init__(self, model: keras.Model) -> None:
        self.model = model
        self.readers = Counter(name for names in inbound(model).values() for name in names)
        """For each layer by name, how many read what it gives; the outputs of the model count."""
        outputs = keras.tree.flatten(functional(model).get_config()["output_layers"])
        self.readers.update(name for name in outputs if isinstance(name, str))
        self.made: dict[int, tuple[Any, Any, Any]] = {}

    def remember(self, outputs: Any, layer: keras.layers.Layer, read: Any) -> Any:
        """Say that `layer` gave `outputs` when it read `read`; returns the outputs."""
        if keras.utils.is_keras_tensor(outputs):
            self.made[id(outputs)] = outputs, layer, read  # as long as it lives its id is its own
        return outputs

    def maker(self, tensor: Any, *kinds: type) -> tuple[Any, Any]:
        """The layer that gave a tensor, if of one of these kinds, and what it read; or `None`s."""
        _, layer, read = self.made.get(id(tensor), (None, None, None))
        return (layer, read) if not kinds or type(layer) in kinds else (None, None)

    def read_once(self, tensor: Any) -> bool:
        """Whether what a layer gave has one reader."""
        layer, _ = self.maker(tensor)
        return layer is not None and self.readers[layer.name] == 1


def _tensors(item: Any) -> list[Given]:
    """What appears in one serialised call of what other calls give, in order."""
    if isinstance(item, dict):
        if item.get("class_name") == "__keras_tensor__":
            name, number, output = item["config"]["keras_history"]
            return [(name, number, output)]
        item = list(item.values())
    if isinstance(item, (list, tuple)):
        return [call for part in item for call in _tensors(part)]
    return []
