import keras
import pytest
from keras import layers

import senet
from senet.models.blocks import squeeze_excite_block
from senet.models.complexity import shapes_only


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
    assert sum(layer.trainable_parameters for layer in cost.layers) == cost.trainable_parameters
    assert str(cost) == (
        f"{cost.trainable_parameters:,} trainable parameters, {cost.parameters:,} with running "
        f"statistics, {cost.multiply_adds:,} multiply-adds for an image"
    )


def test_se_resnet50_costs_what_the_definition_says():
    with shapes_only():
        cost = senet.complexity(senet.SEResNet50())
    assert cost.multiply_adds == 3_871_627_264
    assert list(cost.by_group()) == [
        "image",
        "stem",
        "stage1",
        "stage2",
        "stage3",
        "stage4",
        "classifier",
    ]


def test_stride_in_the_3x3_costs_six_percent_more():
    with shapes_only():
        seed = senet.complexity(senet.SEResNet50()).multiply_adds
        torch = senet.complexity(senet.SEResNet50(variant="torch")).multiply_adds
    assert 1.05 < torch / seed < 1.07


def test_other_convolutions_nested_models_and_activations_are_counted():
    inner_in = keras.Input((4, 4, 6))
    inner = keras.Model(inner_in, layers.Conv2D(5, 1, name="point")(inner_in), name="inner")
    inputs = keras.Input((8, 8, 3))
    x = layers.SeparableConv2D(6, 3, strides=2, padding="same", depth_multiplier=2)(inputs)
    x = inner(x)
    x = layers.Conv2DTranspose(2, 3, strides=2, padding="same")(x)  # from 4 x 4 x 5
    model = keras.Model(inputs, x)
    cost = senet.complexity(model)
    expected = {
        "separable_conv2d": 16 * (3 * 2 * 9 + 3 * 2 * 6),
        "inner/point": 16 * 6 * 5,
        "conv2d_transpose": 16 * 5 * 9 * 2,
    }
    assert {c.name: c.multiply_adds for c in cost.layers if c.multiply_adds} == expected
    assert cost.activations == 16 * 6 + 16 * 5 + 64 * 2
    assert cost.parameters == model.count_params()
    assert cost.uncounted == ()


def test_layers_without_a_rule_are_named_and_shared_layers_refused():
    inputs = keras.Input((5, 4))
    model = keras.Model(inputs, layers.LSTM(3, name="memory")(inputs))
    assert senet.complexity(model).uncounted == ("memory",)
    shared = layers.Dense(4, name="shared")
    with pytest.raises(ValueError, match="'shared' is called several times"):
        senet.complexity(keras.Model(inputs, shared(shared(inputs))))


@pytest.mark.parametrize(
    ("network", "parameters", "multiply_adds"),
    [
        ("MobileNet", 4_253_864, 568.7e6),
        ("ResNet50", 25_636_712, 3.86e9),
        ("VGG16", 138_357_544, 15.47e9),
    ],
)
def test_networks_of_keras_cost_what_their_papers_say(network, parameters, multiply_adds):
    cost = senet.complexity(getattr(keras.applications, network)(weights=None))
    assert cost.parameters == parameters
    assert cost.multiply_adds == pytest.approx(multiply_adds, rel=0.003)
    assert cost.uncounted == ()


def test_open_input_size_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="fixed input_shape"):
        senet.complexity(senet.create("se_resnet10", include_top=False))


def test_activations_are_what_convolutions_and_dense_layers_give_out():
    inputs = keras.Input((8, 6, 4))
    x = keras.layers.Conv2D(6, 1)(inputs)
    model = keras.Model(inputs, squeeze_excite_block(x, 3))
    assert senet.complexity(model).activations == 8 * 6 * 6 + 2 + 6
