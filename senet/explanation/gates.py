"""The gates of a network on images."""

import keras
import numpy as np

from senet.graph import inbound
from senet.models.graph import se_blocks


def gates(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> dict[str, np.ndarray]:
    """The gate of every squeeze-and-excitation block for every image, in one pass.

    Blocks are found by structure, so those of hand-built networks, of `senet.insert` and of
    `keras.applications` count too.

    Args:
        model: a functional Keras model, of any placement of its blocks.
        images: inputs of the model, `(N, H, W, C)`.
        batch_size: images in a batch.

    Returns:
        For each block, in network order and by the name of the layer that scales, its gates:
        `(N, C)`, or `(N, H, W, C)` where nothing is squeezed. What multiplies the map is given, so
        that those of `senet.insert(..., init="identity")` lie between 0 and 2.

    Raises:
        ValueError: the model is not functional, or has no squeeze-and-excitation blocks.

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
    parts = [
        probe.predict_on_batch(images[start : start + batch_size])
        for start in range(0, len(images), batch_size)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in names}


def gate_model(model: keras.Model, pooled: bool = False) -> tuple[keras.Model, list[str]]:
    """A model of the same layers that gives the gates, and the names of its outputs.

    Outputs are a dictionary by the name of the layer that scales, in float32; `"outputs"` is what
    the model itself gives.

    Args:
        model: as for `gates`.
        pooled: whether gates that are not squeezed are given as their mean over the pixels.

    Raises:
        ValueError: as for `gates`.
    """
    tensors, sources = {}, inbound(model)
    for block in se_blocks(model):
        scale = model.get_layer(block.scale)  # what gives the gate may be no layer, as in 2 * gate
        gate = scale.input[sources[block.scale].index(block.gate)]
        if block.squeeze is not None:
            gate = keras.layers.Flatten(dtype="float32")(gate)
        elif pooled:
            gate = keras.layers.GlobalAveragePooling2D(dtype="float32")(gate)
        tensors[block.scale] = keras.layers.Identity(dtype="float32")(gate)
    outputs = tensors | {"outputs": model.output}
    return keras.Model(model.input, outputs), list(tensors)
