import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.explanation.gradcam import Halves
from tests.explanation.test_gates import images

SMALL = dict(n_blocks=(1, 1, 1), n_filters=(16, 32, 64))


def network(side=64, **options):
    options = dict(input_shape=(side, side, 3), classes=3, **SMALL) | options
    return senet.create("se_resnet50", **options)


def maps_and_classifier(model, layer, x):
    maps = keras.Model(model.input, model.get_layer(layer).output).predict_on_batch(x)
    kernel, bias = (w.astype("float64") for w in model.get_layer("classifier").get_weights())
    return maps.astype("float64"), kernel, bias


LAST = "stage3_block1_relu"


def test_where_a_mean_and_a_dense_layer_follow_it_is_the_class_activation_map():
    model, x = network(), images(5, 64)
    maps, kernel, bias = maps_and_classifier(model, LAST, x)
    logits = maps.mean(axis=(1, 2)) @ kernel + bias
    for classes, chosen in ((None, logits.argmax(axis=1)), (np.array([2, 0, 1, 2, 0]),) * 2):
        heat = senet.grad_cam(model, x, classes=classes, batch_size=2)
        activation = np.stack([m @ kernel[:, k] for m, k in zip(maps, chosen, strict=True)])
        expected = np.maximum(activation / np.prod(maps.shape[1:3]), 0)
        assert heat.shape == (5, 4, 4)
        assert expected.max() > 0
        np.testing.assert_allclose(heat, expected, atol=1e-5 * expected.max())


def test_an_earlier_layer_gives_larger_maps_and_its_gradient():
    """Against differences of the logits for one map of one image."""
    model, x = network(classifier_activation=None), images(1, 64)
    name = "stage2_block1_relu"
    maps = keras.Model(model.input, model.get_layer(name).output)
    back = keras.Model(model.get_layer(name).output, model.output)
    features = maps.predict_on_batch(x)
    channels = features.shape[-1]
    step = 0.05 * features.max()
    moved = np.concatenate([features + step * np.eye(channels)[k] for k in range(channels)])
    # the mean of the gradient over the pixels is the slope along a constant map over their number
    slopes = (back.predict(moved, verbose=0) - back.predict_on_batch(features)) / step
    weights = slopes / np.prod(features.shape[1:3])
    expected = np.maximum(features[0] @ weights, 0)  # of each class
    chosen = int(expected.max(axis=(0, 1)).argmax())  # of another one nothing may speak for it
    heat = senet.grad_cam(model, x, name, [chosen])
    assert heat.shape == (1, *features.shape[1:3])
    assert np.corrcoef(heat.ravel(), expected[..., chosen].ravel())[0, 1] > 0.99


def test_it_is_zero_or_more_and_does_not_change_the_network():
    model, x = network(), images(3, 64)
    before = model.predict_on_batch(x)
    assert senet.grad_cam(model, x).min() >= 0
    np.testing.assert_array_equal(model.predict_on_batch(x), before)


def test_a_softmax_layer_of_its_own_is_passed_by():
    model = network(classifier_activation=None)
    probable = keras.Model(model.input, layers.Softmax()(model.output))
    x = images(2, 64)
    heat = senet.grad_cam(model, x)
    np.testing.assert_allclose(senet.grad_cam(probable, x), heat, atol=1e-6 * heat.max())


def test_maps_of_one_pixel_are_passed_by():
    model = network(32, n_blocks=(1, 1, 1, 1), n_filters=(16, 16, 16, 32))
    assert model.get_layer("stage4_block1_relu").output.shape == (None, 1, 1, 128)
    assert senet.grad_cam(model, images(2)).shape == (2, 2, 2)


def test_bfloat16_gives_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    heat = senet.grad_cam(network(), images(2, 64))
    assert heat.dtype == np.float32
    assert heat.max() > 0


