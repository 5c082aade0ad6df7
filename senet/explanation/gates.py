"""The gates of a network on images."""

import operator
from typing import Any

import keras
import numpy as np

from senet.errors import InputError
from senet.graph import call_sources, find_tensor, functional, rebuild
from senet.models.graph import SEBlock, find_se_blocks, se_blocks
from senet.models.layout import Layout

OUTPUTS = "/outputs"
"""Where among the outputs of a gate model those of the network itself are: no layer is so named."""


def gates(
    model: keras.Model, images: np.ndarray | Any, batch_size: int = 32
) -> dict[str, np.ndarray]:
    """The gate of every squeeze-and-excitation block for every image, in one pass.

    Blocks are found by structure, so those of hand-built networks, of `senet.insert` and of
    `keras.applications` count too, and those of models inside the model.

    Args:
        model: a functional Keras model, of any placement of its blocks, or a built Sequential one.
        images: inputs of the model, `(N, H, W, C)`; of a model with several inputs a list or a
            dictionary, as it takes them.
        batch_size: images in a batch.

    Returns:
        For each block, in network order and by the name of the layer that scales, its gates:
        `(N, C)`, or `(N, H, W, C)` where nothing is squeezed, with channels first too. What
        multiplies the map is given, so that those of `senet.insert(..., init="identity")` lie
        between 0 and 2. A block of a model inside the model is called `"backbone/LAYER"`.

    Raises:
        ValueError: the model is not functional, has no squeeze-and-excitation blocks, or calls one
            several times; there are no images, or they do not fit its inputs.

    Example:
        >>> images = np.random.default_rng(0).random((8, 64, 64, 3))
        >>> model = senet.SEResNet50(input_shape=(64, 64, 3))  # with weights="imagenet", or yours
        >>> found = senet.gates(model, images)
        >>> found["stage1_block1_se_scale"].shape
        (8, 256)

    Reference:
        Hu et al., arXiv 1709.01507, section 7.2.
    """
    probe, names = gate_model(model)
    batches = [probe.predict_on_batch(batch) for batch in split(model, images, batch_size)]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in names}


def split(model: keras.Model, images: Any, batch_size: int) -> list[Any]:
    """The inputs of a model in batches.

    Raises:
        ValueError: there are no images, or they do not fit the inputs of the model.
    """
    if isinstance(batch_size, bool) or not hasattr(batch_size, "__index__") or batch_size < 1:
        raise InputError(f"batch_size must be a whole number from 1; got {batch_size!r}.")
    inputs = as_inputs(model, images)
    count, size = len(keras.tree.flatten(inputs)[0]), operator.index(batch_size)
    return [
        keras.tree.map_structure(lambda array: array[start : start + size], inputs)  # noqa: B023
        for start in range(0, count, size)
    ]


def as_inputs(model: keras.Model, images: Any) -> Any:
    """The images as arrays, in the structure that the model takes.

    Raises:
        ValueError: there are none, or they do not fit its inputs.
    """
    wanted: Any = functional(model).input
    shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), wanted)
    if len(keras.tree.flatten(wanted)) == 1 and not isinstance(images, dict | list | tuple):
        images = keras.tree.map_structure(lambda _: images, wanted)
    arrays = _as_arrays(wanted, images)
    if arrays is None:
        given = sorted(images) if isinstance(images, dict) else type(images).__name__
        raise InputError(f"Images must be {shapes}, as {model.name!r} takes them; got {given}.")
    parts = keras.tree.flatten(arrays)
    if not all(map(_fits, parts, keras.tree.flatten(wanted))):
        found = keras.tree.map_structure(lambda array: array.shape, arrays)
        raise InputError(f"Images must be {shapes} for {model.name!r}; got {found}.")
    counts = {len(part) for part in parts}
    if len(counts) > 1 or counts == {0}:
        raise InputError(
            "There must be an image or more, and as many for each input; got "
            f"{', '.join(map(str, sorted(counts)))}."
        )
    return arrays


