import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.models.folding import explain_refusals, with_constant_gates
from tests.conftest import randomise

SMALL = dict(n_blocks=(1, 3), n_filters=(16, 32), input_shape=(32, 32, 3), classes=3)
WIDE = (64, 128, 128, 128)


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
        if layer.weights:
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


REFUSED = {"post": ["stage2_block2"], "identity": ["stage2_block2", "stage2_block3"]}
"""Blocks whose map, or what they scale, goes through an addition with something else."""


def random_gates(model):
    rng = np.random.default_rng(2)
    return {
        block.scale: rng.uniform(0.1, 1, model.get_layer(block.scale).output.shape[-1])
        for block in senet.find_se_blocks(model)
    }


@pytest.mark.parametrize("case", CASES)
def test_a_folded_network_is_the_network_with_constant_gates(case):
    model, x = network(**CASES[case]), images()
    gates, refused = random_gates(model), explain_refusals(model, random_gates(model))
    assert list(refused) == [f"{name}_se_scale" for name in REFUSED.get(case, [])]
    for name, reason in refused.items():
        with pytest.raises(senet.InputError) as error:
            with_constant_gates(model, {name: gates[name]})
        assert str(error.value) == reason
        assert "(Add) does not take it in" in reason
        gates[name] = None  # to be dropped is always exact
    gates[list(gates)[-1]] = None
    before = model.get_weights()
    folded = with_constant_gates(model, gates)
    expected = outputs(held(model, gates), x)
    np.testing.assert_allclose(outputs(folded, x), expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(outputs(model, x) - expected).max() > 1e-3 * np.abs(expected).max()
    assert senet.find_se_blocks(folded) == []
    plain = {layer.name for layer in folded.layers}
    assert plain < {layer.name for layer in model.layers}  # nothing is added that holds a constant
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
    names = [[layer.name for layer in network.layers[1:]] for network in (folded, plain)]
    assert names[0] == names[1]
    maps, bent = (folded.get_layer(name).get_weights() for name in ("maps", "bent"))
    before = model.get_layer("maps").get_weights(), model.get_layer("bent").get_weights()
    for found, old in zip((*maps, *bent), (*before[0], *before[1]), strict=True):
        np.testing.assert_allclose(found, old * np.linspace(0.2, 0.9, 32), rtol=1e-6)


BEFORE = {
    "pooled": lambda x: layers.MaxPooling2D()(layers.Conv2D(8, 3, bias_initializer="normal")(x)),
    "padded": lambda x: layers.ZeroPadding2D()(layers.Conv2D(8, 3, bias_initializer="normal")(x)),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, bias_initializer="normal")(x),
    "separable": lambda x: layers.SeparableConv2D(8, 3, bias_initializer="normal")(x),
    "dense": lambda x: layers.Dense(8, bias_initializer="normal")(x),
    "leaky": lambda x: layers.LeakyReLU()(layers.Conv2D(8, 3)(x)),
    "bent": lambda x: layers.Conv2D(8, 3, activation="leaky_relu")(x),
    "operation": lambda x: keras.ops.relu(layers.Conv2D(8, 3)(x)),
    "sum": lambda x: layers.ReLU()(layers.Add()([layers.Conv2D(8, 1)(x), layers.Dense(8)(x)])),
    "plus": lambda x: layers.Conv2D(8, 1)(x) + layers.Dense(8, bias_initializer="normal")(x),
    "transposed": lambda x: layers.Conv2DTranspose(8, 3, bias_initializer="normal")(x),
    "unscaled": lambda x: layers.BatchNormalization(scale=False)(layers.Conv2D(8, 3)(x)),
    "broadcast": lambda x: layers.Conv2D(8, 1)(x) + layers.Conv2D(1, 1)(x),
    "shifted": lambda x: layers.Conv2D(8, 1)(x) + 1.0,
    "attention": lambda x: layers.MultiHeadAttention(2, 4)(x, x),
    "bounded": lambda x: layers.ReLU(6)(layers.Conv2D(8, 3)(x)),
    "both": lambda x: layers.ReLU(max_value=0.1, negative_slope=0.1)(layers.Conv2D(8, 3)(x)),
    "threshold": lambda x: layers.ReLU(threshold=0.1)(layers.Conv2D(8, 3)(x)),
    "swish": lambda x: layers.Conv2D(8, 3, activation="swish")(x),
    "nothing": lambda x: x,
}
"""What may come before a block; those from "unscaled" on take nothing in."""
BEHIND = {
    "grouped": lambda x: layers.Conv2D(8, 3, groups=4)(x),
    "depthwise": lambda x: layers.DepthwiseConv2D(3, depth_multiplier=2)(layers.ReLU()(x)),
    "separable": lambda x: layers.SeparableConv2D(8, 3)(layers.ZeroPadding2D()(x)),
    "pooled": lambda x: layers.Dense(4, activation="swish")(layers.GlobalAveragePooling2D()(x)),
    "transposed": lambda x: layers.Conv2DTranspose(6, 3, strides=2)(x),
    "largest": lambda x: layers.Dense(4)(layers.GlobalMaxPooling2D()(x)),
    "several": lambda x: layers.Add()([layers.Conv2D(8, 1)(x), layers.Conv2D(8, 1)(x)]),
    "sum": lambda x: layers.Add()([layers.Conv2D(8, 1)(x), x]),
    "joined": lambda x: layers.Conv2D(8, 1)(layers.Concatenate()([x, x])),
    "norm": lambda x: layers.BatchNormalization()(x),
    "given": lambda x: x,
}
"""What may come behind it; those from "sum" on take nothing in."""


