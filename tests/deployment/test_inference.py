import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.deployment.inference import in_float32, inference_model
from tests.conftest import randomise

NETWORKS = {
    "bottleneck": dict(network="se_resnet50", n_blocks=(1, 1, 1, 1)),
    "biased": dict(network="se_resnet50", n_blocks=(1, 1, 1, 1), variant="caffe"),
    "grouped": dict(network="se_resnext50_32x4d", n_blocks=(1, 1, 1, 1), variant="torch"),
    "basic": dict(network="se_resnet10"),
    "plain": dict(network="resnet50", n_blocks=(1, 1, 1, 1)),
    "pre-activation": dict(network="se_preresnet110_cifar", n_blocks=(1, 1, 1)),
    "dropping": dict(network="se_resnet10", stochastic_depth=0.2, dropout=0.2),
    "max squeeze": dict(network="se_resnet50", n_blocks=(1, 1, 1, 1), squeeze="max"),
    "no squeeze": dict(network="se_resnet50", n_blocks=(1, 1, 1, 1), squeeze="none"),
}


def network(which, **more):
    options = dict(input_shape=(32, 32, 3), classes=5, classifier_activation=None)
    model = senet.create(**options | NETWORKS[which] | more)
    trained(model)
    return model


def trained(model):
    """Give norms and biases the values of some training; kernels keep theirs."""
    rng = np.random.default_rng(0)
    ranges = dict(gamma=(0.5, 1.5), moving_variance=(1, 3), beta=(-0.3, 0.3), bias=(-0.3, 0.3))
    ranges["moving_mean"] = (-0.3, 0.3)
    for variable in model.variables:
        if variable.name in ranges:
            variable.assign(rng.uniform(*ranges[variable.name], variable.shape).astype("float32"))


def images(model, count=3):
    return np.random.default_rng(1).normal(size=(count, *model.input_shape[1:])).astype("float32")


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def kinds(model):
    return [type(layer) for layer in model.layers]


@pytest.mark.parametrize("which", NETWORKS)
def test_the_graph_for_inference_gives_the_same_outputs(which):
    model = network(which)
    before = [keras.ops.convert_to_numpy(v) for v in model.variables]
    graph, x = inference_model(model), images(model)
    expected = outputs(model, x)
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(outputs(graph, x), expected, atol=3e-6 * np.abs(expected).max())
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(variable), value)


@pytest.mark.parametrize("which", ["bottleneck", "biased", "basic", "plain", "dropping"])
def test_no_layer_for_training_is_left(which):
    left = kinds(inference_model(network(which)))
    assert layers.BatchNormalization not in left
    assert layers.Dropout not in left


def test_squeezes_read_what_comes_before_the_expansion():
    model = network("bottleneck")
    graph = inference_model(model)
    blocks = senet.find_se_blocks(model)
    for block in blocks:
        name = block.excitation[0]
        wide, narrow = (m.get_layer(name).kernel.shape[0] for m in (model, graph))
        assert narrow == wide // 4
    assert graph.count_params() < model.count_params()


def test_squeezes_of_basic_blocks_stay_where_they_are():
    model = network("basic")
    graph = inference_model(model)
    name = senet.find_se_blocks(model)[0].excitation[0]
    assert graph.get_layer(name).kernel.shape == model.get_layer(name).kernel.shape


def test_a_convolution_that_something_else_reads_too_keeps_its_outputs():
    x = keras.Input((8, 8, 3))
    y = layers.Conv2D(4, 3, padding="same", use_bias=False)(x)
    model = keras.Model(x, [layers.BatchNormalization()(y), layers.ReLU()(y)])
    randomise(model)
    graph, inputs = inference_model(model), images(model)
    assert layers.BatchNormalization in kinds(graph)
    for one, other in zip(graph(inputs), model(inputs), strict=True):
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (one, other)), atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: layers.Conv2D(6, 3, groups=2),
        lambda: layers.Conv2D(6, 3, use_bias=False),
        lambda: layers.DepthwiseConv2D(3, depth_multiplier=2),
        lambda: layers.Dense(5, use_bias=False),
        lambda: layers.Conv2D(6, 3, activation="relu"),  # which must stay apart
    ],
)
def test_norms_fold_into_what_comes_before_them(make):
    x = keras.Input((8, 8, 4))
    before = make()
    model = keras.Model(x, layers.BatchNormalization()(before(x)))
    randomise(model)
    graph, inputs = inference_model(model), images(model)
    folded = layers.BatchNormalization not in kinds(graph)
    assert folded == (before.activation is keras.activations.linear)
    np.testing.assert_allclose(outputs(graph, inputs), outputs(model, inputs), atol=1e-5)


def test_a_network_in_bfloat16_becomes_one_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = network("basic")
    keras.config.set_dtype_policy("float32")
    graph = inference_model(model)
    assert {layer.compute_dtype for layer in graph.layers} == {"float32"}


@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow", reason="channels first needs a GPU on TensorFlow"
)
def test_channels_may_come_first():
    keras.config.set_image_data_format("channels_first")
    model = network("bottleneck", input_shape=(3, 32, 32))
    graph, x = inference_model(model), images(model)
    expected = outputs(model, x)
    np.testing.assert_allclose(outputs(graph, x), expected, atol=3e-6 * np.abs(expected).max())
    assert layers.BatchNormalization not in kinds(graph)


def test_a_model_without_a_graph_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="only functional models"):
        inference_model(Own())


def test_the_reference_of_a_network_of_mixed_precision_is_itself_in_float32():
    """A model inside counts too; what computes in float32 is not copied."""
    x = keras.Input((16, 16, 3))
    plain = keras.Model(x, keras.layers.Conv2D(4, 3, name="maps")(x), name="plain")
    assert in_float32(plain) is plain
    keras.config.set_dtype_policy("mixed_bfloat16")
    inner = keras.Model(x, keras.layers.Conv2D(4, 3, name="maps")(x), name="inner")
    y = keras.Input((16, 16, 3))
    model = keras.Model(y, keras.layers.GlobalAveragePooling2D()(inner(y)))
    inner.set_weights(plain.get_weights())
    images = np.random.default_rng(0).random((2, 16, 16, 3)).astype("float32")
    expected = plain.predict_on_batch(images).mean((1, 2))
    np.testing.assert_allclose(in_float32(model).predict_on_batch(images), expected, rtol=1e-5)
