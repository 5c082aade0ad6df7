"""Networks made of others: those of senet.insert, which no spec describes, and folded ones."""

import json
import zipfile

import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.data.preprocessing import Preprocessing
from senet.deployment.inference import inference_model
from senet.prediction.trained import load_trained
from senet.weights.card import MEMBER
from tests.conftest import randomise

ABOUT = dict(class_names=("a", "b", "c"), preprocessing=Preprocessing(32, 1.0).to_json())


def images(count=3):
    return np.random.default_rng(0).normal(size=(count, 32, 32, 3)).astype("float32")


def outputs(model):
    return keras.ops.convert_to_numpy(model(images(), training=False))


def inserted(activation="softmax"):
    inputs = keras.Input((32, 32, 3))
    x = layers.Rescaling(2.0)(inputs)
    x = keras.Sequential([keras.Input((32, 32, 3)), layers.Conv2D(8, 3, name="in")])(x)
    x = layers.Conv2D(32, 3, strides=4, name="maps")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = x / 6
    outputs = layers.Dense(3, activation)(layers.GlobalAveragePooling2D()(x))
    model = senet.insert(keras.Model(inputs, outputs, name="mine"), where="norm", ratio=4)
    randomise(model)
    return model


@pytest.mark.parametrize("activation", ["softmax", None])
def test_an_inserted_network_is_saved_and_loaded_whole(tmp_path, activation):
    model = inserted(activation)
    model.compile("sgd", "mse")
    model.fit(images(), np.eye(3), verbose=0)
    senet.save(model, tmp_path / "mine.keras", **ABOUT)
    again = senet.load(tmp_path / "mine.keras")
    np.testing.assert_array_equal(outputs(again), outputs(model))
    assert again.card.class_names == ("a", "b", "c")
    assert again.card.classifier_activation == activation
    stock = keras.saving.load_model(tmp_path / "mine.keras")
    np.testing.assert_array_equal(outputs(stock), outputs(model))
    assert len(senet.find_se_blocks(again)) == 1
    senet.save(again, tmp_path / "again.keras")
    np.testing.assert_array_equal(outputs(senet.load(tmp_path / "again.keras")), outputs(model))


SMALL = dict(n_blocks=(1, 2), n_filters=(16, 32), input_shape=(32, 32, 3), classes=3)


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "3x3"])
@pytest.mark.parametrize("all_of_them", [True, False])
def test_a_folded_network_is_saved_loaded_and_trained_like_any_other(
    tmp_path, placement, all_of_them
):
    model = senet.create("se_resnet50", placement=placement, **SMALL)
    randomise(model)
    names = [block.scale for block in senet.find_se_blocks(model)][: None if all_of_them else 1]
    widths = [model.get_layer(name).output.shape[-1] for name in names]
    gates = {n: np.linspace(0.1, 0.9, w) for n, w in zip(names, widths, strict=True)}
    if placement == "identity" and all_of_them:
        gates["stage2_block2_se_scale"] = None  # nothing takes another constant in
    folded = senet.fold_gates(model, gates)
    senet.save(folded, tmp_path / "folded.keras", **ABOUT)
    again = senet.load(tmp_path / "folded.keras")
    np.testing.assert_array_equal(outputs(again), outputs(folded))
    assert again.card.network == "se_resnet50"
    assert again.card.spec.se_at == (() if all_of_them else ("stage2_block1", "stage2_block2"))
    kinds = {name: "dropped" if gate is None else "constant" for name, gate in gates.items()}
    assert again.card.folded == folded.card.folded == kinds
    assert model.card.folded is None
    assert len(senet.find_se_blocks(again)) == (0 if all_of_them else 2)


def test_what_was_folded_can_be_trained(tmp_path):
    model = senet.create("se_resnet50", **SMALL)
    folded = senet.fold_gates(model, {b.scale: None for b in senet.find_se_blocks(model)})
    folded.compile("sgd", "sparse_categorical_crossentropy")
    before = outputs(folded)
    folded.fit(images(), np.arange(3), verbose=0)
    assert np.abs(outputs(folded) - before).max() > 0


