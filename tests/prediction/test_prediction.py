import json
import shutil
import unicodedata
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import senet
from senet.data.preprocessing import Preprocessing
from senet.prediction.predicting import Named, predict_each
from senet.prediction.scoring import score
from senet.prediction.trained import Trained, load_trained
from senet.weights import imagenet
from senet.weights.card import MEMBER
from tests.conftest import make_photos


@pytest.fixture(scope="module")
def validation(tmp_path_factory):
    """A folder for each class of ImageNet; the colour of its images is the index of the class."""
    folder = tmp_path_factory.mktemp("imagenet")
    for i, (synset, _) in enumerate(imagenet.classes()):
        (folder / synset).mkdir()
        for j in range(3):
            color = (i % 250, i // 250, 0)
            Image.new("RGB", (8, 8), color).save(folder / synset / f"{j}.png")
    return folder


@pytest.mark.parametrize("record", ["abc", dict(seed=0), ["\x1b[31m" * 10_000], 3])
def test_a_damaged_record_of_the_training_is_named_where_it_is_needed_and_only_there(
    photos, tmp_path, record
):
    model = senet.create(
        "se_resnet10", n_blocks=(1,), n_filters=(16,), input_shape=(32, 32, 3), classes=2
    )
    about = dict(class_names=("circle", "square"), preprocessing=Preprocessing(32).to_json())
    file = tmp_path / "model.keras"
    senet.save(model, file, **about, trained_on=record)
    trained = load_trained(file)
    photo = str(photos / "circle" / "00.png")
    (prediction,) = predict_each(trained, [Named(photo, photo)])
    assert prediction.classes
    with pytest.raises(ValueError, match="record of the images it was trained on") as error:
        score(trained, str(photos))
    assert repr(str(file)) in str(error.value)
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()


@pytest.mark.parametrize("field", ["card", "preprocessing"])
def test_foreign_texts_of_a_card_are_shown_short_and_clean(tmp_path, field):
    narrow = dict(n_blocks=(1,), n_filters=(16,), input_shape=(32, 32, 3), classes=2)
    model = senet.create("se_resnet10", **narrow)
    hostile = {"\x1b[31m" * 10_000: 1}
    about = dict(class_names=("a", "b"), preprocessing=Preprocessing(32).to_json())
    file = tmp_path / "model.keras"
    senet.save(model, file, **about)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    damage = hostile if field == "card" else dict(preprocessing=hostile)
    members[MEMBER] = json.dumps(json.loads(members[MEMBER]) | damage).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match=r"model\.keras") as error:
        load_trained(file)
    assert len(str(error.value)) < 1000
    assert str(error.value).isprintable()


