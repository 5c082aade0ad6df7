import dataclasses
import inspect
import json
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

import senet
from senet.models.complexity import shapes_only
from tests.conftest import outputs, randomise

SMALL = dict(input_shape=(32, 32, 3), classes=4)
IMAGES = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")


def test_arguments_are_those_of_keras_applications():
    theirs = inspect.signature(keras.applications.ResNet50).parameters
    ours = inspect.signature(senet.SEResNet50).parameters
    assert list(ours)[: len(theirs)] == list(theirs)
    departures = {name for name in theirs if theirs[name].default != ours[name].default}
    assert departures == {"weights", "name"}


@pytest.mark.parametrize(
    ("constructor", "name"),
    [
        ("SEResNet18", "se_resnet18"),
        ("SEResNet34", "se_resnet34"),
        ("SEResNet50", "se_resnet50"),
        ("SEResNet101", "se_resnet101"),
        ("SEResNet152", "se_resnet152"),
        ("SEResNeXt50", "se_resnext50_32x4d"),
        ("SEResNeXt101", "se_resnext101_32x4d"),
        ("SEResNeXt101_32x8d", "se_resnext101_32x8d"),
        ("SEResNeXt101_64x4d", "se_resnext101_64x4d"),
        ("SEResNeXt152", "se_resnext152_32x4d"),
        ("SENet154", "senet154"),
    ],
)
def test_constructors_build_the_network_of_their_name(constructor, name):
    with shapes_only():
        model, other = getattr(senet, constructor)(**SMALL), senet.create(name, **SMALL)
    assert model.name == name
    assert [(w.path, w.shape) for w in model.weights] == [(w.path, w.shape) for w in other.weights]


def test_default_shapes_follow_the_network():
    assert senet.create("se_resnet10").input_shape == (None, 224, 224, 3)
    assert senet.create("se_resnet20_cifar").input_shape == (None, 32, 32, 3)
    open_sides = senet.create("se_resnet10", include_top=False)
    assert (open_sides.input_shape, open_sides.output_shape) == (
        (None, None, None, 3),
        (None, None, None, 512),
    )


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 40)])
@pytest.mark.parametrize("variant", ["seed", "caffe", "torch"])
def test_an_open_network_takes_any_size_and_agrees_with_a_fixed_one(size, variant):
    options = dict(classes=4, variant=variant)
    open_sides = senet.create("se_resnet10", input_shape=(None, None, 3), **options)
    fixed = senet.create("se_resnet10", input_shape=(*size, 3), **options)
    fixed.set_weights(open_sides.get_weights())
    x = np.random.default_rng(0).normal(size=(2, *size, 3)).astype("float32")
    np.testing.assert_allclose(
        open_sides.predict_on_batch(x), fixed.predict_on_batch(x), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    ("pooling", "reduce"), [("avg", np.mean), ("max", np.max), (None, lambda x, axis: x)]
)
def test_pooling_reduces_the_maps(pooling, reduce):
    maps = senet.create("se_resnet10", include_top=False, input_shape=(64, 64, 3))
    pooled = senet.create(
        "se_resnet10", include_top=False, input_shape=(64, 64, 3), pooling=pooling
    )
    pooled.set_weights(maps.get_weights())
    x = np.random.default_rng(0).normal(size=(2, 64, 64, 3)).astype("float32")
    expected = reduce(maps.predict_on_batch(x), axis=(1, 2))
    np.testing.assert_allclose(pooled.predict_on_batch(x), expected, rtol=1e-5, atol=1e-6)


def test_input_tensor_is_built_upon():
    inputs = keras.Input((32, 32, 3))
    direct = senet.create("se_resnet20_cifar", input_tensor=inputs)
    assert direct.inputs[0] is inputs
    scaled = senet.create("se_resnet20_cifar", input_tensor=keras.layers.Rescaling(0.5)(inputs))
    assert scaled.inputs[0] is inputs
    assert scaled.layers[1].__class__.__name__ == "Rescaling"


