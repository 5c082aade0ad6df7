import keras
import numpy as np
import pytest

import senet
from senet.acceleration import rebuild_faster
from senet.acceleration.grouped_convolution import SlicedConv2D
from senet.acceleration.tied import Tied
from tests import numpy_layers as reference
from tests.conftest import randomise

tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="gradients are read with TensorFlow's tape, and only it needs the slices",
)


def gradients(model, inputs, weight):
    """Gradients of sum(model(inputs) * weight) for the trainable variables, by path, and inputs."""
    import tensorflow as tf

    x = tf.constant(inputs, "float32")
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = tf.cast(model(x, training=True), "float32")
        total = tf.reduce_sum(outputs * tf.constant(weight, "float32"))
    variables = [v.value for v in sorted(model.trainable_variables, key=lambda v: v.path)]
    of_variables, of_inputs = tape.gradient(total, (variables, x))
    return [np.asarray(g) for g in of_variables], np.asarray(of_inputs)


def numpy(x):
    return np.asarray(keras.ops.convert_to_numpy(x), "float32")


def assert_close(result, expected, within=1e-4):
    assert abs(result - expected).max() <= within * abs(expected).max()


@tensorflow_only
@pytest.mark.parametrize(
    ("channels", "filters", "groups", "strides", "slices"),
    [
        (128, 128, 32, 1, 4),
        (128, 128, 32, 2, 4),
        (256, 256, 32, 1, 8),
        (64, 128, 4, 2, 2),
        (192, 96, 3, 1, 3),
        (24, 48, 6, 1, 1),
    ],
)
def test_sliced_convolution_and_its_gradients_equal_float64(
    channels, filters, groups, strides, slices
):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 7, 8, channels))
    stock = keras.layers.Conv2D(filters, 3, strides=strides, groups=groups, use_bias=False)
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, stock(inputs))
    kernel = rng.normal(size=stock.kernel.shape)
    stock.kernel.assign(kernel)
    twin = senet.accelerate(model)
    sliced = rebuild_faster(model).layers[1]
    assert isinstance(sliced, SlicedConv2D)
    assert sliced.n_slices == slices

    expected = reference.conv(x, kernel, strides, 0, groups)
    assert_close(np.asarray(twin(x.astype("float32"))), expected, 1e-5)
    assert_close(np.asarray(model(x.astype("float32"))), expected, 1e-5)
    weight = rng.normal(size=expected.shape)
    (of_kernel,), of_inputs = gradients(twin, x, weight)
    dx, dkernel = reference.conv_gradients(x, kernel, weight, strides, 0, groups)
    assert_close(of_kernel, dkernel, 1e-5)
    assert_close(of_inputs, dx, 1e-5)


@tensorflow_only
@pytest.mark.parametrize("padding", ["valid", "same"])
def test_sliced_convolution_keeps_bias_activation_padding_and_dilation(padding):
    inputs = keras.Input((12, 12, 16))
    outputs = keras.layers.Conv2D(
        16, 3, groups=4, padding=padding, dilation_rate=2, activation="relu"
    )(inputs)
    model = keras.Model(inputs, outputs)
    randomise(model)
    twin = senet.accelerate(model)
    assert isinstance(rebuild_faster(twin).layers[1], SlicedConv2D)
    x = np.random.default_rng(0).normal(size=(2, 12, 12, 16)).astype("float32")
    np.testing.assert_allclose(twin(x), model(x), atol=1e-5)


def test_twin_of_se_resnext_trains_every_variable_of_the_stock_model():
    model = senet.create(
        "se_resnext50_32x4d", n_blocks=(1, 1, 1, 1), input_shape=(32, 32, 3), classes=3
    )
    twin = senet.accelerate(model)
    assert sorted(id(v) for v in twin.variables) == sorted(id(v) for v in model.variables)
    sliced = sum(isinstance(layer, SlicedConv2D) for layer in rebuild_faster(model).layers)
    assert sliced == (4 if keras.backend.backend() == "tensorflow" else 0)

    rng = np.random.default_rng(0)
    images = rng.normal(size=(8, 32, 32, 3)).astype("float32")
    labels = np.arange(8) % 3
    before = [keras.ops.convert_to_numpy(v).copy() for v in model.variables]
    twin.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", jit_compile=False)
    losses = [twin.train_on_batch(images, labels) for _ in range(8)]
    assert losses[-1] < losses[0]
    unmoved = [
        v.path
        for v, old in zip(model.variables, before, strict=True)
        if np.array_equal(keras.ops.convert_to_numpy(v), old) and "seed" not in v.path
    ]
    assert unmoved == []
    np.testing.assert_allclose(
        model.predict_on_batch(images), twin.predict_on_batch(images), atol=1e-5
    )