def test_grouped_convolutions_behind_the_maps_have_gradients():
    model = senet.create(
        "se_resnext50_32x4d",
        n_blocks=(1, 1),
        n_filters=(64, 64),
        input_shape=(32, 32, 3),
        classes=3,
    )
    heat = senet.grad_cam(model, images(1), layer="stage1_block1_relu")
    assert heat.shape == (1, 8, 8)


def test_channels_first_gives_the_same():
    x, weights, heats = images(2, 64), None, []
    for order, shape in (("channels_last", (64, 64, 3)), ("channels_first", (3, 64, 64))):
        if order == "channels_first" and keras.backend.backend() == "tensorflow":
            pytest.skip("TensorFlow has no channels_first convolutions on a CPU")
        keras.config.set_image_data_format(order)
        model = senet.create("se_resnet50", input_shape=shape, classes=3, **SMALL)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        inputs = x if order == "channels_last" else x.transpose(0, 3, 1, 2)
        heats.append(senet.grad_cam(model, inputs))
    np.testing.assert_allclose(heats[0], heats[1], atol=1e-4 * heats[0].max())


def test_a_map_in_the_size_of_the_images_has_its_cells_where_they_look():
    model, x = network(), images(2, 64)
    heat, large = senet.grad_cam(model, x), senet.grad_cam(model, x, resize=True)
    assert large.shape == (2, 64, 64)
    place = Halves.of(model, None, x).place
    rows, columns = (
        np.arange(4) * int(line.scale) + int(line.offset) for line in place
    )  # a cell is where its middle lies
    np.testing.assert_allclose(large[:, rows][:, :, columns], heat, rtol=1e-5)


def test_a_mirrored_image_has_the_mirrored_map():
    """Not so where cells are drawn in the middle of their part: both maps were on the right."""
    model = network(96, n_filters=(8, 16, 32), classifier_activation=None)
    for layer in model.layers:  # a network that cannot tell left from right
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            kernel, *bias = layer.get_weights()
            layer.set_weights([(kernel + kernel[:, ::-1]) / 2, *bias])
    x = np.zeros((1, 96, 96, 3), "float32")
    x[:, 20:50, 20:50] = np.random.default_rng(0).normal(size=(30, 30, 3))
    middles = []
    for given in (x, x[:, :, ::-1]):
        across = senet.grad_cam(model, given, classes=0, resize=True).sum(axis=(0, 1))
        middles.append((np.arange(96) * across).sum() / across.sum())
    assert middles[0] < 48
    assert middles[0] == pytest.approx(95 - middles[1], abs=6)


def test_one_class_may_be_named_for_all_images():
    model, x = network(), images(2, 64)
    np.testing.assert_array_equal(
        senet.grad_cam(model, x, classes=1), senet.grad_cam(model, x, classes=[1, 1])
    )


STRUCTURES = {
    "lists": lambda x, y: ([x], [y]),
    "dictionaries": lambda x, y: ({"image": x}, {"classes": y}),
}


@pytest.mark.parametrize("structure", STRUCTURES)
def test_networks_whose_input_and_output_have_a_structure_are_read_too(structure):
    x = keras.Input((16, 16, 3), name="image")
    maps = layers.Conv2D(4, 3)(x)
    y = layers.Dense(3, "softmax")(layers.GlobalAveragePooling2D()(maps))
    plain, model = keras.Model(x, y), keras.Model(*STRUCTURES[structure](x, y))
    given = images(4, 16)
    packed = keras.tree.map_structure(lambda _: given, model.input)
    wanted = senet.grad_cam(plain, given, resize=True)
    for form in (given, packed):
        np.testing.assert_allclose(senet.grad_cam(model, form, resize=True), wanted, rtol=1e-5)
        hottest = senet.deletion_test(model, form).hottest
        np.testing.assert_allclose(hottest, senet.deletion_test(plain, given).hottest, rtol=1e-5)