def test_logits_are_given_without_activation():
    logits = senet.create("se_resnet20_cifar", classes=4, classifier_activation=None)
    probabilities = senet.create("se_resnet20_cifar", classes=4)
    probabilities.set_weights(logits.get_weights())
    odds = np.exp(logits.predict_on_batch(IMAGES))
    np.testing.assert_allclose(
        probabilities.predict_on_batch(IMAGES), odds / odds.sum(axis=1, keepdims=True), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(input_shape=(224, 224)), r"for example \(224, 224, 3\)"),
        (dict(input_shape=(16, 224, 3)), "at least 32 pixels"),
        (dict(input_shape=224), r"for example \(224, 224, 3\); got 224"),
        (dict(input_shape=("32", 32, 3)), "height, width and channels"),
        (dict(classes=True), "classes must be a positive integer"),
        (dict(features=4), r"features must be a tuple of strides, as \(4, 8, 16\); got 4"),
        (dict(features=()), "features must be a tuple of strides"),
        (dict(weights=False), "Weights are named by a tag"),
        (dict(input_shape=(224, 224, None)), "height, width and channels"),
        (dict(classes=0), "classes must be a positive integer"),
        (dict(pooling="mean"), 'pooling must be None, "avg" or "max"'),
        (dict(weights="imagenet"), "No weights are published for 'se_resnet20_cifar'"),
        (dict(weights="imagenet.npz"), "There is no run folder or weights file 'imagenet.npz'"),
        (
            dict(weights="missing/imagenet"),
            "There is no run folder or weights file 'missing/imagenet'",
        ),
    ],
)
def test_impossible_arguments_are_refused_with_what_to_do(options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        senet.create("se_resnet20_cifar", **options)


RECORD = dict(
    **dict(seed=0, validation=0.1, test=0.2, fraction=1.0, split_sha256="", images=4),
    **dict(digests="", noted=True, trained_elsewhere=False),
)


@pytest.fixture
def recorded(tmp_path):
    """A file of a network that says which images it was trained on."""
    model = senet.create("se_resnet20_cifar", **SMALL)
    senet.save(model, tmp_path / "recorded.keras", trained_on=RECORD)
    return tmp_path / "recorded.keras"


def record_of(model, path):
    senet.save(model, path)
    return senet.load(path).card.trained_on


@pytest.mark.parametrize("ending", [".keras", ".safetensors"])
def test_what_a_network_was_trained_on_stays_as_long_as_its_weights_do(recorded, tmp_path, ending):
    model = senet.load(recorded)
    model.predict_on_batch(IMAGES)
    assert record_of(model, tmp_path / f"again{ending}") == RECORD
    with pytest.warns(UserWarning, match="all but the classifier was loaded"):
        other = senet.create("se_resnet20_cifar", weights=recorded, **SMALL | dict(classes=7))
    assert record_of(other, tmp_path / f"other{ending}") == RECORD
    gate = senet.models.graph.find_se_blocks(model)[0].scale
    folded = senet.fold_gates(model, {gate: None})
    assert record_of(folded, tmp_path / f"folded{ending}") == RECORD


def test_a_network_that_was_trained_on_by_hand_does_not_say_that_it_names_all_images(
    recorded, tmp_path
):
    model = senet.load(recorded)
    model.compile(keras.optimizers.SGD(0.1), "categorical_crossentropy")
    model.fit(IMAGES, np.eye(4)[:2], verbose=0)
    expected = RECORD | dict(trained_elsewhere=True)
    assert record_of(model, tmp_path / "fitted.keras") == expected
    gate = senet.models.graph.find_se_blocks(model)[0].scale
    assert record_of(senet.fold_gates(model, {gate: None}), tmp_path / "folded.keras") == expected
    again = senet.load(tmp_path / "fitted.keras")
    assert record_of(again, tmp_path / "again.keras") == expected
    classifier = senet.load(recorded)
    classifier.layers[-1].set_weights([w + 1 for w in classifier.layers[-1].get_weights()])
    assert record_of(classifier, tmp_path / "classifier.keras") == expected


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_weights_take_the_path_of_a_file(tmp_path, ending):
    first = senet.create("se_resnet20_cifar", classes=4)
    randomise(first)
    path = tmp_path / f"model{ending}"
    first.save_weights(path) if ending == ".weights.h5" else first.save(path)
    second = senet.create("se_resnet20_cifar", classes=4, weights=path)
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "other",
    [
        dict(network="resnet20_cifar", classes=4),
        dict(network="se_resnet20_cifar", classes=4, variant="torch"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, other):
    senet.create("se_resnet20_cifar", classes=4).save_weights(tmp_path / "a.weights.h5")
    with pytest.raises(ValueError, match="It belongs to another network, variant or width"):
        senet.create(weights=tmp_path / "a.weights.h5", **other)


def test_weights_of_a_network_with_as_many_values_are_refused(tmp_path):
    bias = senet.create("se_resnet20_cifar", classes=4, n_blocks=(2, 2, 2))
    path = tmp_path / "a.weights.h5"
    bias.save_weights(path)
    with h5py.File(path, "r+") as file:
        file.move("layers/conv2d_3", "layers/elsewhere")
    with pytest.raises(ValueError, match=r"1 missing from the file:\n  layers/conv2d_3"):
        senet.create("se_resnet20_cifar", classes=4, n_blocks=(2, 2, 2), weights=path)


@pytest.mark.parametrize("keep", [0, 100, 5000])
@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_damaged_weights_are_refused(tmp_path, ending, keep):
    model = senet.create("se_resnet20_cifar", classes=4)
    path = tmp_path / f"model{ending}"
    model.save_weights(path) if ending == ".weights.h5" else model.save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(senet.WeightsError, match=f"model{ending}"):
        senet.create("se_resnet20_cifar", classes=4, weights=path)


def test_a_saved_network_comes_back_with_its_card(tmp_path):
    model = senet.create("se_resnet20_cifar", variant="torch", ratio=8, **SMALL)
    randomise(model)
    path = tmp_path / "pets.keras"
    rule = senet.Preprocessing(32, crop_fraction=0.9).to_json()
    about = dict(class_names=("ant", "bee", "cat", "dog"), preprocessing=rule)
    senet.save(model, path, **about)
    again = senet.load(path)
    assert again.card == senet.load(path).card
    assert (again.card.class_names, again.card.preprocessing) == tuple(about.values())
    assert (again.card.spec.ratio, again.card.spec.se_bias) == (8, True)
    np.testing.assert_array_equal(model.predict_on_batch(IMAGES), again.predict_on_batch(IMAGES))
    assert list(tmp_path.iterdir()) == [path]


def test_a_network_comes_back_in_its_precision_data_format_and_name(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = senet.create("se_resnet20_cifar", name="mine", **SMALL)
    senet.save(model, tmp_path / "half.keras")
    keras.config.set_dtype_policy("float32")
    half = senet.load(tmp_path / "half.keras")
    assert (half.name, half.get_layer("stem_conv").compute_dtype) == ("mine", "bfloat16")
    stock = keras.saving.load_model(tmp_path / "half.keras")
    np.testing.assert_array_equal(half.predict_on_batch(IMAGES), stock.predict_on_batch(IMAGES))
    assert keras.config.dtype_policy().name == "float32"

    full = senet.create("se_resnet20_cifar", **SMALL)
    senet.save(full, tmp_path / "full.keras")
    keras.config.set_dtype_policy("mixed_float16")
    again = senet.load(tmp_path / "full.keras")
    assert again.get_layer("stem_conv").compute_dtype == "float32"
    keras.config.set_dtype_policy("float32")

    keras.config.set_image_data_format("channels_first")
    first = senet.create("se_resnet20_cifar", classes=4)
    senet.save(first, tmp_path / "first.keras")
    keras.config.set_image_data_format("channels_last")
    again = senet.load(tmp_path / "first.keras")
    assert again.input_shape == first.input_shape == (None, 3, 32, 32)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert keras.config.image_data_format() == "channels_last"


@pytest.mark.parametrize(
    "change",
    [
        dict(spec=[]),
        dict(spec={"ratio": "x"}),
        dict(input_shape=3),
        dict(input_shape=["a", None, 3]),
        dict(input_shape=[32, 32]),
        dict(network=["se_resnet50"]),
        dict(network="se_resnet51"),
        dict(classes="four"),
        dict(classes=-4),
        dict(class_names=7),
        dict(preprocessing=[1]),
        dict(precision="float7"),
        dict(precision=3),
        dict(data_format="sideways"),
        dict(pooling={}),
        dict(classifier_activation=["softmax"]),
        dict(folded=["stage1_block1_se_scale"]),
        dict(folded={"stage1_block1_se_scale": "gone"}),
        dict(folded={"stage1_block1_se_scale": ["constant"]}),
        dict(unknown=1),
        dict(format=2),
    ],
)
def test_cards_that_say_nonsense_are_refused(tmp_path, change):
    model = senet.create("se_resnet20_cifar", **SMALL)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras", "a") as archive:
        archive.writestr("senet.json", json.dumps(model.card.to_json() | change))
    with pytest.raises(ValueError, match=r"\w+ \w+"):
        senet.load(tmp_path / "model.keras")


def test_classes_may_be_a_numpy_integer():
    assert senet.create("se_resnet20_cifar", classes=np.int64(3)).output_shape == (None, 3)


def test_a_network_without_classifier_comes_back(tmp_path):
    model = senet.create(
        "se_resnext50_32x4d", include_top=False, pooling="avg", n_blocks=(1, 1, 1, 1)
    )
    senet.save(model, tmp_path / "trunk.keras")
    again = senet.load(tmp_path / "trunk.keras")
    np.testing.assert_array_equal(model.predict_on_batch(IMAGES), again.predict_on_batch(IMAGES))


STOCK = """
import sys, keras, numpy as np
model = keras.saving.load_model(sys.argv[1])
np.save(sys.argv[3], model.predict_on_batch(np.load(sys.argv[2])))
assert not [name for name in sys.modules if name.split(".")[0] == "senet"]
"""


@pytest.mark.parametrize("network", ["se_resnet20_cifar", "se_resnext50_32x4d"])
def test_a_saved_network_predicts_the_same_where_senet_is_not_imported(tmp_path, network):
    model = senet.create(network, n_blocks=(1, 1, 1) + (1,) * ("resnext" in network), **SMALL)
    randomise(model)
    senet.save(model, tmp_path / "model.keras", class_names=tuple("abcd"))
    np.save(tmp_path / "images.npy", IMAGES)
    files = [str(tmp_path / name) for name in ("model.keras", "images.npy", "out.npy")]
    subprocess.run([sys.executable, "-c", STOCK, *files], check=True, cwd=tmp_path)
    np.testing.assert_array_equal(np.load(files[2]), model.predict_on_batch(IMAGES))


def test_a_network_that_was_fitted_and_saved_by_keras_loads_and_says_what_it_lacks(tmp_path):
    model = senet.create("se_resnet20_cifar", n_blocks=(1, 1, 1), **SMALL)
    randomise(model)
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(IMAGES, np.zeros(len(IMAGES)), verbose=0)
    model.save(tmp_path / "stock.keras")
    with pytest.warns(UserWarning, match="no class names and preprocessing, which model.save"):
        again = senet.load(tmp_path / "stock.keras")
    np.testing.assert_array_equal(outputs(again, IMAGES), outputs(model, IMAGES))
    pixels = np.zeros((40, 40, 3), "uint8")
    for network in (again, tmp_path / "stock.keras"):
        with pytest.raises(
            senet.InputError, match=r"does not say its class names and preproc"
        ) as e:
            senet.predict(network, pixels)
        assert "senet.save(model, path, class_names=..., preprocessing=...)" in str(e.value)
        assert len(str(e.value).splitlines()) == 1
    rule = senet.Preprocessing.of_values("0-1", SMALL["input_shape"][0])
    senet.save(again, tmp_path / "a/b/whole.keras", class_names=tuple("abcd"), preprocessing=rule)
    (named,) = senet.predict(tmp_path / "a/b/whole.keras", pixels, top=4)
    black = outputs(model, np.zeros((1, *SMALL["input_shape"]), "float32"))[0]
    assert dict(named.classes) == pytest.approx(dict(zip("abcd", black, strict=True)), abs=1e-6)
    with pytest.raises(senet.WeightsError, match="is built as the file says: classes cannot be"):
        senet.load(tmp_path / "stock.keras", classes=3)


@pytest.mark.parametrize(
    ("about", "words"),
    [
        (dict(class_names="abcd"), "must be a list of texts"),
        (dict(class_names=(0, 1, 2, 3)), "must be a list of texts"),
        (dict(class_names=5), "must be a list of texts"),
        (dict(class_names=("a", "b")), "one name for each class, and .* has 4 classes; got 2"),
        (dict(class_names=("a", "b", "c", "a")), "has 'a' more than once"),
        (dict(preprocessing="0-1"), "must be a senet.Preprocessing"),
        (dict(preprocessing=senet.Preprocessing(96)), "gives inputs of 96 x 96 x 3, and"),
        (dict(preprocessing={"size": "32"}), "A preprocessing needs a size from 1 to"),
        (dict(preprocessing={"sise": 32}), "Not a record of a preprocessing"),
    ],
)
def test_what_goes_with_a_network_is_checked_when_it_is_saved(tmp_path, about, words):
    model = senet.create("se_resnet20_cifar", n_blocks=(1, 1, 1), **SMALL)
    with pytest.raises(senet.InputError, match=words):
        senet.save(model, tmp_path / "a.keras", **about)
    assert list(tmp_path.iterdir()) == []


def test_weights_for_another_input_size_bring_a_preprocessing_of_that_size(tmp_path):
    size = SMALL["input_shape"][0]
    model = senet.create("se_resnet20_cifar", n_blocks=(1, 1, 1), **SMALL)
    rule = senet.Preprocessing(size, crop_fraction=0.5)
    senet.save(model, tmp_path / "a.keras", class_names=tuple("abcd"), preprocessing=rule)
    larger = senet.load(tmp_path / "a.keras", input_shape=(2 * size, 2 * size, 3))
    assert larger.card.preprocessing == rule.to_json() | {"size": 2 * size}
    assert senet.predict(larger, np.zeros((40, 40, 3), "uint8"))[0].name in "abcd"


def test_other_models_of_keras_load_if_they_are_networks_of_images(tmp_path):
    layers = [keras.Input((32, 32, 3)), keras.layers.Conv2D(4, 3), keras.layers.Flatten()]
    for activation in ("softmax", None, "sigmoid"):
        head = keras.layers.Dense(3, activation=activation)
        model = keras.Sequential([*layers, head])
        model.save(tmp_path / "a.keras")
        with pytest.warns(UserWarning, match="holds no class names"):
            again = senet.load(tmp_path / "a.keras")
        np.testing.assert_array_equal(outputs(again, IMAGES), outputs(model, IMAGES))
        assert again.card.classifier_activation == activation
    again.card = dataclasses.replace(again.card, class_names=("a", "b", "c"))
    again.card = dataclasses.replace(again.card, preprocessing=senet.Preprocessing(32).to_json())
    with pytest.raises(senet.InputError, match="ends in sigmoid"):
        senet.predict(again, np.zeros((40, 40, 3), "uint8"))


def test_a_network_of_keras_keeps_its_own_settings(tmp_path):
    senet.create("se_resnet20_cifar", n_blocks=(1, 1, 1), **SMALL).save(tmp_path / "a.keras")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_dtype_policy("mixed_bfloat16")
    with pytest.warns(UserWarning, match="holds no class names"):
        card = senet.load(tmp_path / "a.keras").card
    assert (card.data_format, card.precision, card.channels) == ("channels_last", "float32", 3)


def test_files_that_senet_did_not_save_are_refused_with_what_to_do(tmp_path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "stock.keras")
    with pytest.raises(ValueError, match=r"a model that is no network of images"):
        senet.load(tmp_path / "stock.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(senet.WeightsError, match=r"text\.keras"):
        senet.load(tmp_path / "text.keras")
    with pytest.raises(FileNotFoundError, match="There is no"):
        senet.load(tmp_path / "missing.keras")


@pytest.mark.parametrize("card", ["{}", "[]", '{"format": 2}', '{"format": 1, "spec": {}}', "{"])
def test_a_broken_card_is_refused(tmp_path, card):
    path = tmp_path / "a.keras"
    senet.create("se_resnet20_cifar", classes=4).save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("senet.json", card)
    with pytest.raises(senet.WeightsError, match=r"a\.keras"):
        senet.load(path)


def test_a_model_made_elsewhere_is_not_saved_without_a_card(tmp_path):
    inputs = keras.Input((4,))
    with pytest.raises(ValueError, match=r"save it with model\.save"):
        senet.save(keras.Model(inputs, keras.layers.Dense(2)(inputs)), tmp_path / "a.keras")


def test_a_failed_save_leaves_the_older_file(tmp_path, monkeypatch):
    model = senet.create("se_resnet20_cifar", **SMALL)
    path = tmp_path / "model.keras"
    senet.save(model, path)
    before = path.read_bytes()
    monkeypatch.setattr(zipfile.ZipFile, "writestr", _disk_full)
    with pytest.raises(OSError, match="No space left"):
        senet.save(model, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def _disk_full(*args, **kwargs):
    raise OSError(28, "No space left on device")


def test_a_network_behind_layers_of_the_user_is_saved_as_it_is_built(tmp_path):
    scaled = keras.layers.Rescaling(0.5)(keras.Input((32, 32, 3)))
    model = senet.create("se_resnet20_cifar", input_tensor=scaled, classes=3)
    senet.save(model, tmp_path / "a.keras")
    again = senet.load(tmp_path / "a.keras")
    assert again.card.spec is None
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


def test_logits_come_back_as_logits(tmp_path):
    model = senet.create("se_resnet20_cifar", classifier_activation=None, **SMALL)
    senet.save(model, tmp_path / "a.keras")
    again = senet.load(tmp_path / "a.keras")
    assert again.card.classifier_activation is None
    assert again.layers[-1].activation is keras.activations.linear


def test_class_names_stay_behind_with_the_classifier(tmp_path):
    model = senet.create("se_resnet20_cifar", **SMALL)
    senet.save(model, tmp_path / "a.keras", class_names=tuple("abcd"), preprocessing={"size": 32})
    with pytest.warns(UserWarning, match="one of 3 classes"):
        again = senet.load(tmp_path / "a.keras", classes=3)
    rule = senet.Preprocessing(32).to_json()
    assert (again.card.class_names, again.card.preprocessing) == (None, rule)
    maps = senet.load(tmp_path / "a.keras", include_top=False)
    assert (maps.card.class_names, maps.card.preprocessing) == (None, rule)
