"""Networks made by `senet.insert` in the commands."""

import json

import keras
import numpy as np
import pytest
from keras import layers

import senet as package
from tests.cli.test_commands import senet
from tests.conftest import make_photos

CLASSES = ("circle", "square")


def application():
    return keras.applications.MobileNet(
        weights=None, input_shape=(32, 32, 3), alpha=0.25, classes=2
    )


def family():
    return package.create("resnet10", classes=2, input_shape=(32, 32, 3))


def nested():
    """A backbone in inference mode behind augmentation, and a head, as in fine-tuning."""
    inner = keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), alpha=0.35, include_top=False
    )
    x = keras.Input((32, 32, 3))
    y = inner(2 * layers.RandomFlip()(x) - 1.0, training=False)
    y = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(y))
    return keras.Model(x, layers.Dense(2, activation="softmax")(y), name="fine_tuned")


def mixed():
    keras.config.set_dtype_policy("mixed_bfloat16")
    return package.create("resnet10", classes=2, input_shape=(32, 32, 3))


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs")
    make_photos(folder, 12, CLASSES)
    return folder


@pytest.mark.parametrize("plain", [application, family, nested, mixed])
def test_an_inserted_network_goes_through_the_commands(tmp_path, photographs, plain):
    made, path = package.insert(plain(), ratio=4), tmp_path / "made.keras"
    blocks = [block.scale for block in package.find_se_blocks(made)]
    rng = np.random.default_rng(0)
    for layer in made.get_layer("mobilenetv2_0.35_32").layers if plain is nested else made.layers:
        if layer.name.endswith("_se_excite"):  # gates that vary
            layer.kernel.assign(rng.normal(size=layer.kernel.shape).astype("float32"))
    rule = package.Preprocessing.of_values("0-1", 32)
    package.save(made, path, class_names=CLASSES, preprocessing=rule)

    def result(*args):
        done = senet(*args, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    scored = result("evaluate", path, "--data", photographs)
    assert scored["images"] == 24
    predicted = senet("predict", photographs / "circle", "--model", path, cwd=tmp_path)
    assert predicted.returncode == 0
    assert len([line for line in predicted.stdout.splitlines() if "%" in line]) == 12
    told = senet("info", path, cwd=tmp_path)
    assert told.returncode == 0
    assert f"{made.count_params():,}" in told.stdout
    explained = result("explain", path, "--data", photographs, "--out", tmp_path / "inside")
    assert explained["images"] == 24
    profile = json.loads((tmp_path / "inside/gates.json").read_text())["profile"]
    assert [row["block"] for row in profile] == blocks
    assert all(row["ends"] == [0, 2] for row in profile)
    assert max(row["variation"] for row in profile) > 1e-5
    exported = result(
        *("export", path, "--format", "onnx", "--data", photographs, "--out", tmp_path / "onnx")
    )
    assert exported["agreement"] == 1
    again = result("evaluate", tmp_path / "onnx", "--data", photographs)
    assert again["top1"] == pytest.approx(scored["top1"], abs=0.1 if plain is mixed else 0)
    assert again["loss"] == pytest.approx(scored["loss"], rel=0.05 if plain is mixed else 1e-3)
