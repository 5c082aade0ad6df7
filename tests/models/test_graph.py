import keras
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
