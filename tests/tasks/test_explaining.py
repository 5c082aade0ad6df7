import json

import keras
import numpy as np
import pytest

import senet
from senet.cli.explain import command
from senet.data.sources import load_data
from senet.evaluation import evaluate
from senet.explanation.explaining import explain as explain_gates
from senet.tasks import explaining
from tests.conftest import make_photos, randomise

SMALL = dict(n_blocks=(1, 2), n_filters=(8, 16), ratio=4, input_shape=(32, 32, 3))


def make_network(file, classes=("circle", "square"), **options):
    """A network with random weights in a file, with all that the commands need."""
    model = senet.create("se_resnet50", **SMALL | options, classes=len(classes))
    randomise(model)
    senet.save(model, file, class_names=classes, preprocessing=senet.Preprocessing(32))
    return file


@pytest.fixture
def photos(tmp_path):
    return make_photos(tmp_path / "photos", 12)


def test_a_notebook_sees_profile_and_findings_and_may_save_them(tmp_path, photos):
    model = senet.load(make_network(tmp_path / "net.keras"))
    found = senet.explain(model, photos)
    assert (found.images, found.folder) == (24, None)
    assert list(found.blocks) == [row["block"] for row in found.profile]
    assert [finding.claim.split()[0] for finding in found.findings] == ["Early", "Deeper", "Some"]
    text = repr(found)
    for part in ("between classes", "stage2_block2", *map(str, found.findings)):
        assert part in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.keras", "photos"]
    found.save(tmp_path / "new" / "inside")
    numbers = json.loads((tmp_path / "new" / "inside" / "gates.json").read_text())
    assert numbers["profile"] == found.profile
    assert not {"out", "deletion"} & set(found.to_json())


def test_what_is_written_says_whether_its_heat_maps_beat_random_ones(tmp_path, photos):
    found = senet.explain(make_network(tmp_path / "net.keras"), photos, out=tmp_path / "inside")
    assert found.deletion.images == 24
    assert str(found.deletion) in str(found)
    numbers = json.loads((tmp_path / "inside" / "gates.json").read_text())
    assert numbers["deletion"] == found.to_json()["deletion"] == found.deletion.to_json()
    assert found.deletion.found in (tmp_path / "inside" / "explain.html").read_text()


def test_a_network_whose_maps_cannot_be_read_is_explained_without_heat(tmp_path, photos):
    """Two ways to the classes, neither of which all go through."""
    image = keras.Input((32, 32, 3))
    ways = []
    for _ in range(2):
        x = keras.layers.Conv2D(8, 3, padding="same")(image)
        gate = keras.layers.Dense(8, "sigmoid")(keras.layers.GlobalAveragePooling2D()(x))
        x = keras.layers.Multiply()([x, keras.layers.Reshape((1, 1, 8))(gate)])
        ways.append(keras.layers.GlobalAveragePooling2D()(x))
    output = keras.layers.Dense(2, "softmax")(keras.layers.Concatenate()(ways))
    names = dict(class_names=("circle", "square"), preprocessing=senet.Preprocessing(32))
    senet.save(keras.Model(image, output), tmp_path / "net.keras", **names)
    found = senet.explain(tmp_path / "net.keras", photos, out=tmp_path / "inside")
    page = (tmp_path / "inside" / "explain.html").read_text()
    assert found.deletion is None
    assert "There are no heat maps: No layer of" in page
    for untrue in ("Grad-CAM", "what spoke for the predicted class"):
        assert untrue not in page
    assert {path.stem for path in (tmp_path / "inside").glob("*.svg")} == {
        *("profile", "classes", "within")
    }
    assert any((tmp_path / "inside" / f"{name}.png").is_file() for name in ("correct", "mistakes"))


@pytest.mark.parametrize(
    "options",
    [
        *(dict(placement=place) for place in ("standard", "pre", "post", "identity", "3x3")),
        dict(squeeze="none"),
        dict(excitation="tanh"),
        dict(excitation="relu"),
    ],
    ids=lambda options: "-".join(options.values()),
)
def test_networks_of_every_placement_and_excitation_are_explained(tmp_path, photos, options):
    found = senet.explain(
        make_network(tmp_path / "net.keras", **options), photos, out=tmp_path / "inside"
    )
    assert found.folder == tmp_path / "inside"
    assert (found.folder / "explain.html").is_file()
    assert all(0 <= row["specificity"] <= 1 for row in found.profile)


def test_se_blocks_that_were_inserted_are_explained(tmp_path, photos):
    inputs = keras.Input((32, 32, 3))
    x = inputs
    for i in range(2):
        x = keras.layers.Conv2D(16, 3, activation="relu", name=f"maps{i}")(x)
    outputs = keras.layers.Dense(2, activation="softmax")(keras.layers.GlobalAveragePooling2D()(x))
    model = senet.insert(keras.Model(inputs, outputs), where="maps*")
    names = ("circle", "square")
    file = tmp_path / "net.keras"
    senet.save(model, file, class_names=names, preprocessing=senet.Preprocessing(32))
    found = senet.explain(file, photos, out=tmp_path / "inside")
    assert len(found.blocks) == 2
    assert all(row["mean"] == pytest.approx(1) for row in found.profile)  # not trained yet


