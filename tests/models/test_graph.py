import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.models.graph import SEBlock
from senet.models.se_resnet import classifier, se_group, stem


def test_blocks_of_a_named_network_are_found_in_order():
    found = senet.find_se_blocks(senet.SEResNet50(input_shape=(64, 64, 3), classes=2))
    assert len(found) == 16
    assert found[0] == SEBlock(
        "stage1_block1_se_squeeze",
        ("stage1_block1_se_reduce", "stage1_block1_se_excite"),
        "stage1_block1_se_scale",
        gate="stage1_block1_se_gate",
        scaled="stage1_block1_expand_bn",
    )
    assert found[-1].scale == "stage4_block3_se_scale"


def test_blocks_of_a_hand_built_network_are_found_without_names():
    inputs = keras.Input((64, 64, 3))
    model = keras.Model(inputs, classifier(se_group(stem(inputs), 2, 8, 4), 2))
    assert [block.scale for block in senet.find_se_blocks(model)] == ["multiply", "multiply_1"]


def test_blocks_of_another_architecture_are_found():
    model = keras.applications.MobileNetV3Small(weights=None, input_shape=(64, 64, 3))
    model_b0 = keras.applications.EfficientNetB0(weights=None, input_shape=(64, 64, 3))
    assert len(senet.find_se_blocks(model)) == 9  # hard sigmoids, of operations and a ReLU6
    assert len(senet.find_se_blocks(model_b0)) == 16


def test_plain_network_has_none():
    model = senet.create("resnet50", input_shape=(64, 64, 3), classes=2)
    assert senet.find_se_blocks(model) == []


def test_gate_of_another_map_is_not_a_block():
    inputs = keras.Input((8, 8, 4))
    other = layers.Conv2D(4, 1)(inputs)
    gate = layers.Dense(4, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(other))
    model = keras.Model(inputs, layers.Multiply()([inputs, gate]))
    assert senet.find_se_blocks(model) == []


def test_a_gate_that_ends_in_no_activation_of_the_paper_is_not_a_block():
    inputs = keras.Input((8, 8, 4))
    x = layers.Dense(2, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(inputs))
    model = keras.Model(inputs, layers.Multiply()([inputs, layers.Dense(4, "swish")(x)]))
    assert senet.find_se_blocks(model) == []
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(inputs)
    model = keras.Model(inputs, layers.Multiply()([inputs, layers.Activation("sigmoid")(pooled)]))
    assert senet.find_se_blocks(model) == []  # nothing was excited


def test_a_spatial_gate_is_not_a_block():
    inputs = keras.Input((8, 8, 4))
    gate = layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    gate = layers.Conv2D(4, 1, activation="sigmoid")(gate)
    assert senet.find_se_blocks(keras.Model(inputs, layers.Multiply()([inputs, gate]))) == []


def test_a_gate_without_any_activation_is_not_a_block():
    inputs = keras.Input((8, 8, 4))
    gate = layers.Dense(4)(layers.GlobalAveragePooling2D(keepdims=True)(inputs))
    model = keras.Model(inputs, layers.Multiply()([inputs, gate]))
    assert senet.find_se_blocks(model) == []


def test_model_without_a_graph_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    with pytest.raises(ValueError, match="only functional models"):
        senet.find_se_blocks(Own())


def excited(maps, filters, activation="sigmoid"):
    z = layers.Dense(2, "relu")(layers.GlobalAveragePooling2D(keepdims=True)(maps))
    return layers.Dense(filters, activation)(z)


def scales(model):
    return [block.scale for block in senet.find_se_blocks(model)]


@pytest.mark.parametrize("turned", [True, False])
def test_a_block_written_with_operations_is_found(turned):
    x = keras.Input((8, 8, 4))
    z = keras.ops.mean(x, axis=(1, 2), keepdims=True)
    s = keras.ops.sigmoid(layers.Dense(4)(keras.ops.relu(layers.Dense(2)(z))))
    model = keras.Model(x, s * x if turned else x * s)
    (block,) = senet.find_se_blocks(model)
    names = [operation.name for operation in model.operations]
    assert {block.squeeze, block.scale, block.gate} <= set(names)
    assert block.scaled == model.input.name or block.scaled in names
    assert len(block.excitation) == 2


def test_a_mean_over_the_channels_is_no_squeeze():
    x = keras.Input((4, 4, 4))
    z = keras.ops.mean(x, axis=(2, 3), keepdims=True)
    first = keras.Model(x, x * layers.Dense(1, "sigmoid")(layers.Dense(2, "relu")(z)))
    assert len(senet.find_se_blocks(first)) == 1  # with channels first it is one
    for axis in ((1, 3), 3, (0, 1, 2)):
        z = keras.ops.mean(x, axis=axis, keepdims=True)
        s = layers.Dense(1, "sigmoid")(layers.Dense(2, "relu")(z))
        assert senet.find_se_blocks(keras.Model(x, x * s)) == []


