import numpy as np
import pytest

import senet
from senet import references
from senet.applications import outline
from senet.recipes.recipe import Recipe
from senet.recipes.resolving import locate_paths
from senet.weights import catalogue, hub
from senet.weights.catalogue import Published
from tests.conftest import outputs

NARROW = dict(n_filters=(16, 16, 16, 16), n_blocks=(1, 1, 1, 1), input_shape=(64, 64, 3), classes=2)


@pytest.fixture
def run(tmp_path):
    """A folder with a network in it, as `senet train` leaves one."""
    (tmp_path / "sign").mkdir()
    model = senet.create("se_resnet10", **NARROW)
    senet.save(model, tmp_path / "sign/model.keras", class_names=("cat", "dog"))
    return tmp_path / "sign", model


def test_a_run_folder_is_its_network(run, monkeypatch):
    folder, model = run
    assert references.locate_weights(folder) == folder / "model.keras"
    again = senet.load(folder)
    assert again.card.class_names == ("cat", "dog")
    built = senet.create("se_resnet10", weights=folder, **NARROW)
    image = np.full((1, 64, 64, 3), 0.5, "float32")
    for other in (again, built):
        assert (outputs(other, image) == outputs(model, image)).all()
    monkeypatch.chdir(folder.parent)
    assert senet.load("sign").name == "se_resnet10"


def test_published_weights_have_one_name(monkeypatch):
    row = catalogue.published("se_resnet50", "ra2_in1k")
    assert references.locate_weights("se_resnet50.ra2_in1k") is row
    assert references.locate_weights("se_resnet50.imagenet") is row
    assert references.locate_weights("imagenet", "se_resnet50") is row
    assert all(
        isinstance(references.locate_weights(name), Published) for name in senet.list_weights()
    )
    monkeypatch.setattr(hub, "fetch", lambda _: pytest.fail("it was downloaded"))
    card = references.read_card("se_resnet50.a3_in1k")
    assert (card.network, card.input_shape, card.classes) == ("se_resnet50", (160, 160, 3), 1000)
    assert card.preprocessing["crop_fraction"] == 0.95
    assert card.spec.se_bias
    with pytest.raises(senet.InputError, match="are weights of se_resnet50, not of se_resnet101"):
        senet.create("se_resnet101", weights="se_resnet50.ra2_in1k")


def test_a_folder_of_the_name_of_a_tag_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet/val").mkdir(parents=True)  # the images, as people keep them
    (tmp_path / "se_resnet50").mkdir()
    row = catalogue.published("se_resnet50", "imagenet")
    assert references.locate_weights("imagenet", "se_resnet50") is row
    recipe = locate_paths(Recipe.preset("finetune", data="imagenet"))
    assert (recipe.weights, recipe.model) == ("imagenet", "se_resnet50")
    with pytest.raises(senet.NotFoundError, match="no run folder"):
        references.locate_weights("./imagenet", "se_resnet50")
    assert senet.complexity(outline("se_resnet50")).trainable_parameters == 28_071_976


def test_a_file_comes_before_a_tag_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "se_resnet50.imagenet").write_bytes(b"x")
    assert references.locate_weights("se_resnet50.imagenet").name == "se_resnet50.imagenet"


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("se_resnet50", "is the name of a network: 'se_resnet50.imagenet' names its published"),
        ("se_resnet10", "no weights are published for it: name a run folder or a file"),
        ("se_resnet50.ra9_in1k", "no weights 'ra9_in1k' for se_resnet50 and no file of that name"),
        ("se_resnet10.imagenet", "No weights are published for 'se_resnet10'"),
        ("se_resnet50.keras", "no run folder or weights file"),
        ("nowhere/pets", "no run folder or weights file 'nowhere/pets'"),
        ("", "Weights are named by a tag such as 'imagenet', a run folder or the path of a file"),
        ("empty", "holds no model.keras: it is no run folder"),
        ("begun", "ended before the first epoch was over; --resume begun goes on"),
        ("exported", "is an exported network: name the run or the .keras file"),
    ],
)
def test_what_stands_for_nothing_is_said(where, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, file in (("empty", "a.txt"), ("begun", "run.json"), ("exported", "senet.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
    for use in (senet.load, references.read_card):
        with pytest.raises(senet.Error, match=words):
            use(where)