def test_only_keras_files_hold_a_graph(tmp_path):
    with pytest.raises(ValueError, match=r"no place for its graph.*\.keras"):
        senet.save(inserted(), tmp_path / "mine.safetensors", **ABOUT)


def test_options_that_would_change_the_graph_are_refused(tmp_path):
    senet.save(inserted(), tmp_path / "mine.keras", **ABOUT)
    with pytest.raises(senet.WeightsError, match="classes cannot be changed"):
        senet.load(tmp_path / "mine.keras", classes=4)
    with pytest.raises(senet.WeightsError, match=r"use senet\.load"):
        senet.create("se_resnet10", weights=tmp_path / "mine.keras")


def test_models_that_do_not_take_images_are_left_to_keras(tmp_path):
    inputs = keras.Input((8,))
    model = keras.Model(inputs, layers.Dense(3)(inputs))
    with pytest.raises(ValueError, match=r"save it with model\.save"):
        senet.save(model, tmp_path / "mine.keras")


def test_what_load_would_refuse_is_not_saved_with_a_card(tmp_path):
    class Mine(layers.Layer):
        def call(self, x):
            return x

    for layer, said in ((Mine(), "Mine"), (layers.Lambda(lambda x: x), "Lambda")):
        inputs = keras.Input((32, 32, 3))
        x = layers.GlobalAveragePooling2D()(layer(layers.Conv2D(8, 3)(inputs)))
        model = keras.Model(inputs, layers.Dense(3)(x), name="mine")
        with pytest.raises(senet.InputError, match=f"'mine' cannot be kept.*{said}.*model.save"):
            senet.save(model, tmp_path / "mine.keras", **ABOUT)
        assert not (tmp_path / "mine.keras").exists()


ENDS = {
    "softmax": (
        *(layers.Dense(3, "softmax", name="end"), layers.Softmax(), layers.Activation("softmax")),
        *(keras.ops.softmax, lambda x: layers.Flatten()(layers.Softmax()(x))),
        keras.Sequential([keras.Input((3,)), layers.Dropout(0.1), layers.Softmax()]),
    ),
    "sigmoid": (layers.Dense(3, "sigmoid", name="end"), layers.Activation("sigmoid")),
    None: (layers.Dense(3, name="end"), layers.Identity(), layers.Reshape((3,))),
}


@pytest.mark.parametrize(("name", "end"), [(name, e) for name, ends in ENDS.items() for e in ends])
def test_what_a_network_ends_in_is_seen_through_what_changes_nothing(tmp_path, name, end):
    inputs = keras.Input((32, 32, 3))
    x = layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3)(inputs)))
    model = keras.Model(inputs, end(x))
    senet.save(model, tmp_path / "mine.keras", **ABOUT)
    assert senet.load(tmp_path / "mine.keras").card.classifier_activation == name


def test_the_commands_read_images_with_channels_last(tmp_path):
    inputs = keras.Input((3, 32, 32))
    x = layers.BatchNormalization(axis=1, name="norm")(inputs)
    x = layers.GlobalAveragePooling2D(data_format="channels_first")(x)
    model = senet.insert(keras.Model(inputs, layers.Dense(3)(x)), 2, "norm")
    senet.save(model, tmp_path / "first.keras", **ABOUT)
    assert senet.load(tmp_path / "first.keras").card.data_format == "channels_first"
    with pytest.raises(senet.InputError, match="channels first, and here they come last"):
        load_trained(tmp_path / "first.keras")
    outer = keras.Input((32, 32, 3))
    last = keras.Model(outer, model(layers.Permute((3, 1, 2))(outer)))
    senet.save(last, tmp_path / "last.keras", **ABOUT)
    load_trained(tmp_path / "last.keras")


