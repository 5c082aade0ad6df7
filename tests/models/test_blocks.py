import keras
import numpy as np
import pytest
from keras import layers

from senet.models import blocks, se_resnet, se_resnext
from senet.models.spec import Spec
from tests import numpy_layers as reference
from tests.conftest import randomise

IMAGES = np.random.default_rng(1).normal(size=(3, 9, 11, 8))


def apply(build, x=IMAGES):
    """Build a model of one piece, randomise its variables and run it on `x`."""
    inputs = keras.Input(x.shape[1:])
    model = keras.Model(inputs, build(inputs))
    randomise(model)
    return model, keras.ops.convert_to_numpy(model(x.astype("float32")))


def assert_equal(result, expected):
    assert result.shape == expected.shape
    assert abs(result - expected).max() < 1e-5 * abs(expected).max()


@pytest.mark.parametrize("bias", [False, True])
def test_squeeze_excite_block_is_equations_2_to_4(bias):
    model, result = apply(
        lambda x: blocks.squeeze_excite_block(x, 4, spec=Spec(se_bias=bias), name="se")
    )
    weights = reference.Weights(model)
    assert [w.shape for w in weights("se_reduce")] == [(8, 2), (2,)][: 1 + bias]
    assert_equal(result, weights.squeeze_excite(IMAGES, "se"))


@pytest.mark.parametrize("strided", ["reduce", "3x3"])
@pytest.mark.parametrize("cardinality", [1, 2])
@pytest.mark.parametrize("ratio", [4, None])
def test_projection_block_is_its_wiring(strided, cardinality, ratio):
    spec = Spec(strided=strided)
    if cardinality == 1:
        model, result = apply(
            lambda x: se_resnet.projection_block(x, 4, (2, 2), ratio, spec=spec, name="b")
        )
    else:
        model, result = apply(
            lambda x: se_resnext.projection_block(
                x, 4, 16, cardinality, (2, 2), ratio, spec=spec, name="b"
            )
        )
    weights = reference.Weights(model)
    first, second = (2, 1) if strided == "reduce" else (1, 2)
    x = reference.relu(weights.conv_norm(IMAGES, "b_reduce", first))
    x = reference.relu(weights.conv_norm(x, "b_3x3", second, cardinality))
    x = weights.conv_norm(x, "b_expand")
    if ratio:
        x = weights.squeeze_excite(x, "b_se")
    assert_equal(result, reference.relu(x + weights.conv_norm(IMAGES, "b_projection", 2)))


def test_identity_block_is_its_wiring():
    model, result = apply(lambda x: se_resnet.identity_block(x, 2, 4, name="b"))
    weights = reference.Weights(model)
    x = reference.relu(weights.conv_norm(IMAGES, "b_reduce"))
    x = reference.relu(weights.conv_norm(x, "b_3x3"))
    x = weights.squeeze_excite(weights.conv_norm(x, "b_expand"), "b_se")
    assert_equal(result, reference.relu(x + IMAGES))


def test_basic_block_is_its_wiring():
    spec = Spec(residual="basic")
    model, result = apply(lambda x: se_resnet.identity_block(x, 8, 4, spec=spec, name="b"))
    weights = reference.Weights(model)
    x = reference.relu(weights.conv_norm(IMAGES, "b_first_3x3"))
    x = weights.squeeze_excite(weights.conv_norm(x, "b_second_3x3"), "b_se")
    assert_equal(result, reference.relu(x + IMAGES))


@pytest.mark.parametrize("side", [32, 33, 34, 35])
@pytest.mark.parametrize("pool", ["padded", "ceil"])
def test_stem_pools_as_its_convention_says_on_every_side(side, pool):
    images = np.random.default_rng(2).normal(size=(2, side, side + 1, 3))
    spec = Spec(stem_pool=pool, stem_filters=(4,))
    model, result = apply(lambda x: blocks.stem(x, spec=spec, name="stem"), images)
    x = reference.relu(reference.Weights(model).conv_norm(images, "stem", 2))
    if pool == "ceil":
        expected = reference.ceil_max_pool(x, 3, 2)
    else:
        expected = reference.max_pool(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), 3, 2)
    assert_equal(result, expected)


def test_classifier_is_mean_dense_softmax():
    model, result = apply(lambda x: blocks.classifier(x, 5, name="classifier"))
    kernel, bias = reference.Weights(model)("classifier")
    logits = IMAGES.mean(axis=(1, 2)) @ kernel + bias
    odds = np.exp(logits)
    assert_equal(result, odds / odds.sum(axis=1, keepdims=True))


def test_layers_have_the_stated_conventions():
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, se_resnet.learner(se_resnet.stem(inputs)))
    for layer in model.layers:
        if isinstance(layer, (layers.Conv2D, layers.Dense)):
            assert not layer.use_bias
            config = keras.initializers.serialize(layer.kernel_initializer)
            assert config["class_name"] == "HeNormal"
        if isinstance(layer, layers.Conv2D):
            assert layer.padding == "valid"
        if isinstance(layer, layers.BatchNormalization):
            assert (layer.epsilon, layer.momentum) == (1e-5, 0.9)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_squeeze_excitation_gate_and_classifier_stay_in_float32(policy):
    keras.config.set_dtype_policy(policy)
    inputs = keras.Input((8, 8, 16))
    model = keras.Model(inputs, blocks.classifier(blocks.squeeze_excite_block(inputs, 4), 3))
    kinds = [(type(layer).__name__, layer.compute_dtype) for layer in model.layers[1:]]
    assert kinds == [
        ("GlobalAveragePooling2D", "float32"),
        ("Dense", "float32"),
        ("Dense", "float32"),
        ("Reshape", "float32"),
        ("Multiply", policy.removeprefix("mixed_")),
        ("GlobalAveragePooling2D", "float32"),
        ("Dense", "float32"),
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: blocks.squeeze_excite_block(x, 16), "from 1 to the number of channels, 8"),
        (lambda x: blocks.squeeze_excite_block(x, 0.25), "must be an integer"),
        (lambda x: blocks.squeeze_excite_block(x, 0), "must be an integer"),
        (lambda x: se_resnet.identity_block(x, 4), "start the group with a projection_block"),
        (lambda x: se_resnet.se_group(x, 0, 4, 4), "at least one block"),
        (lambda x: se_resnext.projection_block(x, 6, 16, 4), "cardinality must divide"),
    ],
)
def test_impossible_arguments_are_refused_with_what_to_do(call, message):
    with pytest.raises(ValueError, match=message):
        call(keras.Input((9, 11, 8)))


def test_channels_first_computes_the_same():
    last, expected = apply(
        lambda x: se_resnet.se_group(x, 2, 4, 4, spec=Spec(se_bias=True)), IMAGES
    )
    keras.config.set_image_data_format("channels_first")
    inputs = keras.Input((8, 9, 11))
    first = keras.Model(inputs, se_resnet.se_group(inputs, 2, 4, 4, spec=Spec(se_bias=True)))
    first.set_weights(last.get_weights())
    # TensorFlow has these convolutions on every CPU only where XLA compiles them.
    first.compile(jit_compile=keras.backend.backend() == "tensorflow")
    result = first.predict(IMAGES.transpose(0, 3, 1, 2).astype("float32"), verbose=0)
    assert_equal(result.transpose(0, 2, 3, 1), expected)
