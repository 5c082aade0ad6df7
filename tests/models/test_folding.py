import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.models.folding import with_constant_gates
from tests.conftest import randomise

SMALL = dict(n_blocks=(1, 2), n_filters=(16, 32), input_shape=(32, 32, 3), classes=3)
WIDE = (64, 128, 128)


def network(name="se_resnet50", **options):
    model = senet.create(name, classifier_activation=None, **SMALL | options)
    randomise(model)
    return model


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def images(count=2):
    return np.random.default_rng(1).normal(size=(count, 32, 32, 3)).astype("float32")


def held(model, gates):
    """The same network with the gates themselves replaced, by nothing of the code under test."""
    blocks = {block.gate: gates[block.scale] for block in senet.find_se_blocks(model)}

    def call(layer, *args, **kwargs):
        given = layer(*args, **kwargs)
        if layer.name not in blocks or (gate := blocks[layer.name]) is False:
            return given
        constant = np.ones(given.shape[-1]) if gate is None else gate
        return given * 0 + constant.astype("float32")

    copy = keras.models.clone_model(model, call_function=call)
    for layer in model.layers:
        copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


CASES = {
    "standard": dict(),
    "basic": dict(name="se_resnet10"),
    "biased": dict(variant="caffe"),
    "pre": dict(placement="pre"),
    "post": dict(placement="post"),
    "identity": dict(placement="identity"),
    "3x3": dict(placement="3x3"),
    "no squeeze": dict(squeeze="none"),
    "grouped": dict(name="se_resnext50_32x4d", n_filters=(64, 64)),
    "last relu": dict(name="se_resnet10", last_relu=True),
}


@pytest.mark.parametrize("case", CASES)
def test_a_folded_network_is_the_network_with_constant_gates(case):
    model, x = network(**CASES[case]), images()
    blocks = senet.find_se_blocks(model)
    rng = np.random.default_rng(2)
    gates = {
        block.scale: rng.uniform(0, 1, model.get_layer(block.scale).output.shape[-1])
        for block in blocks
    }
    gates[blocks[-1].scale] = None
    before = model.get_weights()
    folded = with_constant_gates(model, gates)
    expected = outputs(held(model, gates), x)
    np.testing.assert_allclose(outputs(folded, x), expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(outputs(model, x) - expected).max() > 1e-3 * np.abs(expected).max()
    assert senet.find_se_blocks(folded) == []
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_only_the_named_blocks_go():
    model, x = network(), images()
    first, *rest = (block.scale for block in senet.find_se_blocks(model))
    gates = dict.fromkeys(rest, False) | {first: np.linspace(0, 1, 64)}
    folded = with_constant_gates(model, {first: gates[first]})
    expected = outputs(held(model, gates), x)
    np.testing.assert_allclose(outputs(folded, x), expected, atol=1e-5 * np.abs(expected).max())
    assert [block.scale for block in senet.find_se_blocks(folded)] == rest


def test_a_norm_takes_the_constant_in_and_nothing_is_added():
    model = network()
    names = [block.scale for block in senet.find_se_blocks(model)]
    folded = with_constant_gates(
        model, {n: np.full(w, 0.5) for n, w in zip(names, WIDE, strict=True)}
    )
    plain = senet.create("resnet50", **SMALL)
    assert folded.count_params() == plain.count_params()
    assert [type(layer) for layer in folded.layers] == [type(layer) for layer in plain.layers]
    norm = "stage1_block1_expand_bn"
    for ours, theirs in zip(
        *(m.get_layer(norm).get_weights()[:2] for m in (folded, model)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs * 0.5)


def test_a_convolution_takes_the_constant_in():
    model = senet.create("se_preresnet110_cifar", n_blocks=(1, 1, 1), classes=3)
    randomise(model)
    names = [block.scale for block in senet.find_se_blocks(model)]
    gates = {
        n: np.random.default_rng(3).uniform(0, 1, w)
        for n, w in zip(names, (16, 32, 64), strict=True)
    }
    folded = with_constant_gates(model, gates)
    x = images()
    expected = outputs(held(model, gates), x)
    np.testing.assert_allclose(outputs(folded, x), expected, atol=1e-5 * np.abs(expected).max())
    assert not any(isinstance(layer, layers.DepthwiseConv2D) for layer in folded.layers)


def test_gates_of_other_networks_can_be_constants():
    inputs = keras.Input((32, 32, 3))
    x = layers.Conv2D(32, 3, name="maps")(inputs)
    x = layers.Conv2D(32, 3, activation="relu", name="bent")(x)
    plain = keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))
    model = senet.insert(plain, where=["maps", "bent"], init="paper")
    gates = {f"{n}_se_scale": np.linspace(0.2, 0.9, 32) for n in ("maps", "bent")}
    folded = with_constant_gates(model, gates)
    expected = outputs(held(model, gates), images())
    np.testing.assert_allclose(outputs(folded, images()), expected, atol=1e-5)
    kinds = [type(layer) for layer in folded.layers]
    assert kinds.count(layers.DepthwiseConv2D) == 1  # behind the ReLU of `bent`