def test_blocks_whose_excitation_is_shared_are_found_each():
    x = keras.Input((8, 8, 4))
    reduce, excite = layers.Dense(2, "relu"), layers.Dense(4, "sigmoid")
    y = x
    for i in range(2):
        z = layers.GlobalAveragePooling2D(keepdims=True)(y)
        y = layers.ReLU()(layers.Multiply(name=f"scale{i}")([y, excite(reduce(z))]))
    assert scales(keras.Model(x, y)) == ["scale0", "scale1"]


def test_a_gate_computed_at_another_call_of_a_layer_is_no_block():
    x = keras.Input((8, 8, 4))
    shared = layers.Conv2D(4, 1, name="shared")
    first, second = shared(x), shared(layers.ReLU()(x))
    assert scales(keras.Model(x, layers.Multiply(name="a")([second, excited(second, 4)]))) == ["a"]
    other = keras.Model(x, layers.Multiply()([second, excited(first, 4)]))
    assert senet.find_se_blocks(other) == []


def test_blocks_of_models_inside_a_model_are_named_with_it():
    x = keras.Input((8, 8, 4))
    inner = keras.Model(x, layers.Multiply(name="scale")([x, excited(x, 4)]), name="inner")
    y = keras.Input((8, 8, 4))
    middle = keras.Sequential([y, inner], name="middle")
    outer = keras.Model(y, layers.Multiply(name="last")([middle(y), excited(middle(y), 4)]))
    once = keras.Model(y, middle(y))
    (block,) = senet.find_se_blocks(once)
    assert block.scale == "middle/inner/scale"
    assert block.squeeze.startswith("middle/inner/global")
    assert all(name.startswith("middle/inner/dense") for name in block.excitation)
    assert scales(outer).count("middle/inner/scale") == 2
    with pytest.raises(ValueError, match=r"'middle/inner/scale' .* is called several times"):
        senet.gates(outer, np.zeros((1, 8, 8, 4)))


def test_a_sequential_model_has_its_blocks():
    x = keras.Input((8, 8, 4))
    inner = keras.Model(x, layers.Multiply(name="scale")([x, excited(x, 4)]), name="inner")
    model = keras.Sequential([layers.Conv2D(4, 3), inner])
    with pytest.raises(ValueError, match=r"Sequential ones that are built.*a keras.Input as its"):
        senet.find_se_blocks(model)
    model(np.zeros((1, 10, 10, 4)))
    assert scales(model) == ["inner/scale"]


def test_models_that_cannot_be_read_are_named():
    class Hidden(keras.Model):
        def call(self, x):
            return x

    x = keras.Input((8, 8, 4))
    model = keras.Model(x, Hidden(name="hidden")(x))
    with pytest.raises(ValueError, match=r"What is in hidden cannot be read: no functional model"):
        senet.gates(model, np.zeros((1, 8, 8, 4)))


def test_an_excitation_that_is_a_model_of_its_own_is_told_of():
    x = keras.Input((8, 8, 4))
    parts = [layers.GlobalAveragePooling2D(keepdims=True), layers.Dense(4, "sigmoid")]
    model = keras.Model(x, x * keras.Sequential([keras.Input((8, 8, 4)), *parts])(x))
    with pytest.raises(ValueError, match="a model of its own is not looked through"):
        senet.gates(model, np.zeros((1, 8, 8, 4)))


def test_another_output_of_the_same_call_is_another_map():
    x = keras.Input((8, 8, 4))
    a, b = keras.ops.split(x, 2, axis=-1)
    assert scales(keras.Model(x, layers.Multiply(name="own")([b, excited(b, 2)]))) == ["own"]
    other = keras.Model(x, layers.Multiply()([b, excited(a, 2)]))
    assert senet.find_se_blocks(other) == []


def test_a_third_factor_would_be_lost_with_the_gate():
    x, mask = keras.Input((8, 8, 4)), keras.Input((8, 8, 1))
    model = keras.Model([x, mask], layers.Multiply()([x, excited(x, 4), mask]))
    assert senet.find_se_blocks(model) == []


def test_a_multiplication_that_is_called_elsewhere_too_has_no_gates_of_its_own():
    x, multiply = keras.Input((8, 8, 4)), layers.Multiply(name="times")
    y = multiply([x, excited(x, 4)])
    model = keras.Model(x, multiply([y, layers.ReLU()(y)]))
    (block,) = senet.find_se_blocks(model)
    assert block.calls == 2
    for use in (lambda: senet.gates(model, np.zeros((1, 8, 8, 4))), lambda: fold(model)):
        with pytest.raises(ValueError, match=r"'times' .* is called several times"):
            use()


def fold(model):
    return senet.fold_gates(model, {block.scale: None for block in senet.find_se_blocks(model)})


def test_a_layer_of_a_user_that_is_called_multiply_is_none():
    class Multiply(layers.Layer):
        def call(self, given):
            return given[0] + given[1]

    x = keras.Input((8, 8, 4))
    assert senet.find_se_blocks(keras.Model(x, Multiply()([x, excited(x, 4)]))) == []


def test_a_leaky_relu_is_no_gate():
    x = keras.Input((8, 8, 4))
    leaky = layers.ReLU(negative_slope=0.1)(excited(x, 4, None))
    assert senet.find_se_blocks(keras.Model(x, layers.Multiply()([x, leaky]))) == []
