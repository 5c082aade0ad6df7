import math

import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.explanation.ends import gate_ends
from senet.models.graph import find_se_blocks


def network(change, activation="sigmoid"):
    x = keras.Input((6, 6, 4))
    z = layers.Dense(3, "relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    s = layers.Dense(4, activation, kernel_initializer="random_normal")(z)
    return keras.Model(x, layers.Multiply()([x, change(s)]), name="changed")


CHANGES = [
    (lambda s: s, "sigmoid", (0, 1)),
    (lambda s: s, "hard_sigmoid", (0, 1)),
    (lambda s: s, "tanh", (-1, 1)),
    (lambda s: s, "relu", (0, math.inf)),
    (lambda s: s, "relu6", (0, 6)),
    (lambda s: layers.ReLU(3.0)(s), None, (0, 3)),
    (lambda s: layers.ReLU(6.0)(s + 3.0) * (1 / 6), None, (0, 1)),
    (lambda s: layers.ReLU(6.0)(s + 3.0) / 6, None, (0, 1)),
    (lambda s: keras.ops.sigmoid(s), None, (0, 1)),
    (lambda s: 2 * s, "sigmoid", (0, 2)),
    (lambda s: s - 0.5, "sigmoid", (-0.5, 0.5)),
    (lambda s: 1 - s, "sigmoid", (0, 1)),
    (lambda s: -s, "sigmoid", (-1, 0)),
    (lambda s: -2 * s, "relu", (-math.inf, 0)),
    (lambda s: 3 * (1 + s), "tanh", (0, 6)),
    (lambda s: layers.Rescaling(2.0, offset=-1.0)(s), "sigmoid", (-1, 1)),
    (lambda s: 2 * layers.Rescaling(3.0, offset=1.0)(s), "sigmoid", (2, 8)),
    (lambda s: layers.Dropout(0.2)(layers.Reshape((1, 1, 4))(s)), "sigmoid", (0, 1)),
    (lambda s: layers.Activation("linear")(s), "sigmoid", (0, 1)),
    (lambda s: s[:, :, :, :], "sigmoid", (0, 1)),
    (lambda s: keras.ops.cast(s, "float32"), "sigmoid", (0, 1)),
    (lambda s: keras.ops.reshape(s, (-1, 1, 1, 4)), "sigmoid", (0, 1)),
]


@pytest.mark.parametrize(("change", "activation", "ends"), CHANGES)
def test_a_gate_lies_between_its_ends_whatever_is_done_to_it(change, activation, ends):
    model = network(change, activation)
    (block,) = find_se_blocks(model)
    assert gate_ends(model, [block])[block.scale] == pytest.approx(ends)
    for factor in (1.0, 1000.0):  # far enough to come near both
        x = factor * np.random.default_rng(0).normal(size=(16, 6, 6, 4)).astype("float32")
        (gate,) = senet.gates(model, x).values()
        assert gate.min() >= ends[0] - 1e-5
        assert gate.max() <= ends[1] + 1e-5


@pytest.mark.parametrize(
    "change",
    [
        lambda s: keras.ops.power(s, 2),
        lambda s: 1 / (1 + s),
        lambda s: layers.Rescaling([1.0, 2.0, 3.0, 4.0])(s),
        lambda s: layers.LayerNormalization()(s),
    ],
)
def test_what_cannot_be_followed_is_said(change):
    model = network(change)
    (block,) = find_se_blocks(model)
    with pytest.raises(senet.InputError, match="cannot be told behind"):
        gate_ends(model, [block])


def test_the_ends_of_a_block_inside_a_model_are_those_of_the_block():
    inner = network(lambda s: 2 * s)
    x = keras.Input((6, 6, 4))
    model = keras.Model(x, inner(layers.ReLU()(x)))
    (block,) = find_se_blocks(model)
    assert block.scale.startswith("changed/")
    assert gate_ends(model, [block]) == {block.scale: (0, 2)}


def test_hard_sigmoids_of_mobilenet_lie_between_0_and_1():
    model = keras.applications.MobileNetV3Small(weights=None, input_shape=(32, 32, 3))
    blocks = find_se_blocks(model)
    assert list(gate_ends(model, blocks).values()) == [pytest.approx((0, 1))] * 9
    found = senet.gates(model, np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)))
    assert all(gate.min() >= 0 and gate.max() <= 1 for gate in found.values())
    assert found[blocks[0].scale].shape == (2, 16)
