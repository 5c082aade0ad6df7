import keras
import numpy as np
import pytest

import senet
from senet.acceleration import rebuild_faster
from senet.acceleration.batch_normalization import KERNELS, FusedBatchNormalization
from tests.acceleration.test_twin import assert_close, gradients, numpy, tensorflow_only
from tests.conftest import randomise

with_kernel = pytest.mark.skipif(
    keras.backend.backend() not in KERNELS, reason="JAX has no kernel of its own"
)


def pair(shape=(6, 7, 5), **options):
    """A stock layer in a model, and its twin."""
    inputs = keras.Input(shape)
    stock = keras.Model(inputs, keras.layers.BatchNormalization(**options)(inputs))
    randomise(stock)
    return stock, senet.accelerate(stock)


def maps(count=4, shape=(6, 7, 5)):
    rng = np.random.default_rng(0)
    return rng.normal(rng.normal(0, 2, shape[-1]), 1.5, (count, *shape)).astype("float32")


def equation(x, layer):
    """Output, mean and variance in float64."""
    x = x.astype("float64")
    mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    gamma = numpy(layer.gamma) if layer.scale else 1
    beta = numpy(layer.beta) if layer.center else 0
    return (x - mean) / np.sqrt(variance + layer.epsilon) * gamma + beta, mean, variance


@with_kernel
@pytest.mark.parametrize("options", [{}, dict(scale=False), dict(center=False), dict(epsilon=1e-5)])
def test_training_follows_the_equation(options):
    stock, twin = pair(**options)
    layer, x = stock.layers[1], maps()
    before = numpy(layer.moving_mean), numpy(layer.moving_variance)
    expected, mean, variance = equation(x, layer)
    assert isinstance(rebuild_faster(twin).layers[1], FusedBatchNormalization)
    assert_close(numpy(twin(x, training=True)), expected, 1e-5)
    assert_close(numpy(layer.moving_mean), before[0] * 0.99 + mean * 0.01, 1e-6)
    assert_close(numpy(layer.moving_variance), before[1] * 0.99 + variance * 0.01, 1e-6)


@with_kernel
def test_inference_equals_the_stock_layer_and_changes_nothing():
    stock, twin = pair()
    before = [numpy(v) for v in stock.variables]
    assert_close(numpy(twin(maps(), training=False)), numpy(stock(maps(), training=False)), 1e-6)
    for variable, value in zip(stock.variables, before, strict=True):
        np.testing.assert_array_equal(numpy(variable), value)


@with_kernel
def test_a_frozen_layer_uses_its_running_statistics_in_training_too():
    stock, twin = pair()
    stock.layers[1].trainable = False
    before = numpy(stock.layers[1].moving_mean)
    assert_close(numpy(twin(maps(), training=True)), numpy(stock(maps(), training=False)), 1e-6)
    np.testing.assert_array_equal(numpy(stock.layers[1].moving_mean), before)


@tensorflow_only
@pytest.mark.parametrize("frozen", [False, True])
def test_gradients_equal_those_of_the_stock_layer(frozen):
    stock, twin = pair()
    stock.layers[1].trainable = not frozen
    weight = np.random.default_rng(1).normal(size=(4, 6, 7, 5))
    theirs, ours = gradients(stock, maps(), weight), gradients(twin, maps(), weight)
    assert_close(ours[1], theirs[1], 1e-5)
    assert len(ours[0]) == (0 if frozen else 2)
    for one, other in zip(ours[0], theirs[0], strict=True):
        assert_close(one, other, 1e-5)


@with_kernel
def test_bfloat16_keeps_its_statistics_in_float32():
    with_policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16")
    stock, twin = pair(dtype=with_policy)
    layer, x = stock.layers[1], maps(64)
    before = numpy(layer.moving_variance)
    rounded = numpy(keras.ops.cast(keras.ops.cast(x, "bfloat16"), "float32"))
    expected, _, variance = equation(rounded, layer)
    out = twin(x, training=True)
    assert keras.backend.standardize_dtype(out.dtype) == "bfloat16"
    assert_close(numpy(keras.ops.cast(out, "float32")), expected, 1e-2)
    assert_close(numpy(layer.moving_variance), before * 0.99 + variance * 0.01, 1e-6)


@with_kernel
def test_one_pixel_has_no_variance():
    stock, twin = pair((1, 1, 5))
    x = maps(1, (1, 1, 5))
    expected = numpy(stock.layers[1].beta)
    np.testing.assert_allclose(numpy(twin(x, training=True)).ravel(), expected, atol=1e-5)
    assert np.isfinite(numpy(stock.layers[1].moving_variance)).all()


def test_other_normalisations_keep_their_layer():
    others = [dict(axis=1), dict(renorm=True)]
    if keras.backend.backend() == "tensorflow":
        others.append(dict(synchronized=True))
    for options in others:
        _, twin = pair(**options)
        assert not isinstance(rebuild_faster(twin).layers[1], FusedBatchNormalization)
    vectors = keras.Input((5,))
    model = keras.Model(vectors, keras.layers.BatchNormalization()(vectors))
    assert not isinstance(rebuild_faster(model).layers[1], FusedBatchNormalization)