def test_of_many_classes_a_sample_is_looked_at_and_said(tmp_path, photos, monkeypatch):
    classes = ("circle", "emu", "fox", "gnu", "square")
    images = make_photos(tmp_path / "five", 4, classes)
    file = make_network(tmp_path / "net.keras", classes)
    monkeypatch.setattr(
        "senet.explanation.explaining.sample_classes",
        lambda labels: np.unique(labels)[[0, 2, 4]],
    )
    found = senet.explain(file, images, out=tmp_path / "inside")
    page = (tmp_path / "inside" / "explain.html").read_text()
    for said in ("3 of 5 classes were looked at.", "12 of 20 images were looked at, of each class"):
        assert said in repr(found)
        assert said in page
    assert found.to_json()["classes"] == ["circle", "fox", "square"]
    block = next(iter(found.blocks.values()))
    assert block.count.tolist() == [4, 4, 4]
    with_gnu = senet.explain(file, images, classes="gnu")  # it is asked for
    assert with_gnu.to_json()["classes"] == ["circle", "fox", "gnu", "square"]
    assert list(with_gnu.explanation.shown_names.values()) == ["gnu"]


def test_what_cannot_be_explained_is_refused_and_nothing_is_written(tmp_path, photos):
    plain = senet.create("resnet10", **SMALL | dict(ratio=None), classes=2)
    file = tmp_path / "plain.keras"
    names = ("circle", "square")
    senet.save(plain, file, class_names=names, preprocessing=senet.Preprocessing(32))
    out = tmp_path / "inside"
    with pytest.raises(senet.InputError, match=r"senet\.insert adds them"):
        senet.explain(file, photos, out=out)
    file = make_network(tmp_path / "net.keras")
    with pytest.raises(senet.InputError, match="images must be a whole number"):
        senet.explain(file, photos, out=out, images=0)
    with pytest.raises(senet.InputError, match="Of square no image is among the 1 that are looked"):
        senet.explain(file, photos, out=out, images=1, classes=["square"])
    assert not out.exists()


def test_of_two_classes_of_one_name_the_one_is_drawn_that_has_images(tmp_path):
    photos = make_photos(tmp_path / "photos", 6, ("crane", "emu"))
    names = ("crane", "emu", "gnu")
    model = senet.load(make_network(tmp_path / "net.keras", names))
    source = load_data(str(photos), split=False).split("all")
    moved = source.take(np.arange(len(source)))
    moved.labels[:] = np.where(source.labels == 0, 2, 1)  # the other crane
    names, rule = ("crane", "emu", "crane"), senet.Preprocessing(32)
    found = explain_gates(model, moved, rule, names, images=100, shown=["crane"])
    assert list(found.shown_names.values()) == ["crane (2)"]


def test_gates_that_are_no_finite_numbers_are_refused(tmp_path, photos):
    model = senet.load(make_network(tmp_path / "net.keras"))
    layer = model.get_layer("stage2_block1_se_excite")
    layer.set_weights([weight * np.nan for weight in layer.get_weights()])
    out = tmp_path / "inside"
    with pytest.raises(senet.InputError, match="stage2_block1_se_scale are no finite numbers"):
        senet.explain(model, photos, out=out)
    assert not out.exists()


def test_the_page_says_what_kind_of_gates_they_are(tmp_path, photos):
    for options, said in (
        (dict(excitation="relu"), "A ReLU has no largest value"),
        (dict(excitation="tanh"), "Here gates reach from -1 to 1."),
        (dict(squeeze="none"), "their mean counts"),
    ):
        file = make_network(tmp_path / "net.keras", **options)
        senet.explain(file, photos, out=tmp_path / "inside")
        assert said in (tmp_path / "inside" / "explain.html").read_text()


def test_the_command_looks_at_as_many_images_as_the_function():
    (option,) = (option for option in command.params if option.name == "images")
    assert option.default == explaining.IMAGES


def test_a_class_whose_images_are_all_damaged_is_not_drawn(tmp_path, photos):
    for file in (photos / "circle").iterdir():
        file.write_bytes(b"no image")
    found = senet.explain(make_network(tmp_path / "net.keras"), photos, out=tmp_path / "inside")
    assert found.to_json()["classes"] == ["square"]
    assert list(found.explanation.shown_names.values()) == ["square"]
    with pytest.raises(senet.InputError, match="No image of circle can be read"):
        senet.explain(tmp_path / "net.keras", photos, classes=["circle"])
    assert [finding.answer for finding in found.findings[:2]] == ["cannot be said"] * 2
    assert any("cannot be read" in line or "could not" in line for line in found.warnings)


def test_the_gates_of_a_network_are_looked_at_in_the_pass_that_scores_it(tmp_path, photos):
    model = senet.load(make_network(tmp_path / "net.keras"))
    data = load_data(str(photos), split=False)
    given = model, data.split("all"), senet.Preprocessing(32)
    found = explain_gates(*given, data.class_names, images=100)
    expected = evaluate(*given, data.class_names)
    np.testing.assert_allclose(
        found.evaluation.probabilities, expected.probabilities, atol=1e-6, rtol=1e-5
    )
