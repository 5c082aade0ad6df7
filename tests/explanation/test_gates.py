import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.explanation.gates import gate_model


def network(**options):
    return senet.create(
        "se_resnet50", n_blocks=(1, 1, 1, 1), input_shape=(32, 32, 3), classes=3, **options
    )


def images(count=5, side=32):
    return np.random.default_rng(0).normal(size=(count, side, side, 3)).astype("float32")


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "3x3"])
def test_gates_of_every_placement_are_what_multiplies_the_maps(placement):
    model, x = network(placement=placement), images()
    found = senet.gates(model, x, batch_size=2)
    blocks = senet.find_se_blocks(model)
    assert list(found) == [block.scale for block in blocks]
    assert len(found) >= 3
    for block in blocks:
        tensors = [model.get_layer(name).output for name in (block.scaled, block.scale)]
        before, after = (
            keras.ops.convert_to_numpy(t) for t in keras.Model(model.input, tensors)(x)
        )
        gate = found[block.scale]
        assert gate.shape == (5, before.shape[-1])
        assert gate.dtype == np.float32
        expected = before * gate[:, None, None]
        np.testing.assert_allclose(after, expected, atol=1e-5 * np.abs(after).max() + 1e-30)
        assert gate.min() >= 0
        assert gate.max() <= 1


def test_gates_that_are_not_squeezed_are_maps():
    model = network(squeeze="none")
    found = senet.gates(model, images(2))
    assert found["stage1_block1_se_scale"].shape == (2, 8, 8, 256)


def test_gates_that_are_not_squeezed_have_their_channels_last_in_every_layout():
    """Here a CPU of TensorFlow cannot run the network, which says as much as its shapes do."""
    keras.config.set_image_data_format("channels_first")
    model = senet.create("se_resnet10", input_shape=(3, 32, 32), classes=3, squeeze="none")
    probe, names = gate_model(model)
    assert probe.output[names[0]].shape == (None, 8, 8, 64)
    pooled, _ = gate_model(model, pooled=True)
    assert pooled.output[names[0]].shape == (None, 64)
    if keras.backend.backend() != "tensorflow":
        x = images(2).transpose(0, 3, 1, 2)
        maps = senet.gates(model, x)[names[0]]
        block = senet.find_se_blocks(model)[0]
        given = keras.Model(model.input, model.get_layer(block.gate).output)(x, training=False)
        expected = keras.ops.convert_to_numpy(given).transpose(0, 2, 3, 1)
        np.testing.assert_allclose(maps, expected, atol=1e-6)


def test_a_layer_called_flatten_is_no_hindrance():
    x = keras.Input((16, 16, 8))
    y = layers.Flatten(name="flatten")(layers.ReLU(name="relu")(x))
    model = senet.insert(keras.Model(x, y), 4, "relu")
    names = ["relu_se_scale_gates", "relu_se_scale_gates_"]
    taken = keras.Model(model.input, [layers.Identity(name=name)(model.output) for name in names])
    for network in (model, taken):
        x = np.ones((3, 16, 16, 8), "float32")
        assert senet.gates(network, x)["relu_se_scale"].shape == (3, 8)


def test_the_gates_of_a_model_of_called_layers_are_those_of_its_own_calls():
    x = keras.Input((8, 8, 4))
    model = senet.insert(keras.Model(x, layers.ReLU(name="relu")(x)), 2, "relu", init="paper")
    other = keras.Input((8, 8, 4))
    maps = y = model.get_layer("relu")(3 * other)
    for layer in model.layers[2:-1]:
        y = layer(y)
    again = keras.Model(other, model.layers[-1]([maps, y]))
    x = np.random.default_rng(0).random((3, 8, 8, 4)).astype("float32")
    (found,) = senet.gates(again, x).values()
    np.testing.assert_allclose(found, senet.gates(model, 3 * x)["relu_se_scale"])


def small():
    x = keras.Input((8, 8, 4))
    y = layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.ReLU(name="relu")(x)))
    return senet.insert(keras.Model(x, y, name="small"), 2, "relu", init="paper")


def small_images(count=2, side=8):
    return np.random.default_rng(0).normal(size=(count, side, side, 4)).astype("float32")


@pytest.mark.parametrize(
    ("given", "options", "said"),
    [
        (small_images(0), {}, "There must be an image or more"),
        (small_images(2), dict(batch_size=0), "a whole number from 1; got 0"),
        (
            small_images(2),
            dict(batch_size=2.5),
            "batch_size must be a whole number from 1; got 2.5",
        ),
        (small_images(2, 40), {}, r"must be \(None, 8, 8, 4\).*got \(2, 40, 40, 4\)"),
        (small_images(2)[0], {}, r"got \(8, 8, 4\)"),
        (np.full((2, 8, 8, 4), "a"), {}, r"Images must be \(None, 8, 8, 4\)"),
        ({"image": small_images(2)}, {}, r"takes them; got \['image'\]"),
    ],
)
def test_images_that_do_not_fit_are_said(given, options, said):
    for function in (
        senet.gates,
        senet.grad_cam,
        lambda model, images, **how: senet.gate_statistics(model, images, np.zeros(2, int), **how),
    ):
        with pytest.raises(senet.InputError, match=said):
            function(small(), given, **options)


def test_images_may_be_lists_or_tensors():
    model, x = small(), small_images(2)
    expected = senet.gates(model, x)["relu_se_scale"]
    for given in (x.tolist(), keras.ops.convert_to_tensor(x)):
        np.testing.assert_array_equal(senet.gates(model, given)["relu_se_scale"], expected)