def between(before, behind):
    """A network whose only block lies between these layers."""
    x = keras.Input((12, 12, 8))
    y = layers.Identity(name="scaled")(BEFORE[before](x))
    plain = keras.Model(x, BEHIND[behind](y))
    model = senet.insert(plain, 2, "scaled", init="paper")
    randomise(model)
    return model


def refused(model, gates):
    return list(explain_refusals(model, gates).values())


@pytest.mark.parametrize(
    ("before", "behind"),
    [(before, "sum") for before in BEFORE] + [("swish", behind) for behind in BEHIND],
)
def test_a_constant_goes_where_it_is_exact_and_is_refused_elsewhere(before, behind):
    model = between(before, behind)
    gate = np.random.default_rng(0).uniform(0, 1, 8)
    takes = list(BEFORE).index(before) < list(BEFORE).index("unscaled")
    takes |= list(BEHIND).index(behind) < list(BEHIND).index("sum")
    if not takes:
        (reason,) = refused(model, {"scaled_se_scale": gate})
        assert "cannot become a constant in the weights: before it, " in reason
        with pytest.raises(senet.InputError, match="Leave it as it is, or drop it"):
            with_constant_gates(model, {"scaled_se_scale": gate})
        return
    x = np.random.default_rng(1).normal(size=(2, 12, 12, 8)).astype("float32")
    expected = outputs(held(model, {"scaled_se_scale": gate}), x)
    found = outputs(with_constant_gates(model, {"scaled_se_scale": gate}), x)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert np.abs(outputs(model, x) - expected).max() > 1e-3 * np.abs(expected).max()


def test_a_constant_below_0_does_not_pass_a_relu():
    gate = {"scaled_se_scale": np.linspace(-0.5, 0.5, 8)}
    (reason,) = refused(between("leaky", "sum"), gate)
    assert "'leaky_re_lu' (LeakyReLU) lets only constants pass that are not below 0" in reason
    model = between("separable", "sum")
    x = np.random.default_rng(1).normal(size=(2, 12, 12, 8)).astype("float32")
    expected = outputs(held(model, gate), x)
    np.testing.assert_allclose(outputs(with_constant_gates(model, gate), x), expected, atol=1e-4)


def test_a_constant_of_1_is_no_gate_and_changes_no_weight():
    model = between("bounded", "sum")  # nothing takes another one in
    folded = with_constant_gates(model, {"scaled_se_scale": np.ones(8)})
    assert senet.find_se_blocks(folded) == []


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # of JAX
def test_weights_of_other_precisions_are_multiplied_in_their_own():
    x = keras.Input((8, 8, 4), dtype="float64")
    y = layers.Conv2D(4, 1, dtype="float64", name="conv")(x)
    model = senet.insert(keras.Model(x, layers.ReLU(dtype="float64")(y)), 2, "conv")
    gate = np.full(4, 1 / 3)
    folded = with_constant_gates(model, {"conv_se_scale": gate})
    kernel, scaled = (m.get_layer("conv").get_weights()[0] for m in (model, folded))
    rounding = 4 * np.finfo(kernel.dtype).eps  # JAX has no float64 unless it is told to
    np.testing.assert_allclose(scaled, kernel * gate, rtol=rounding)