def test_a_network_of_any_size_has_its_cells_where_those_of_the_size_at_hand_lie():
    fixed, x = network(66), images(2, 66)
    free = senet.create("se_resnet50", input_shape=(None, None, 3), classes=3, **SMALL)
    free.set_weights(fixed.get_weights())
    given = dict(classes=0, resize=True)
    heat = senet.grad_cam(fixed, x, **given)
    np.testing.assert_allclose(senet.grad_cam(free, x, **given), heat, atol=1e-5 * heat.max())


class Padded(layers.Layer):
    """Says that it gives what it is given, and gives more."""

    def call(self, x):
        return keras.ops.pad(x, [(0, 0), (1, 1), (1, 1), (0, 0)])

    def compute_output_shape(self, shape):
        return shape


def test_a_layer_that_names_a_wrong_size_keeps_no_map_from_being_read():
    x = keras.Input((None, None, 3))
    sums = layers.Add()([layers.Conv2D(3, 3)(Padded()(x)), x])
    model = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(sums)))
    assert senet.grad_cam(model, images(2, 16), resize=True).shape == (2, 16, 16)


def test_maps_are_not_enlarged_where_inputs_are_no_images():
    x = keras.Input((64,))
    maps = layers.Conv2D(4, 3)(layers.Reshape((8, 8, 1))(x))
    model = keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(maps)))
    rows = np.random.default_rng(0).normal(size=(2, 64))
    assert senet.grad_cam(model, rows).shape == (2, 6, 6)
    with pytest.raises(ValueError, match=r"on images \(N, H, W, C\); .* shape \(2, 64\)"):
        senet.grad_cam(model, rows, resize=True)
    with pytest.raises(ValueError, match="on images"):
        senet.deletion_test(model, rows)


def flat():
    inputs = keras.Input((8, 8, 3))
    return keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (flat, {}, "No layer of .* gives maps"),
        (network, dict(layer="classifier"), "The layer 'classifier' of .*stage"),
        (network, dict(layer="stage2_block1_expand_conv"), "pass them by"),
        (network, dict(classes=np.array([0, 3])), "from 0 to 2, one for all or one for each of 2"),
        (network, dict(classes=np.array([0.0, 1.0])), "from 0 to 2"),
        (network, dict(classes=[[0], [1, 2]]), "from 0 to 2"),
        (network, dict(layer=np.array([0, 1])), r"The layer array\(\[0, 1\]\)"),
        (network, dict(classes=np.array([0])), "from 0 to 2, one for all or one for each of 2"),
        (lambda: network(include_top=False), {}, r"one output \(N, classes\)"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(build, options, message):
    model = build()
    with pytest.raises(ValueError, match=message):
        senet.grad_cam(model, images(2, model.input_shape[1]), **options)


HEADS = {
    "in a model": lambda x: keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax")])(x),
    "operation": lambda x: keras.ops.softmax(layers.Dense(3)(x)),
    "cast": lambda x: layers.Activation("linear", dtype="float32")(layers.Dense(3, "softmax")(x)),
    "activation": lambda x: layers.Activation("softmax")(layers.Dense(3)(x)),
    "logits": lambda x: layers.Dense(3)(x),
}


@pytest.mark.parametrize("head", HEADS)
def test_the_score_is_the_logit_whatever_the_network_ends_in(head):
    x = keras.Input((8, 8, 3))
    maps = layers.Conv2D(4, 3, name="maps")(x)
    model = keras.Model(x, HEADS[head](layers.GlobalAveragePooling2D()(maps)))
    images = np.random.default_rng(0).normal(size=(3, 8, 8, 3)).astype("float32")
    heat = senet.grad_cam(model, images, classes=np.arange(3))
    given = keras.Model(x, maps).predict_on_batch(images)
    kernel = next(w for w in model.get_weights() if w.shape == (4, 3))
    expected = (given * kernel.T[:, None, None]).sum(-1) / 36
    np.testing.assert_allclose(heat, np.maximum(expected, 0), atol=1e-6)
