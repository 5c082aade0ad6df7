import keras
import numpy as np
import pytest
from keras import layers

import senet


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
        with pytest.raises(senet.InputError, match="cannot be told behind the operation"):
            senet.gate_statistics(model, x, np.arange(3))


def test_gates_in_bfloat16_are_given_in_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    found = senet.gates(network(), images(2))
    assert {gate.dtype for gate in found.values()} == {np.dtype("float32")}


def test_a_plain_network_has_none():
    model = senet.create("resnet50", n_blocks=(1, 1, 1, 1), input_shape=(32, 32, 3), classes=3)
    with pytest.raises(ValueError, match=r"no squeeze-and-excitation blocks.*senet.insert"):
        senet.gates(model, images())