def test_constants_that_weights_cannot_hold_are_refused():
    x = keras.Input((8, 8, 4))
    y = layers.Conv2D(4, 1, dtype="float16", name="conv")(x)
    model = senet.insert(keras.Model(x, layers.ReLU()(y)), 2, "conv")
    with pytest.raises(senet.InputError, match="of 'conv' too large for float16"):
        with_constant_gates(model, {"conv_se_scale": np.full(4, 1e6)})


def test_a_map_that_is_added_to_itself_goes_elsewhere_too():
    x = keras.Input((8, 8, 4))
    y = layers.Conv2D(4, 1, name="conv")(x)
    y = layers.Identity(name="scaled")(layers.Add(name="sum")([y, y]))
    model = senet.insert(keras.Model(x, layers.Add()([y, x])), 2, "scaled")
    (reason,) = refused(model, {"scaled_se_scale": np.full(4, 0.5)})
    assert "before it, the map of 'conv' (Conv2D) goes to 'sum' too" in reason


def test_layers_that_are_called_twice_take_nothing_in():
    x = keras.Input((8, 8, 4))
    conv = layers.Conv2D(4, 1, name="conv")
    y = layers.Identity(name="scaled")(conv(conv(x)))
    model = senet.insert(keras.Model(x, layers.Add()([y, x])), 2, "scaled")
    (reason,) = refused(model, {"scaled_se_scale": np.full(4, 0.5)})
    assert "'conv' (Conv2D) is called several times" in reason


def test_blocks_behind_each_other_are_folded_through_each_other():
    x = keras.Input((8, 8, 4))
    y = layers.Identity(name="two")(layers.Conv2D(4, 1, name="conv")(x))
    model = senet.insert(keras.Model(x, layers.Add()([y, x])), 2, ["conv", "two"], init="paper")
    first, second = (block.scale for block in senet.find_se_blocks(model))
    gates = {first: np.linspace(0.1, 0.9, 4), second: np.linspace(0.8, 0.2, 4)}
    assert list(explain_refusals(model, gates)) == [second]  # as long as the first is a gate
    folded = with_constant_gates(model, gates)
    kernel, scaled = (m.get_layer("conv").get_weights()[0] for m in (model, folded))
    np.testing.assert_allclose(scaled, kernel * gates[first] * gates[second], rtol=1e-6)


KERAS = {
    "MobileNet": dict(alpha=0.25),  # ReLU6 comes before each block
    "ResNet50V2": dict(),
    "VGG16": dict(),
    "MobileNetV3Small": dict(),  # has blocks of its own, behind hard swish
}


@pytest.mark.parametrize("family", KERAS)
def test_gates_of_keras_networks_are_taken_in_exactly(family):
    options = KERAS[family] | dict(weights=None, input_shape=(64, 64, 3), classes=3)
    plain = getattr(keras.applications, family)(**options, classifier_activation=None)
    model = plain if senet.find_se_blocks(plain) else senet.insert(plain, init="paper")
    x = np.random.default_rng(1).uniform(0, 255, (2, 64, 64, 3)).astype("float32")
    gates = random_gates(model)
    assert explain_refusals(model, gates) == {}
    folded = with_constant_gates(model, gates)
    expected = outputs(held(model, gates), x)
    np.testing.assert_allclose(outputs(folded, x), expected, atol=1e-5 * np.abs(expected).max())
    assert senet.find_se_blocks(folded) == []


def test_a_map_that_is_also_an_output_keeps_its_values():
    model = network()
    block = senet.find_se_blocks(model)[0]
    both = keras.Model(model.input, [model.get_layer(block.scaled).output, model.output])
    (reason,) = refused(both, {block.scale: np.full(64, 0.5)})
    assert "goes to the outputs of the network too" in reason
    folded = with_constant_gates(both, {block.scale: None})
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
    folded = senet.fold_gates(model, {"norm_se_scale": gate})
    assert [layer.name for layer in folded.layers[1:-1]] == ["norm"]
    folded = folded.predict_on_batch(images)
    np.testing.assert_allclose(folded, np.maximum(plain * gate[:, None, None], 0), rtol=1e-5)
