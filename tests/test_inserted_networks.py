"""Every kind of network that gates are put into: same outputs, kept in files, trained.

Each test is a row of the table of what `senet.insert` and `senet.gates` hold on.
"""

import keras
import numpy as np
import pytest
from keras import layers

import senet
from tests.conftest import randomise

BLOCKS = {
    "MobileNet": (13, 479_744),  # the paper's table 3
    "ResNet50": (16, 2_514_944),  # what SE-ResNet-50 has over ResNet-50
    "ResNet50V2": (16, 2_514_944),
    "VGG16": (13, 226_304),
    "MobileNetV2": (17, 28_416),
    "InceptionResNetV2": (40, 8_495_360),
    "DenseNet121": (58, 7_424),
    "EfficientNetV2B0": (5, 864),
    "ConvNeXtTiny": (18, 404_352),
    "Xception": (12, 730_992),
}
FAST = ("MobileNet", "ResNet50", "EfficientNetV2B0")
CLASSES = ("a", "b", "c", "d")


@pytest.fixture(autouse=True)
def seeded():
    """An excitation whose few hidden units all start below 0 would never move."""
    keras.utils.set_random_seed(0)


def outputs(model, x):
    return keras.ops.convert_to_numpy(model(x, training=False))


def noise(count, *shape):
    return np.random.default_rng(0).uniform(0, 1, (count, *shape)).astype("float32")


def keep(model, made, x, path):
    """The network as stock Keras and as senet load it gives what it gave."""
    expected = outputs(made, x)
    np.testing.assert_array_equal(expected, outputs(model, x))
    side = made.inputs[0].shape[2]
    rule = senet.Preprocessing.of_values("0-1", side)
    senet.save(made, path, class_names=CLASSES, preprocessing=rule)
    np.testing.assert_array_equal(outputs(keras.saving.load_model(path), x), expected)
    again = senet.load(path)
    np.testing.assert_array_equal(outputs(again, x), expected)
    assert again.card.class_names == CLASSES
    assert senet.find_se_blocks(again) == senet.find_se_blocks(made)


def train_two_steps(made, x):
    labels = np.eye(4, dtype="float32")[np.arange(len(keras.tree.flatten(x)[0])) % 4]
    optimizer = keras.optimizers.Adam(0.01)
    made.compile(optimizer, "categorical_crossentropy", run_eagerly=True)
    made.fit(x, labels, epochs=2, batch_size=len(labels), verbose=0)


def moved(made, x, but=()):
    """How many blocks have gates other than 1, of those that were put in."""
    found = senet.gates(made, x)
    return sum(np.abs(gate - 1).max() > 1e-4 for name, gate in found.items() if name not in but)


@pytest.mark.parametrize(
    "name", [n if n in FAST else pytest.param(n, marks=pytest.mark.slow) for n in BLOCKS]
)
def test_networks_of_keras_applications(tmp_path, name):
    application = getattr(keras.applications, name)
    model = application(weights=None, input_shape=(75, 75, 3), classes=4)
    for layer in model.layers:
        if layer.name.endswith("_layer_scale"):  # ConvNeXt's start at 1e-6: gradients vanish there
            layer.set_weights([np.full_like(weight, 0.5) for weight in layer.get_weights()])
    own = [block.scale for block in senet.find_se_blocks(model)]
    made, x = senet.insert(model), noise(4, 75, 75, 3)
    blocks, added = BLOCKS[name]
    assert len(senet.find_se_blocks(made)) - len(own) == blocks
    assert made.count_params() - model.count_params() == added
    keep(model, made, x, tmp_path / "made.keras")
    train_two_steps(made, x)
    # with few channels an excitation has one or two hidden units, some of which are never above 0
    count = moved(made, x, own)
    print(f"{name}: gates of {count} of {blocks} blocks moved")
    assert count >= blocks / 2


def test_se_mobilenet_has_the_parameters_of_table_3():
    made = senet.insert(keras.applications.MobileNet(weights=None))
    assert made.count_params() == 4_253_864 + 479_744


def head(maps, **options):
    y = layers.GlobalAveragePooling2D(**options)(maps)
    return layers.Dense(4, activation="softmax", name="head", dtype="float32")(y)


def backbone(name="backbone"):
    x = keras.Input((32, 32, 3))
    y = layers.Conv2D(16, 3, name="first")(x)
    y = layers.ReLU(name="relu")(layers.BatchNormalization(name="norm")(y))
    return keras.Model(x, layers.Conv2D(32, 3, strides=2, name="second")(y), name=name)