def test_weights_that_could_not_be_told_apart_again_are_not_saved(tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = layers.Reshape((8, 8, 4, 12))(inputs)
    x = layers.TimeDistributed(layers.Conv2D(8, 3), name="each")(x)
    x = layers.Dense(3)(layers.GlobalAveragePooling3D()(x))
    model = keras.Model(inputs, x, name="mine")
    with pytest.raises(senet.InputError, match=r"layers within 'each' apart.*model\.save"):
        senet.save(model, tmp_path / "mine.keras", **ABOUT)
    assert not list(tmp_path.iterdir())


def test_what_stands_before_and_in_an_exported_network_keeps_its_values():
    """Augmentation has a type of its own, and a model inside may compute as no graph says."""

    class Own(keras.Model):
        def call(self, x):
            return 2 * super().call(x)

        def get_config(self):
            return {"name": self.name}

        @classmethod
        def from_config(cls, config):
            x = keras.Input((30, 30, 8))
            return cls(x, layers.Conv2D(4, 1)(x), **config)

    inputs = keras.Input((32, 32, 3), dtype="uint8")
    x = layers.Conv2D(8, 3)(layers.RandomFlip()(inputs) - 200)
    x = Own.from_config({"name": "own"})(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), dtype="uint8")
    expected = model.predict_on_batch(pixels)
    np.testing.assert_allclose(inference_model(model).predict_on_batch(pixels), expected, rtol=1e-3)


def test_a_network_with_an_adapted_normalisation_is_saved_and_loaded_whole(tmp_path):
    """It has a counter, and computes with what it works out of its weights."""
    inputs, norm = keras.Input((32, 32, 3)), layers.Normalization()
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, name="maps")(norm(inputs)))
    norm.adapt(5 + 3 * images(8))
    model = senet.insert(keras.Model(inputs, layers.Dense(3)(x)), 2, "maps")
    senet.save(model, tmp_path / "mine.keras", **ABOUT)
    np.testing.assert_array_equal(outputs(senet.load(tmp_path / "mine.keras")), outputs(model))
    np.testing.assert_allclose(outputs(inference_model(model)), outputs(model), atol=1e-6)


def rewritten(path, change):
    """The file with another description of its network."""
    other = path.with_name("other.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == "config.json":
                config = json.loads(content)
                change(config)
                content = json.dumps(config).encode()
            new.writestr(member, content)
    return other


def as_lambda(config):
    layer = config["config"]["layers"][1]
    layer["class_name"] = "Lambda"


def as_module_of_another(config):
    config["config"]["layers"][1]["module"] = "os"


def as_registered(config):
    config["config"]["layers"][1].update(module=None, class_name="Mine", registered_name="a>Mine")


def as_function(config):
    config["config"]["layers"][1].update(module="builtins", class_name="function")


def as_utility(config):
    config["config"]["layers"][1].update(module="keras.utils", class_name="get_file")


def as_reader_of_files(config):
    layer = config["config"]["layers"][1]
    layer.update(class_name="StringLookup", config=dict(vocabulary="/etc/passwd"))


def without_layers(config):
    config["config"]["layers"] = 3


@pytest.mark.parametrize(
    "change",
    [
        *(as_lambda, as_module_of_another, as_registered, as_function, as_utility),
        *(as_reader_of_files, without_layers),
    ],
)
def test_a_description_that_could_run_code_or_read_files_is_refused(tmp_path, change):
    senet.save(inserted(), tmp_path / "mine.keras", **ABOUT)
    other = rewritten(tmp_path / "mine.keras", change)
    with pytest.raises(senet.WeightsError, match="its network cannot be built"):
        senet.load(other)


def test_arrays_that_do_not_fit_the_graph_are_refused(tmp_path):
    path = tmp_path / "mine.keras"
    senet.save(inserted(), path, **ABOUT)

    def wider(config):
        config["config"]["layers"][-1]["config"]["units"] = 4

    def steeper(config):
        layer = next(part for part in config["config"]["layers"] if part["class_name"] == "Conv2D")
        layer["config"]["kernel_size"] = [1, 1]

    with pytest.raises(senet.WeightsError, match=r"its outputs are \(None, 4\), not those of its"):
        senet.load(rewritten(path, wider))
    with pytest.raises(senet.WeightsError, match="of another shape"):
        senet.load(rewritten(path, steeper))
    with zipfile.ZipFile(path) as archive:
        assert json.loads(archive.read(MEMBER))["spec"] is None
