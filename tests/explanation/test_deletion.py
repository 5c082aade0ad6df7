import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.explanation.deletion import SHARES, Deletion, _order_pixels
from senet.explanation.gradcam import Halves


def bright_spot(weight=1.0, logits=False):
    """A network that sees bright spots, each with a cell of its own."""
    x = keras.Input((32, 32, 1))
    maps = layers.AveragePooling2D(4, name="maps")(x)
    scores = layers.Dense(2, None if logits else "softmax")(layers.GlobalMaxPooling2D()(maps))
    model = keras.Model(x, scores)
    model.set_weights([np.array([[weight, -weight]]), np.zeros(2)])
    return model


def spots(count=12):
    images = np.random.default_rng(0).uniform(0, 0.2, (count, 32, 32, 1)).astype("float32")
    places = np.random.default_rng(1).integers(0, 7, (count, 2)) * 4
    for image, (y, x) in zip(images, places, strict=True):
        image[y : y + 4, x : x + 4] = 3
    return images


def test_a_map_on_what_the_network_uses_beats_a_random_one():
    found = senet.deletion_test(bright_spot(), spots(), classes=0)
    assert (found.beats_random, found.answer) == (True, "yes")
    assert found.interval[0] > 0.1
    assert (found.gains > 0).all()
    hottest, random = found.hottest.mean(axis=0), found.random.mean(axis=0)
    np.testing.assert_array_equal(hottest[:1], random[:1])
    assert hottest[1] < 0.7 < 0.9 < random[1]  # a tenth of the pixels has the spot in it


def test_a_map_on_what_speaks_against_the_class_does_not():
    """The hottest pixels for the other class are those that speak for this one least."""
    model = bright_spot()
    against = senet.deletion_test(model, spots(), classes=1)
    assert against.beats_random is None  # its map is 0 everywhere, and the order is random
    assert against.answer == "cannot be said"


def test_a_map_that_is_coldest_on_what_the_network_uses_loses_to_a_random_one(monkeypatch):
    compute = Halves.compute_heat
    monkeypatch.setattr(
        Halves, "compute_heat", lambda *given: compute(*given).max() - compute(*given)
    )
    found = senet.deletion_test(bright_spot(), spots(24), classes=0)
    assert (found.beats_random, found.answer) == (False, "no")
    assert found.interval[1] < 0


def test_scores_that_are_no_finite_numbers_are_refused_and_answer_nothing():
    model = bright_spot()
    model.set_weights([np.full((1, 2), np.inf), np.zeros(2)])
    with pytest.raises(senet.InputError, match="no finite numbers"):
        senet.deletion_test(model, spots(3), classes=0)
    scores = np.array([[0.9, np.nan]] * 3)
    assert Deletion((0.0, 0.5), scores, scores, np.zeros(3, int)).beats_random is None


def test_the_pixels_that_go_are_the_hottest_and_take_the_mean_colour():
    """Against a computation of one share by hand, with a map without ties."""
    x = keras.Input((8, 8, 2))
    maps = layers.Activation("linear", name="maps")(x)
    model = keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling2D()(maps)))
    kernel = np.array([[1.0, 0.0], [2.0, 1.0]])
    model.set_weights([kernel, np.zeros(2)])
    images = np.random.default_rng(0).uniform(1, 2, (3, 8, 8, 2)).astype("float32")
    found = senet.deletion_test(model, images, classes=[0, 1, 0], batch_size=2)
    for i, k in enumerate([0, 1, 0]):
        heat = images[i] @ kernel[:, k]
        for j, share in enumerate(SHARES):
            gone = heat.ravel().argsort()[::-1][: round(share * 64)]
            changed = images[i].reshape(64, 2).copy()
            changed[gone] = images[i].mean(axis=(0, 1))
            expected = changed.mean(axis=0) @ kernel[:, k]
            np.testing.assert_allclose(found.hottest[i, j], expected, rtol=1e-5)


def test_the_numbers_are_means_over_images_and_the_interval_is_students():
    hottest = np.array([[0.9, 0.1], [0.8, 0.3], [0.7, 0.2]])
    random = np.array([[0.9, 0.5], [0.8, 0.4], [0.7, 0.6]])
    found = Deletion((0.0, 0.5), hottest, random, np.zeros(3, int))
    gains = np.array([0.2, 0.05, 0.2])
    np.testing.assert_allclose(found.gains, gains)
    reach = 4.302653 * gains.std(ddof=1) / 3**0.5  # the table of t with two degrees of freedom
    np.testing.assert_allclose(found.interval, (0.15 - reach, 0.15 + reach), rtol=1e-6)
    assert found.beats_random is None
    values = found.to_json()
    assert values["difference"] == pytest.approx(0.15)
    assert values["hottest"] == pytest.approx([0.8, 0.2])
    assert values["random"] == pytest.approx([0.8, 0.5])
    for part in ("Cannot be said", "50% of the pixels", "0.800 to 0.200", "to 0.500 where random"):
        assert part in str(found)


def test_pixels_that_are_as_hot_as_each_other_go_in_random_order():
    maps = np.zeros((2, 16, 16), "float32")
    maps[:, 3, 5] = 1
    order = _order_pixels(maps, [np.random.default_rng(seed) for seed in (0, 1)])
    assert list(order[:, 3, 5]) == [0, 0]
    for own in order:
        np.testing.assert_array_equal(np.sort(own.ravel()), np.arange(256))
        assert abs(np.corrcoef(own.ravel(), np.arange(256))[0, 1]) < 0.2
    assert (order[0] != order[1]).any()


def test_one_image_has_no_interval_and_no_answer():
    found = senet.deletion_test(bright_spot(), spots(1))
    assert found.interval is None
    assert found.beats_random is None
    assert "(1 image)" in str(found)


def test_the_same_seed_gives_the_same():
    model, images = bright_spot(), spots(3)
    first, again, other = (senet.deletion_test(model, images, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.random, again.random)
    assert (first.random != other.random).any()
    by_one = senet.deletion_test(model, images, seed=1, batch_size=1)
    np.testing.assert_allclose(by_one.random, first.random, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(classes=2), "from 0 to 1, one for all or one for each of 3"),
        (dict(layer="no such"), "'no such' of .* maps"),
        (dict(batch_size=0), "batch_size must be a whole number from 1; got 0"),
        (dict(batch_size=-1, classes=0), "got -1"),
        (dict(batch_size=2.5), "got 2.5"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(options, message):
    with pytest.raises(senet.InputError, match=message):
        senet.deletion_test(bright_spot(), spots(3), **options)