def test_sequential(tmp_path):
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.Sequential([layers.RandomFlip(), layers.Rescaling(2.0)], name="augmentation"),
            layers.Conv2D(16, 3, name="maps"),
            layers.BatchNormalization(name="norm"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, activation="softmax"),
        ]
    )
    randomise(model)
    made, x = senet.insert(model, 4, "norm"), noise(4, 32, 32, 3)
    keep(model, made, x, tmp_path / "made.keras")
    train_two_steps(made, x)
    assert moved(made, x) == 1


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("where", ["second", "inside/*_bn", None])
def test_nested_models(tmp_path, frozen, where):
    """The usual shape of fine-tuning: a frozen backbone in inference mode, and a head."""
    x = keras.Input((32, 32, 3))
    if where == "second":
        inner = backbone()
    else:
        inner = keras.applications.MobileNet(
            weights=None, include_top=False, input_shape=(32, 32, 3), alpha=0.25
        )
        inner.name = "inside" if where else inner.name
    y = layers.RandomFlip()(x)
    if where == "inside/*_bn":
        where = "inside/conv_pw_1?_bn"
    model = keras.Model(x, head(inner(y, training=False)))
    randomise(model)
    inner.trainable = not frozen
    before = len(model.trainable_weights)
    made, x = senet.insert(model, 4, where), noise(4, 32, 32, 3)
    keep(model, made, x, tmp_path / "made.keras")
    blocks = senet.find_se_blocks(made)
    assert {block.scale.partition("/")[0] for block in blocks} == {inner.name}
    assert len(made.trainable_weights) == before + 2 * len(blocks)
    stock = [layer.get_weights() for layer in made.get_layer(inner.name).layers]
    train_two_steps(made, x)
    assert moved(made, x) >= len(blocks) / 2
    after = [layer.get_weights() for layer in made.get_layer(inner.name).layers]
    names = [layer.name for layer in made.get_layer(inner.name).layers]
    for name, one, other in zip(names, stock, after, strict=True):
        if frozen and "_se_" not in name:
            for a, b in zip(one, other, strict=True):
                np.testing.assert_array_equal(a, b)


def test_shared_layers(tmp_path):
    """A backbone that reads the image twice, as in networks that compare two of them."""
    x = keras.Input((32, 32, 3))
    shared = backbone()
    y = layers.Subtract(name="difference")([shared(x), shared(layers.Rescaling(-1.0)(x))])
    model = keras.Model(x, head(y))
    randomise(model)
    made, x = senet.insert(model, 4, ["norm", "difference"]), noise(4, 32, 32, 3)
    keep(model, made, x, tmp_path / "made.keras")
    train_two_steps(made, x)
    with pytest.raises(ValueError, match=r"'backbone/norm_se_scale'.*several times.*get_layer\('b"):
        senet.gates(made, x)
    assert moved(made.get_layer("backbone"), x) == 1
    other = senet.insert(model, 4, "difference")
    train_two_steps(other, x)
    assert moved(other, x) == 1


@pytest.mark.parametrize("kind", ["dictionary", "list"])
def test_two_inputs(tmp_path, kind):
    photo, depth = keras.Input((32, 32, 3), name="photo"), keras.Input((32, 32, 1), name="depth")
    maps = [layers.Conv2D(16, 3, name=f"{x.name}_maps")(x) for x in (photo, depth)]
    inputs = {"photo": photo, "depth": depth} if kind == "dictionary" else [photo, depth]
    model = keras.Model(inputs, head(layers.Add()(maps)))
    randomise(model)
    made = senet.insert(model, 2, "*_maps")
    x = {"photo": noise(4, 32, 32, 3), "depth": noise(4, 32, 32, 1)}
    x = x if kind == "dictionary" else list(x.values())
    np.testing.assert_array_equal(outputs(made, x), outputs(model, x))
    made.save(tmp_path / "made.keras")
    again = keras.saving.load_model(tmp_path / "made.keras")
    np.testing.assert_array_equal(outputs(again, x), outputs(made, x))
    train_two_steps(made, x)
    assert moved(made, x) == 2
    found = senet.gate_statistics(made, x, np.arange(4))
    np.testing.assert_allclose(
        found["photo_maps_se_scale"].mean,
        senet.gates(made, x)["photo_maps_se_scale"].mean(axis=0),
        rtol=1e-5,
    )
    with pytest.raises(ValueError, match=r"one input \(N, H, W, C\).*save it with model\.save"):
        senet.save(made, tmp_path / "other.keras")
    with pytest.raises(senet.WeightsError, match="no network of images"):
        senet.load(tmp_path / "made.keras")


def test_channels_first(tmp_path):
    x = keras.Input((3, 32, 32))
    if keras.backend.backend() == "tensorflow":  # has no such convolutions on a CPU
        y = layers.Conv2D(16, 3, name="maps")(layers.Permute((2, 3, 1))(x))
        y = layers.Permute((3, 1, 2))(y)
    else:
        y = layers.Conv2D(16, 3, data_format="channels_first", name="maps")(x)
    y = layers.ReLU(name="relu")(layers.BatchNormalization(axis=1, name="norm")(y))
    model = keras.Model(x, head(y, data_format="channels_first"))
    randomise(model)
    made, x = senet.insert(model, 2, ["norm", "relu"]), noise(4, 3, 32, 32)
    np.testing.assert_array_equal(outputs(made, x), outputs(model, x))
    made.save(tmp_path / "made.keras")
    again = keras.saving.load_model(tmp_path / "made.keras")
    np.testing.assert_array_equal(outputs(again, x), outputs(made, x))
    senet.save(made, tmp_path / "card.keras", class_names=CLASSES)
    np.testing.assert_array_equal(outputs(senet.load(tmp_path / "card.keras"), x), outputs(made, x))
    train_two_steps(made, x)
    assert moved(made, x) == 2
    assert senet.gates(made, x)["relu_se_scale"].shape == (4, 16)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("built", ["before", "under"])
def test_mixed_precision(tmp_path, precision, built):
    if built == "under":
        keras.config.set_dtype_policy(precision)
    inner = backbone()
    model = keras.Model(inner.input, head(inner.output))
    randomise(model)
    keras.config.set_dtype_policy(precision)
    made, x = senet.insert(model, 4, ["norm", "second"]), noise(4, 32, 32, 3)
    keep(model, made, x, tmp_path / "made.keras")
    train_two_steps(made, x)
    assert moved(made, x) == 2