def test_running_statistics_of_the_twin_equal_those_of_the_stock_model():
    options = dict(n_blocks=(1, 1, 1, 1), input_shape=(64, 64, 3), classes=3)
    stock = senet.create("se_resnext50_32x4d", **options)
    trained = senet.create("se_resnext50_32x4d", **options)
    trained.set_weights(stock.get_weights())
    images = np.random.default_rng(0).normal(size=(4, 64, 64, 3)).astype("float32")
    expected = numpy(stock(images, training=True))
    result = numpy(senet.accelerate(trained)(images, training=True))
    np.testing.assert_allclose(result, expected, atol=1e-5)
    for ours, theirs in zip(
        trained.non_trainable_variables, stock.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(numpy(ours), numpy(theirs), rtol=1e-4, atol=1e-5)


@tensorflow_only
def test_gradients_of_the_twin_equal_those_of_the_stock_model():
    model = senet.create("se_resnet20_cifar", classes=3)
    twin = senet.accelerate(model)
    rng = np.random.default_rng(0)
    images, weight = rng.normal(size=(4, 32, 32, 3)), rng.normal(size=(4, 3))
    expected, _ = gradients(model, images, weight)
    result, _ = gradients(twin, images, weight)
    for ours, theirs in zip(result, expected, strict=True):
        assert_close(ours, theirs)


def test_twin_leaves_the_stock_model_as_it_was():
    model = senet.create("se_resnet20_cifar", classes=3)
    config, outputs = model.get_config(), [layer.output for layer in model.layers]
    model.compile("sgd", "sparse_categorical_crossentropy")
    twin = senet.accelerate(model)
    assert model.get_config() == config
    assert all(layer.output is kept for layer, kept in zip(model.layers, outputs, strict=True))
    assert not twin.compiled
    assert any(isinstance(layer, Tied) for layer in rebuild_faster(model).layers)
    assert not any(isinstance(layer, Tied) for layer in model.layers)


def test_twin_follows_the_precision_of_the_stock_model():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = senet.create(
        "se_resnext50_32x4d", n_blocks=(1, 1, 1, 1), input_shape=(32, 32, 3), classes=3
    )
    keras.config.set_dtype_policy("float32")
    twin = senet.accelerate(model)
    single = [layer for layer in rebuild_faster(model).layers if isinstance(layer, Tied)]
    assert len(single) > 10
    for ours in single:
        theirs = model.get_layer(ours.name)
        assert ours.compute_dtype == theirs.compute_dtype, theirs.name
        assert ours.output.dtype == theirs.output.dtype, theirs.name
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(numpy(twin(images)), numpy(model(images)), atol=0.02)


def test_a_subclass_of_a_grouped_convolution_stays_what_it_is():
    class Own(keras.layers.Conv2D):
        def call(self, x):
            return super().call(x) + 1

    inputs = keras.Input((8, 8, 16))
    model = keras.Model(inputs, Own(16, 3, groups=4)(inputs))
    twin = senet.accelerate(model)
    assert not isinstance(rebuild_faster(twin).layers[1], SlicedConv2D)
    x = np.random.default_rng(0).normal(size=(2, 8, 8, 16)).astype("float32")
    np.testing.assert_allclose(numpy(twin(x)), numpy(model(x)), atol=1e-6)


def test_sequential_models_have_twins_and_models_without_a_graph_are_refused():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    x = np.random.default_rng(0).normal(size=(2, 4)).astype("float32")
    np.testing.assert_allclose(numpy(senet.accelerate(model)(x)), numpy(model(x)), atol=1e-6)
    with pytest.raises(ValueError, match="has no graph"):
        senet.accelerate(keras.Sequential([keras.layers.Dense(3)]))