def seer():
    """A network that reads the class off the colour; wrong for one class in ten."""
    inputs = keras.Input((8, 8, 3))
    pixel = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(1000, "softmax")(pixel))
    kernel, bias = np.zeros((3, 1000)), np.zeros(1000)
    for i in range(1000):
        red, green = (i % 250) / 255, (i // 250) / 255
        if i % 10 == 0:
            red, green = 5, 5
        kernel[:2, i] = 2 * red, 2 * green
        bias[i] = -(red**2) - green**2
    model.layers[-1].set_weights([1e6 * kernel, 1e6 * bias])
    return Trained(
        model, imagenet.class_names(), Preprocessing(8, 1.0, mean=(0, 0, 0), std=(1, 1, 1))
    )


def test_folders_called_by_wordnet_ids_are_the_classes_of_imagenet(validation):
    evaluation, about = score(seer(), str(validation))
    assert about["split"] == "all"
    assert len(evaluation.labels) == 3000
    assert evaluation.top1 == pytest.approx(0.9)


def redness():
    """A network that takes the redder half of images for circles and the others for squares."""
    inputs = keras.Input((8, 8, 3))
    pixel = keras.layers.GlobalAveragePooling2D()(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(pixel))
    model.layers[-1].set_weights([np.array([[9.0, 0], [0, 0], [0, 9.0]]), np.zeros(2)])
    plain = Preprocessing(8, 1.0, mean=(0, 0, 0), std=(1, 1, 1))
    return Trained(model, ("circle", "square"), plain)


def test_a_single_image_of_each_class_is_enough_to_score(tmp_path):
    folder = make_photos(tmp_path / "data", 1)
    for split in (None, "all"):
        evaluation, about = score(redness(), str(folder), split)
        assert (len(evaluation.labels), about["split"]) == (2, "all")
    with pytest.raises(ValueError, match="cannot be split"):
        score(redness(), str(folder), "test")


def test_images_that_cannot_be_read_are_left_out_of_the_score_and_named(photos):
    (photos / "circle" / "03.png").write_text("no image")
    (photos / "square" / "00.png").write_bytes(b"")
    evaluation, _ = score(redness(), str(photos), batch_size=5)
    assert evaluation.skipped == {
        "circle/03.png": "Not a JPEG, PNG, WEBP, BMP, GIF, TIFF image.",
        "square/00.png": "The file is empty: copy it again.",
    }
    assert evaluation.warnings == [
        "2 of 24 images cannot be read and do not count: circle/03.png: Not a JPEG, PNG, WEBP, "
        "BMP, GIF, TIFF image; square/00.png: The file is empty: copy it again."
    ]
    apart = evaluation.set_apart({"circle/00.png"})
    assert apart.warnings == evaluation.warnings
    assert apart.trained_on.warnings == []
    assert len(evaluation.names) == len(evaluation.labels) == len(evaluation.probabilities) == 22
    assert not set(evaluation.names) & set(evaluation.skipped)
    labels = [name.startswith("square") for name in evaluation.names]
    assert evaluation.labels.tolist() == labels
    assert evaluation.top1 == 1.0
    assert evaluation.summary()["skipped"] == 2
    assert evaluation.summary()["images"] == 22


def test_nothing_readable_is_no_score(photos):
    for path in photos.rglob("*.png"):
        path.write_text("no image")
    with pytest.raises(ValueError, match=r"None of the 24 images can be read: circle/00\.png"):
        score(redness(), str(photos))


def test_other_folders_are_refused_in_a_line_of_bearable_length(validation, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / name / f"{i}.png")
    with pytest.raises(ValueError, match=r"n01440764, .* and 980 more; .* has cat, dog"):
        score(seer(), str(tmp_path))


def test_classes_are_matched_by_name_and_some_of_them_will_do(tmp_path):
    network = redness()
    backwards = Trained(network.model, ("zebra", "circle"), network.preprocessing)
    for classes, right in ((("circle",), 1.0), (("square",), 1.0), (("circle", "square"), 1.0)):
        folder = make_photos(tmp_path / "-".join(classes), 6, ("circle", "square"))
        for name in {"circle", "square"} - set(classes):
            shutil.rmtree(folder / name)
        evaluation, _ = score(network, str(folder))
        assert evaluation.class_names == ("circle", "square")
        assert evaluation.top1 == right
        assert [row["images"] for row in evaluation.per_class] == [
            6 * (name in classes) for name in ("circle", "square")
        ]
    evaluation, _ = score(backwards, str(tmp_path / "circle"))
    assert evaluation.labels.tolist() == [1] * 6
    assert evaluation.top1 == 0.0
    with pytest.raises(ValueError, match=r"knows the classes zebra, circle; .* has square, which"):
        score(backwards, str(tmp_path / "circle-square"))


def test_classes_of_a_network_in_decomposed_letters_are_those_of_the_folders(tmp_path):
    network = redness()
    decomposed = unicodedata.normalize("NFD", "Käse")
    network = Trained(network.model, ("circle", decomposed), network.preprocessing)
    folder = make_photos(tmp_path / "data", 6)
    (folder / "square").rename(folder / unicodedata.normalize("NFC", "Käse"))
    evaluation, _ = score(network, str(folder))
    assert evaluation.labels.tolist() == [1] * 6 + [0] * 6
    assert evaluation.top1 == 1.0


def test_a_class_map_gives_folders_the_names_that_the_network_knows(tmp_path):
    folder = make_photos(tmp_path / "data", 3, ("Kreis", "Quadrat"))
    (tmp_path / "map.csv").write_text("label,name\nKreis,circle\nQuadrat,square\n")
    evaluation, _ = score(redness(), str(folder), class_map=tmp_path / "map.csv")
    assert (evaluation.top1, len(evaluation.labels)) == (1.0, 6)
    with pytest.raises(ValueError, match="rename them with a class map"):
        score(redness(), str(folder))


def test_images_of_a_test_alone_can_be_scored(tmp_path):
    make_photos(tmp_path / "data" / "test", 4)
    (tmp_path / "data" / "readme.txt").write_text("only a test")
    make_photos(tmp_path / "data" / "val", 2)
    evaluation, about = score(redness(), str(tmp_path / "data"))
    assert (len(evaluation.labels), about["split"]) == (8, "test")
    with pytest.raises(ValueError, match="no split 'train' in this data"):
        score(redness(), str(tmp_path / "data"), "train")


def test_a_network_of_the_family_without_weights_is_answered_with_its_tags():
    with pytest.raises(ValueError, match=r"'se_resnet50.imagenet' names its published weights"):
        load_trained("se_resnet50")
