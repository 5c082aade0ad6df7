import keras
import pytest
from keras import layers

import senet
from senet.models.blocks import squeeze_excite_block


def test_each_kind_of_layer_is_counted_by_the_stated_convention():
    inputs = keras.Input((8, 6, 4))
    x = layers.Conv2D(6, 3, strides=2, padding="same", use_bias=False)(inputs)  # 4 x 3 x 6
    x = layers.Conv2D(6, 3, padding="same", groups=2, use_bias=False)(x)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = squeeze_excite_block(x, 3)
    x = layers.Flatten()(x)
    model = keras.Model(inputs, layers.Dense(5)(x))
    cost = senet.complexity(model)
    assert [layer.multiply_adds for layer in cost.layers if layer.multiply_adds] == [
        4 * 3 * 6 * 9 * 4,
        4 * 3 * 6 * 9 * 3,
        4 * 3 * 6 * 9,
        4 * 3 * 6,  # the additions of the squeeze
        6 * 2,
        2 * 6,
        4 * 3 * 6,  # the multiplications of the scale
        72 * 5,
    ]
    assert cost.parameters == model.count_params()
    assert cost.trainable_parameters == cost.parameters - 2 * 6


def test_se_resnet50_costs_what_the_definition_says():
    cost = senet.complexity(senet.SEResNet50())
    assert cost.multiply_adds == 3_871_627_264
    assert list(cost.by_stage()) == [
        "image",
        "stem",
        "stage1",
        "stage2",
        "stage3",
        "stage4",
        "classifier",
    ]


def test_stride_in_the_3x3_costs_six_percent_more():
    seed = senet.complexity(senet.SEResNet50()).multiply_adds
    torch = senet.complexity(senet.SEResNet50(variant="torch")).multiply_adds
    assert 1.05 < torch / seed < 1.07


def test_open_input_size_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="fixed input_shape"):
        senet.complexity(senet.create("se_resnet10", include_top=False))