def test_a_map_that_is_also_an_output_keeps_its_values():
    model = network()
    block = senet.find_se_blocks(model)[0]
    both = keras.Model(model.input, [model.get_layer(block.scaled).output, model.output])
    folded = with_constant_gates(both, {block.scale: np.full(64, 0.5)})
    first, again = (m(images(), training=False)[0] for m in (both, folded))
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(t) for t in (first, again)))


def test_what_is_frozen_stays_frozen_and_the_rest_trains():
    model = network("se_resnet10")
    model.get_layer("stem_conv").trainable = False
    names = [block.scale for block in senet.find_se_blocks(model)]
    folded = with_constant_gates(model, dict.fromkeys(names))
    assert not folded.get_layer("stem_conv").trainable
    folded.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = folded.get_layer("classifier").get_weights()[0]
    folded.fit(images(4) / 100, np.array([0, 1, 2, 0]), verbose=0)
    assert np.abs(folded.get_layer("classifier").get_weights()[0] - before).max() > 0


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        ({"stage1_block1_se_scale": np.ones(3)}, r"must be of shape \(64,\)"),
        ({"stage9_se_scale": None}, "no squeeze-and-excitation block 'stage9_se_scale'; its"),
    ],
)
def test_gates_that_do_not_fit_are_refused(gates, message):
    with pytest.raises(ValueError, match=message):
        with_constant_gates(network(), gates)


def test_a_network_without_gates_is_refused():
    plain = senet.create("resnet50", **SMALL)
    with pytest.raises(ValueError, match=r"no squeeze-and-excitation blocks.*senet\.insert"):
        with_constant_gates(plain, {})


def test_a_constant_goes_to_the_channels_of_layers_with_channels_first():
    """Height, width and channels are as many, so that the shape of the gate tells nothing."""
    x = keras.Input((8, 8, 8))
    y = keras.layers.BatchNormalization(axis=1, name="norm")(x)
    model = senet.insert(keras.Model(x, keras.layers.ReLU()(y)), 2, "norm", init="paper")
    gate = np.linspace(0.1, 0.8, 8)
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 8)).astype("float32")
    plain = keras.Model(model.input, model.get_layer("norm").output).predict_on_batch(images)
    folded = senet.fold(model, {"norm_se_scale": gate})
    assert [layer.name for layer in folded.layers[1:-1]] == ["norm"]
    folded = folded.predict_on_batch(images)
    np.testing.assert_allclose(folded, np.maximum(plain * gate[:, None, None], 0), rtol=1e-5)


def test_a_constant_that_nothing_takes_in_is_held_on_the_axis_of_its_channels():
    x = keras.Input((8, 8, 8))
    y = keras.layers.ReLU(name="relu")(keras.layers.BatchNormalization(axis=1)(x))
    model = senet.insert(keras.Model(x, y), 2, "relu")
    folded = senet.fold(model, {"relu_se_scale": np.linspace(0.1, 0.8, 8)})
    assert folded.get_layer("relu_se_scale_constant").data_format == "channels_first"
