import json

import keras
import numpy as np
import pytest

import senet
from tests.conftest import make_photos, outputs
from tests.tasks.test_explaining import make_network

BLOCKS = tuple(f"stage{s}_block{b}_se_scale" for s, b in ((1, 1), (2, 1), (2, 2)))


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return make_photos(tmp_path_factory.mktemp("images") / "photos", 20)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    return make_network(tmp_path_factory.mktemp("network") / "net.keras")


@pytest.fixture(scope="module")
def some_folded(network, photos, tmp_path_factory):
    """Two of three gates, folded into a file."""
    out = tmp_path_factory.mktemp("out") / "new" / "folded.keras"
    return senet.fold(network, out, data=photos, blocks="stage2_*", max_drop=100)


def test_a_notebook_sees_what_each_gate_is_worth_and_may_save_it(network, photos, tmp_path):
    model = senet.load(network)
    found = senet.fold(model, data=photos, max_drop=100)
    assert [worth.block for worth in found.worth] == list(BLOCKS)
    assert set(found.folded) == set(BLOCKS)
    assert senet.find_se_blocks(found.model) == []
    assert len(senet.find_se_blocks(model)) == 3
    assert found.difference.points == pytest.approx(100 * (found.top1 - found.top1_before))
    assert found.file is None
    assert "each gate alone" in repr(found)
    found.save(tmp_path / "new" / "folded.keras")
    assert {path.name for path in (tmp_path / "new").iterdir()} == {
        *("folded.keras", "folded.json", "folded.png")
    }
    found.save(tmp_path / "new" / "folded.keras")  # an earlier one is replaced


def test_the_file_is_a_plain_network_that_says_which_gates_went(network, some_folded):
    file = some_folded.file
    numbers = json.loads(file.with_suffix(".json").read_text())
    assert numbers == some_folded.to_json()
    assert set(numbers["folded"]) == set(BLOCKS[1:])
    assert numbers["test"]["images_lost"] >= 0
    low, high = numbers["test"]["interval_points"]
    assert low <= -numbers["test"]["drop"] <= high
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    again = senet.load(file)
    assert again.card.folded == numbers["folded"]
    assert again.card.class_names == senet.load(network).card.class_names
    assert [block.scale for block in senet.find_se_blocks(again)] == [BLOCKS[0]]
    x = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    stock = keras.saving.load_model(file, compile=False)
    np.testing.assert_array_equal(outputs(stock, x), outputs(some_folded.model, x))
    np.testing.assert_array_equal(outputs(again, x), outputs(some_folded.model, x))


def test_the_file_is_evaluated_exported_quantised_explained_and_folded_again(
    some_folded, photos, tmp_path
):
    file = some_folded.file
    assert senet.evaluate(file, data=photos, split="test").top1 == some_folded.top1
    senet.export(file, tmp_path / "openvino", data=photos)
    small = senet.quantize(file, tmp_path / "int8", data=photos, images=10, max_drop=100)
    assert small.top1_before == some_folded.top1
    explained = senet.explain(file, photos)
    assert list(explained.blocks) == [BLOCKS[0]]
    gone = ", ".join(name.removesuffix("_se_scale") for name in some_folded.folded)
    assert f"2 gates were folded away and are not shown: {gone}." in explained.warnings
    rest = senet.fold(file, tmp_path / "rest.keras", data=photos, max_drop=100)
    assert rest.folded == (BLOCKS[0],)
    assert set(senet.load(rest.file).card.folded) == set(BLOCKS)
    for use in (senet.explain, lambda *given: senet.fold(given[0], data=given[1])):
        with pytest.raises(senet.InputError, match=r"has no gates left: .* took away all 3\."):
            use(rest.file, photos)


def test_inserted_gates_that_learned_nothing_fold_away_to_the_network_as_it_was(photos, tmp_path):
    x = keras.Input((32, 32, 3))
    y = keras.layers.Conv2D(8, 3, strides=2, activation="relu6", name="maps")(x)
    y = keras.layers.DepthwiseConv2D(3, name="depthwise")(y)
    y = keras.layers.GlobalAveragePooling2D()(y)
    plain = keras.Model(x, keras.layers.Dense(2, "softmax")(y), name="plain")
    rule = senet.Preprocessing.of_values("0-1", 32)
    about = dict(class_names=("circle", "square"), preprocessing=rule)
    senet.save(senet.insert(plain, 4, ["maps", "depthwise"]), tmp_path / "se.keras", **about)
    found = senet.fold(tmp_path / "se.keras", tmp_path / "folded.keras", data=photos, max_drop=0)
    assert len(found.folded) == 2
    assert found.difference.points == 0
    for worth in found.worth:
        assert worth.mean == worth.dropped  # the gates are 1
    again = senet.load(found.file)
    assert [layer.name for layer in again.layers[1:]] == [layer.name for layer in plain.layers[1:]]
    images = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    np.testing.assert_array_equal(outputs(again, images), outputs(plain, images))
    assert found.steps[-1].cost.multiply_adds == senet.complexity(plain).multiply_adds