def test_the_gates_of_other_networks_are_found():
    model = keras.applications.EfficientNetB0(weights=None, input_shape=(32, 32, 3))
    found = senet.gates(model, images(2))
    assert len(found) == 16
    assert found["block1a_se_excite"].shape == (2, 32)


def test_a_gate_may_come_from_an_operation_that_is_no_layer():
    inputs = keras.Input((16, 16, 8))
    gate = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(inputs))
    gate = layers.Reshape((1, 1, 8))(2 * layers.Dense(8, activation="sigmoid")(gate))
    doubled = layers.Dense(2, activation="relu")(layers.GlobalAveragePooling2D()(inputs))
    doubled = 2 * layers.Reshape((1, 1, 8))(layers.Dense(8, activation="sigmoid")(doubled))
    for given in (gate, doubled):
        outputs = layers.Multiply(name="scale")([inputs, given])
        model = keras.Model(inputs, outputs)
        x = np.random.default_rng(0).random((3, 16, 16, 8)).astype("float32")
        found = senet.gates(model, x)["scale"]
        expected = x * found[:, None, None]
        np.testing.assert_allclose(model.predict_on_batch(x), expected, rtol=1e-5)
        assert senet.gate_statistics(model, x, np.arange(3))["scale"].ends == (0, 2)


def test_gates_in_bfloat16_are_given_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = senet.gates(network(), images(2))
    assert {gate.dtype for gate in found.values()} == {np.dtype("float32")}


def test_a_plain_network_has_none():
    model = senet.create("resnet50", n_blocks=(1, 1, 1, 1), input_shape=(32, 32, 3), classes=3)
    with pytest.raises(ValueError, match=r"no squeeze-and-excitation blocks.*senet.insert"):
        senet.gates(model, images())


def test_a_twin_has_the_gates_of_its_network():
    model, x = network(), images()
    twin = senet.accelerate(model)
    expected = senet.gates(model, x)
    for name, gate in senet.gates(twin, x).items():
        np.testing.assert_array_equal(gate, expected[name])
    plain = keras.Model(model.input, model.output, name="plain")
    made = senet.insert(senet.accelerate(plain), where="stem_relu")
    np.testing.assert_array_equal(made.predict_on_batch(x), model.predict_on_batch(x))


def test_gates_of_a_model_inside_a_model_are_those_of_the_model():
    x = images(5, 64)
    inner = senet.create(
        *("se_resnet10", False),
        n_filters=(16, 16, 16, 32),
        input_shape=(64, 64, 3),
        name="backbone",
    )
    y = keras.Input((64, 64, 3))
    pooled = layers.GlobalAveragePooling2D()(inner(layers.Rescaling(0.5)(y), training=False))
    model = keras.Model(y, layers.Dense(3, activation="softmax")(pooled))
    found, expected = senet.gates(model, x), senet.gates(inner, 0.5 * x)
    assert list(found) == [f"backbone/{name}" for name in expected]
    for name, gate in expected.items():
        np.testing.assert_allclose(found[f"backbone/{name}"], gate, atol=1e-6)
    statistics = senet.gate_statistics(model, x, np.arange(5) % 2)
    for name, block in statistics.items():
        np.testing.assert_allclose(block.mean, found[name].mean(axis=0), atol=1e-6)
    heat = senet.grad_cam(model, x)
    maps = keras.ops.convert_to_numpy(inner(0.5 * x, training=False))
    assert heat.shape == maps.shape[:3]
    classes = model.predict_on_batch(x).argmax(axis=1)
    kernel = keras.ops.convert_to_numpy(model.layers[-1].kernel)
    weights = kernel.T[classes][:, None, None] / np.prod(maps.shape[1:3])  # class activation map
    np.testing.assert_allclose(heat, np.maximum((maps * weights).sum(-1), 0), atol=1e-5)


def test_a_gate_that_was_spread_over_the_pixels_is_one_for_each_channel():
    x = keras.Input((6, 6, 4))
    z = layers.Dense(2, "relu")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    s = layers.UpSampling2D(6)(layers.Dense(4, "sigmoid")(z))
    model = keras.Model(x, layers.Multiply(name="scale")([x, s]))
    found = senet.gates(model, small_images(3, 6))["scale"]
    assert found.shape == (3, 4)
    probe = keras.Model(x, s).predict_on_batch(small_images(3, 6))
    np.testing.assert_allclose(found, probe[:, 0, 0], rtol=1e-6)


def test_one_input_in_a_list_takes_an_array_or_a_list():
    model = small()
    listed = keras.Model([model.input], model.output)
    expected = senet.gates(model, small_images())["relu_se_scale"]
    for given in (small_images(), [small_images()]):
        np.testing.assert_array_equal(senet.gates(listed, given)["relu_se_scale"], expected)
        assert senet.grad_cam(listed, given, classes=np.zeros(2, int)).shape == (2, 8, 8)


def test_inputs_may_be_lists_in_a_dictionary():
    a, b, c = (keras.Input((8, 8, 4), name=name) for name in ("a", "b", "q"))
    y = layers.Add(name="maps")([a, b, c])
    model = senet.insert(keras.Model({"p": [a, b], "q": c}, y), 2, "maps", init="paper")
    x = small_images()
    assert senet.gates(model, {"p": [x, x], "q": x})["maps_se_scale"].shape == (2, 4)
    with pytest.raises(senet.InputError, match="as 'se_functional"):
        senet.gates(model, {"p": [x], "q": x})
