import keras
import numpy as np
import pytest

import senet
from senet.acceleration import rebuild_faster
from senet.acceleration.convolution import ProductConv2D
from tests import numpy_layers as reference
from tests.acceleration.test_twin import assert_close, gradients, tensorflow_only

pytestmark = tensorflow_only


def pair(shape, filters=8, size=1, **options):
    inputs = keras.Input(shape)
    conv = keras.layers.Conv2D(filters, size, **options)
    model = keras.Model(inputs, conv(inputs))
    return model, senet.accelerate(model)


@pytest.mark.parametrize(
    ("height", "width", "size", "strides", "use_bias"),
    [
        (7, 8, 1, 1, True),
        (17, 18, 1, 1, False),
        (8, 6, 1, 2, False),
        (8, 9, 1, 2, False),
        (7, 8, 1, 2, False),
        (6, 9, 1, 3, True),
        (8, 9, 3, 1, False),
        (9, 10, 3, 2, True),
    ],
)
def test_outputs_and_gradients_equal_float64(height, width, size, strides, use_bias):
    model, twin = pair((height, width, 6), size=size, strides=strides, use_bias=use_bias)
    assert isinstance(rebuild_faster(twin).layers[1], ProductConv2D)
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(3, height, width, 6)), rng.normal(size=(size, size, 6, 8))
    model.layers[1].kernel.assign(kernel)
    expected = reference.conv(x, kernel, strides, 0, 1)
    assert_close(np.asarray(twin(x.astype("float32"))), expected, 1e-5)
    weight = rng.normal(size=expected.shape)
    (*of_bias, of_kernel), of_inputs = gradients(twin, x, weight)
    dx, dkernel = reference.conv_gradients(x, kernel, weight, strides, 0, 1)
    assert_close(of_kernel, dkernel, 1e-5)
    assert_close(of_inputs, dx, 1e-5)
    assert len(of_bias) == use_bias
    for gradient in of_bias:
        assert_close(gradient, weight.sum((0, 1, 2)), 1e-5)


def test_an_activation_and_bfloat16_are_kept():
    model, twin = pair((4, 4, 6), size=3, activation="relu", dtype="mixed_bfloat16")
    x = np.random.default_rng(0).normal(size=(2, 4, 4, 6)).astype("float32")
    ours, theirs = twin(x, training=True), model(x, training=True)
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(*(keras.ops.cast(y, "float32") for y in (ours, theirs)))


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((32, 32, 6), dict(size=3)),
        ((None, None, 6), dict(size=1, strides=2)),
        ((5, 5, 6), dict(size=3, padding="same")),
        ((7, 7, 6), dict(size=3, dilation_rate=2)),
        ((7, 7, 6), dict(size=(1, 3))),
    ],
)
def test_other_convolutions_keep_their_layer(shape, options):
    _, twin = pair(shape, **options)
    assert not isinstance(rebuild_faster(twin).layers[1], ProductConv2D)