def test_a_network_without_gates_is_refused_in_a_line(photos, tmp_path):
    model = senet.create("resnet10", input_shape=(32, 32, 3), classes=2)
    about = dict(class_names=("circle", "square"), preprocessing=senet.Preprocessing(32))
    senet.save(model, tmp_path / "plain.keras", **about)
    message = r"'resnet10' has no squeeze-and-excitation blocks.*senet\.insert adds them"
    with pytest.raises(senet.InputError, match=message):
        senet.fold(tmp_path / "plain.keras", tmp_path / "out.keras", data=photos)
    assert not (tmp_path / "out.keras").exists()


def test_a_network_of_logits_keeps_its_name(photos, tmp_path):
    file = make_network(tmp_path / "net.keras", classifier_activation=None)
    found = senet.fold(file, data=photos, max_drop=np.float32(100))
    assert found.model.name == found.model.card.name == "se_resnet50"
    assert set(found.folded) == set(BLOCKS)


@pytest.mark.parametrize("taken", ["folded.keras", "folded.json", "folded.png"])
def test_what_is_no_folding_is_not_replaced(network, photos, tmp_path, taken):
    (tmp_path / taken).write_bytes(b"mine")
    with pytest.raises(senet.ExistsError, match=taken):
        senet.fold(network, tmp_path / "folded.keras", data=photos)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {taken: b"mine"}


def test_a_network_with_folded_gates_that_was_saved_otherwise_is_not_replaced(
    network, some_folded, photos, tmp_path
):
    file = tmp_path / "best.keras"
    senet.save(some_folded.model, file)  # as one that was trained on
    assert senet.load(file).card.folded
    before = file.read_bytes()
    for numbers in (None, "{}", json.dumps(some_folded.to_json() | dict(out="other.keras"))):
        if numbers is not None:
            file.with_suffix(".json").write_text(numbers)
        with pytest.raises(senet.ExistsError, match=r"best\.keras"):
            senet.fold(network, file, data=photos)
        assert file.read_bytes() == before


def test_where_nothing_can_be_written_is_said_before_the_work(
    network, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr("senet.tasks.folding.measure_folding", None)
    (tmp_path / "file.txt").touch()
    with pytest.raises(OSError, match=r"No file can be written in .*file\.txt': Not a directory"):
        senet.fold(network, tmp_path / "file.txt" / "folded.keras", data=photos)


def test_what_fails_half_way_leaves_the_earlier_folding_as_it_was(
    some_folded, tmp_path, monkeypatch
):
    some_folded.save(tmp_path / "new" / "folded.keras")
    before = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}

    def fail(*given, **options):
        raise OSError("no space")

    monkeypatch.setattr("senet.tasks.folding.write_json", fail)
    for folder in ("new", "other"):
        with pytest.raises(OSError, match="no space"):
            some_folded.save(tmp_path / folder / "folded.keras")
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == before
    assert not (tmp_path / "other").exists()


def test_a_network_is_not_folded_onto_itself(some_folded, photos):
    before = some_folded.file.read_bytes()
    with pytest.raises(senet.InputError, match="is what is to be folded: name another file"):
        senet.fold(some_folded.file, some_folded.file, data=photos)
    assert some_folded.file.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(out="folded"), r"ends in \.keras; got 'folded'"),
        (dict(max_drop=101), "max_drop must be a number of percentage points, 0 to 100; got 101"),
        (dict(max_drop=True), "max_drop must be a number of percentage points"),
        (dict(images=9), "images must be a whole number of at least 10"),
        (dict(batch_size=0), "batch_size must be"),
        (dict(blocks=["stage9"]), "No block is called stage9; the blocks of 'se_resnet50' are"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(network, photos, options, message):
    with pytest.raises(senet.InputError, match=message):
        senet.fold(network, data=photos, **options)
