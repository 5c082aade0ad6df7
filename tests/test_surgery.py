import keras
import numpy as np
import pytest
from keras import layers

import senet

NAMES = ("cat", "dog", "owl")


def network(name="resnet18", **options):
    model = senet.create(name, classes=3, input_shape=(32, 32, 3), **options)
    rule = senet.Preprocessing.of_values("0-1", 32)
    return model, dict(class_names=NAMES, preprocessing=rule)


def test_what_is_inserted_into_keeps_its_card(tmp_path):
    model, about = network()
    senet.save(model, tmp_path / "plain.keras", **about, trained_on={"images": 3})
    plain = senet.load(tmp_path / "plain.keras")
    made = senet.insert(plain)
    assert made.card.class_names == NAMES
    assert made.card.network == "resnet18"
    assert made.card.spec is None
    assert made.card.trained_on == {"images": 3}
    senet.save(made, tmp_path / "made.keras")
    again = senet.load(tmp_path / "made.keras")
    assert again.card == made.card
    x = np.random.default_rng(0).random((2, 32, 32, 3), "float32")
    np.testing.assert_array_equal(again.predict_on_batch(x), plain.predict_on_batch(x))


@pytest.mark.parametrize("change", ["before", "after"])
def test_training_before_or_after_the_insertion_is_said(tmp_path, change):
    model, about = network()
    senet.save(model, tmp_path / "plain.keras", **about, trained_on={"images": 3})
    plain = senet.load(tmp_path / "plain.keras")
    made = senet.insert(plain) if change == "after" else None
    trained = made or plain
    trained.layers[-1].bias.assign(np.ones(3))
    senet.save(made or senet.insert(plain), tmp_path / "made.keras")
    card = senet.load(tmp_path / "made.keras").card
    assert card.trained_on == {"images": 3, "trained_elsewhere": True}


def test_a_network_of_others_has_no_card_to_keep():
    x = keras.Input((8, 8, 3))
    model = keras.Model(x, layers.Conv2D(8, 3, name="maps")(x))
    assert not hasattr(senet.insert(model, 2, "maps"), "card")


def test_inserted_gates_that_learned_nothing_fold_away_to_the_plain_network():
    model, _ = network()
    made = senet.insert(model)
    folded = senet.fold_gates(made, {block.scale: None for block in senet.find_se_blocks(made)})
    assert folded.count_params() == model.count_params()
    assert [layer.name for layer in folded.layers] == [layer.name for layer in model.layers]


def test_a_gate_that_is_put_in_again_is_not_said_to_be_gone():
    model = senet.create("se_resnet10", n_blocks=(1, 1), n_filters=(8, 16), ratio=4, classes=2)
    first, second = (block.scale for block in senet.find_se_blocks(model))
    folded = senet.fold_gates(model, {first: None, second: None})
    name = senet.find_se_blocks(model)[0].scaled
    again = senet.insert(folded, 4, name)
    assert again.card.folded == {first: "dropped", second: "dropped"}
    more = senet.fold_gates(again, {f"{name}_se_scale": None})
    assert more.card.folded.keys() == {first, second, f"{name}_se_scale"}
    once_more = senet.insert(more, 4, name)
    assert once_more.card.folded.keys() == {first, second}
