"""Networks with more gates than they had, or fewer: what travels with them, their card, stays."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from senet.applications import note_own_training, note_weights
from senet.models.folding import with_constant_gates
from senet.models.graph import find_se_blocks
from senet.models.insertion import Where, with_gates
from senet.models.spec import Spec
from senet.weights.card import Card


def insert(
    model: keras.Model, ratio: int = 16, where: Where | None = None, *, init: str = "identity"
) -> keras.Model:
    """A copy of a network with squeeze and excitation behind chosen layers.

    With `init="identity"` the copy computes exactly what the model does, bit for bit, until it is
    trained, whatever the precision of its layers, as long as its maps are finite. The last layer of
    each excitation starts with zeros, so that its sigmoid gives 0.5, and the gate is twice that:
    doubling is exact in floating point. The sigmoid is at its steepest there, so that the gates
    begin to move with the first step, and may grow beyond 1, up to 2.

    Args:
        model: a functional Keras model, for instance of `keras.applications`, or a Sequential one
            that is built; models inside it count too. It stays as it is.
        ratio: integer that divides the channels in the squeeze.
        where: names of layers or shell patterns of names, or a function of a layer; the outputs of
            these layers, which must be maps `(N, H, W, C)`, or `(N, C, H, W)` of layers that have
            channels first, are scaled. A name with a `/` is that of a layer of a model inside the
            model, as `"backbone/conv1"`; one without fits layers in all of them. By default the
            rule for the network, which is known for those of this package and for ResNet, ResNetV2,
            VGG, MobileNet, MobileNetV2, Inception-ResNet-v2, DenseNet, EfficientNetV2 (its blocks
            without a gate of their own), ConvNeXt and Xception of `keras.applications`, by
            themselves or inside of another model.
        init: `"identity"`, or `"paper"` for a sigmoid between 0 and 1 from He-normal weights, which
            changes what the network gives until it is trained.

    Returns:
        A functional model of the layers of the given one and stock Keras layers, which
        `senet.save` keeps and the commands take. What was compiled is left behind; frozen layers
        stay frozen, and the new ones are not. An output that is scaled has the name of what scales
        it. `senet.find_se_blocks` lists the new blocks, named
        `LAYER_se_...`.

    Raises:
        ValueError: the model is not functional, a layer cannot be copied, no layer fits `where`, no
            rule is known, an output is no map, or a layer is called more than once.

    Example:
        >>> model = keras.applications.MobileNet(weights=None)  # or "imagenet"
        >>> better = senet.insert(model)
        >>> better.count_params() - model.count_params()
        479744

    Reference:
        Hu et al., arXiv 1709.01507, section 6.1 and table 3 (SE-MobileNet).
    """
    made = with_gates(model, ratio, where, init)
    folded = getattr(getattr(model, "card", None), "folded", None)
    if folded is not None:  # a gate that is put in again is not gone
        blocks = {block.scale for block in find_se_blocks(made)}
        folded = {name: kind for name, kind in folded.items() if name not in blocks}
    _keep_card(model, made, None, folded=folded)
    return made


def fold_gates(model: keras.Model, gates: Mapping[str, np.ndarray | None]) -> keras.Model:
    """A copy of a network in which the gates of some blocks are constants.

    The constant goes into the batch normalisation or the convolution before it, exactly but for
    rounding: `g (gamma x + beta) = (g gamma) x + g beta`; else into the convolutions or the
    classifier behind it: `W (g x) = (W g) x`. Pooling, dropout, and for constants of at least 0
    ReLU may lie between; an addition if all that is added can take the constant in. Elsewhere it is
    refused. What is left is the layers of the network, and fewer of them. `senet.fold` chooses the
    gates by what they are worth on images.

    Args:
        model: a functional Keras model. It stays as it is.
        gates: for each block that is to lose its gate, by the name of the layer that scales, the
            constant `(C,)`; `None` is 1, which drops it.

    Returns:
        A functional model. That of a network from `create` or `load` is saved, loaded and trained
        like it, and `card.folded` says which gates went.

    Raises:
        ValueError: the model is not functional, has no such block, a constant is of another shape,
            or no layer around the block takes it in exactly.

    Example:
        >>> images, labels = np.random.default_rng(0).random((8, 32, 32, 3)), np.arange(8)
        >>> model = senet.create("se_resnet20_cifar", classes=10)
        >>> found = senet.gate_statistics(model, images, labels)
        >>> name = "stage3_block1_se_scale"
        >>> smaller = senet.fold_gates(model, {name: found[name].mean})
        >>> len(senet.find_se_blocks(model)), len(senet.find_se_blocks(smaller))
        (9, 8)
    """
    folded = with_constant_gates(model, gates)
    card = getattr(model, "card", None)
    if isinstance(card, Card):
        spec = card.spec
        if spec is not None:
            left = [block.scale.removesuffix("_se_scale") for block in find_se_blocks(folded)]
            spec = dataclasses.replace(spec, se_at=tuple(left))
        gone = {name: "dropped" if gate is None else "constant" for name, gate in gates.items()}
        _keep_card(model, folded, spec, folded=(card.folded or {}) | gone)
    return folded


def _keep_card(model: keras.Model, made: keras.Model, spec: Spec | None, **about: Any) -> None:
    """Give a network made of another one its card, with the spec of its own."""
    card = getattr(model, "card", None)
    if isinstance(card, Card):
        card = dataclasses.replace(note_own_training(model, card), spec=spec, name=made.name)
        made.card = dataclasses.replace(card, **about)
        note_weights(made)