def _as_arrays(wanted: Any, images: Any) -> Any:
    """The images as arrays in the structure of the inputs; `None` where they have another."""
    if isinstance(wanted, dict):
        if not isinstance(images, dict) or set(images) != set(wanted):
            return None
        arrays = {name: _as_arrays(wanted[name], images[name]) for name in wanted}
        return None if any(part is None for part in arrays.values()) else arrays
    if isinstance(wanted, list | tuple):
        if not isinstance(images, list | tuple) or len(images) != len(wanted):
            return None
        parts = [_as_arrays(*pair) for pair in zip(wanted, images, strict=True)]
        return None if any(part is None for part in parts) else type(wanted)(parts)
    return None if isinstance(images, dict) or images is None else _as_array(images)


def _as_array(images: Any) -> np.ndarray:
    if isinstance(images, np.ndarray | list | tuple):
        return np.asarray(images)
    return keras.ops.convert_to_numpy(images)


def _fits(array: np.ndarray, tensor: Any) -> bool:
    """Whether it has numbers, in the shape of an input."""
    if array.dtype.kind not in "buif" and array.dtype.name != "bfloat16":
        return False
    sides = zip(array.shape[1:], tensor.shape[1:], strict=False)
    return array.ndim == len(tensor.shape) and all(side in (None, own) for own, side in sides)


def gate_model(model: keras.Model, pooled: bool = False) -> tuple[keras.Model, list[str]]:
    """A model of the same layers that gives the gates, and the names of its outputs.

    Outputs are a dictionary by the name of the layer that scales, in float32; `OUTPUTS` is what
    the model itself gives.

    Args:
        model: as for `gates`.
        pooled: whether gates that are not squeezed are given as their mean over the pixels.

    Raises:
        ValueError: as for `gates`.
    """
    names = [block.scale for block in se_blocks(model)]
    return _tapped(model, pooled), names


def _tapped(model: keras.Model, pooled: bool) -> keras.Model:
    """The model called anew, which gives out what its maps are multiplied by.

    It is called anew because a layer that other models have too does not say which of its tensors
    are of this one, and because one that is a model gives nothing out of what is in it.
    """
    model = functional(model)
    sources, taken = call_sources(model), {operation.name for operation in model.operations}
    blocks = {block.scale: block for block in find_se_blocks(model)}
    around = {path.partition("/")[0] for path in blocks if "/" in path}
    inner = {name: _tapped(model.get_layer(name), pooled) for name in around}
    layout, found = Layout(model), dict[str, Any]()

    def call(layer, *args, **kwargs):
        if layer.name in inner:
            given = inner[layer.name](*args, **kwargs)
            outputs = given.pop(OUTPUTS)
            found.update({f"{layer.name}/{name}": gate for name, gate in given.items()})
            return outputs
        if layer.name in blocks:
            block = blocks[layer.name]
            gate = find_tensor(block.gate, sources[layer.name, 0], args, kwargs)
            found[layer.name] = _read(layout, block, gate, pooled, taken)
        return layer(*args, **kwargs)

    again = rebuild(model, lambda layer: layer, call)
    return keras.Model(again.input, found | {OUTPUTS: again.output})


def _read(layout: Layout, block: SEBlock, gate: Any, pooled: bool, taken: set[str]) -> Any:
    """One gate as it is given out."""
    first = layout.find_channel_axis(block.excitation[-1]) == 1
    data_format = "channels_first" if first else "channels_last"
    name = f"{block.scale}_gates"
    while name in taken:
        name += "_"
    taken.add(name)
    options = dict(dtype="float32", name=name)
    pixels = gate.shape[2:] if first else gate.shape[1:3]
    if block.squeeze is not None and (len(gate.shape) != 4 or set(pixels) == {1}):
        return keras.layers.Flatten(**options)(gate)
    pooled = pooled or block.squeeze is not None  # which was spread over the pixels again
    if pooled:
        return keras.layers.GlobalAveragePooling2D(data_format, **options)(gate)
    if first:
        return keras.layers.Permute((2, 3, 1), **options)(gate)
    return keras.layers.Identity(**options)(gate)
