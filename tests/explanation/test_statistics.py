import math

import keras
import numpy as np
import pytest
from keras import layers

import senet
from senet.explanation.statistics import SHUFFLES, GateCounter, GateStatistics
from tests.explanation.test_gates import images


def network(**options):
    small = dict(n_blocks=(1, 1), n_filters=(16, 32), input_shape=(32, 32, 3), classes=3)
    return senet.create("se_resnet50", **small, **options)


def counted(gates, labels, classes, ends=(0.0, 1.0), parts=3):
    found = GateStatistics.empty("block", ends, classes, gates.shape[1])
    shuffled = shuffle(labels)
    for part in np.array_split(np.arange(len(gates)), parts):
        found.add(gates[part], labels[part], shuffled[:, part])
    return found


def shuffle(labels):
    rng = np.random.default_rng(7)
    return np.stack([rng.permutation(labels) for _ in range(SHUFFLES)])


def test_every_number_is_that_of_its_definition():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 60)
    labels[labels == 2] = 3  # a class without images
    gates = rng.uniform(0, 1, (60, 7)).astype("float32")
    gates[:, 0] = 0.25 * labels + 0.1  # nothing but its class
    gates[:, 1] = 0.004
    gates[:, 2] = 0.5
    found = counted(gates, labels, 4)
    exact = gates.astype("float64")
    np.testing.assert_allclose(found.mean, exact.mean(axis=0))
    np.testing.assert_allclose(found.spread, exact.std(axis=0), atol=1e-7)
    for label in (0, 1, 3):
        own = exact[labels == label]
        np.testing.assert_allclose(found.class_means[label], own.mean(axis=0))
        np.testing.assert_allclose(found.class_spread[label], own.std(axis=0), atol=1e-7)
    assert np.isnan(found.class_means[2]).all()
    assert found.saturation == ((gates < 0.05).mean(), (gates > 0.95).mean())
    assert found.dead.tolist() == [False, True] + 5 * [False]
    assert found.constant.tolist() == [False, False, True] + 4 * [False]
    total = ((exact - exact.mean(axis=0)) ** 2).sum(axis=0)
    within = sum(
        ((exact[labels == k] - exact[labels == k].mean(axis=0)) ** 2).sum(axis=0) for k in (0, 1, 3)
    )
    varying = [0, 3, 4, 5, 6]
    shares = 1 - within[varying] / total[varying]
    np.testing.assert_allclose(found.specificity[varying], shares, atol=1e-12)
    assert found.specificity[0] == pytest.approx(1)
    assert np.isnan(found.specificity[[1, 2]]).all()
    assert found.block_specificity == pytest.approx(1 - within.sum() / total.sum())
    others = []
    for groups in shuffle(labels):
        means = np.stack([exact[groups == k].mean(axis=0) for k in (0, 1, 1, 3)])[groups]
        others.append(((means - exact.mean(axis=0)) ** 2).sum() / total.sum())
    np.testing.assert_allclose(found.shuffled_specificity, others)
    chance, share = np.mean(others), found.block_specificity
    assert found.specificity_beyond_chance == pytest.approx((share - chance) / (1 - chance))
    assert found.profile() == dict(
        block="block",
        channels=7,
        ends=[0.0, 1.0],
        mean=pytest.approx(exact.mean()),
        low=(gates < 0.05).mean(),
        high=(gates > 0.95).mean(),
        variation=pytest.approx(exact.std(axis=0).mean()),
        specificity=found.block_specificity,
        shuffled=pytest.approx(chance),
        dead=1,
        constant=1,
    )


def test_where_classes_play_no_part_specificity_is_what_shuffled_labels_give():
    rng = np.random.default_rng(1)
    found = counted(rng.uniform(0, 1, (100, 400)), rng.permutation(np.arange(100) % 10), 10)
    assert found.specificity.mean() == pytest.approx(9 / 99, abs=0.01)  # (K - 1) / (N - 1)
    np.testing.assert_allclose(found.shuffled_specificity, 9 / 99, atol=0.01)
    assert found.specificity_beyond_chance == pytest.approx(0, abs=0.01)


def test_what_is_kept_does_not_grow_with_the_images():
    model, x = network(), images(6)
    few, many = (GateCounter(model, np.arange(n) % 3) for n in (6, 60))
    few.add(x, np.arange(6))
    for start in range(0, 60, 6):
        many.add(x, np.arange(start, start + 6))
    for name, block in many.blocks.items():
        assert block.images == 60
        for key, value in vars(block).items():
            assert np.shape(value) == np.shape(getattr(few.blocks[name], key)), key
        np.testing.assert_allclose(block.class_means, few.blocks[name].class_means, rtol=1e-6)


def test_images_without_a_class_that_counts_do_not_count():
    model, x = network(), images(6)
    labels = np.array([0, 5, -1, 2, 5, 0])
    counter = GateCounter(model, labels, np.array([0, 5]))
    outputs = counter.add(x, np.arange(6))
    assert outputs.shape == (6, 3)
    gates = senet.gates(model, x)
    for name, block in counter.blocks.items():
        assert block.count.tolist() == [2, 2]
        assert (block.shuffled_count == 2).all()
        expected = gates[name][labels == 5].mean(axis=0)
        np.testing.assert_allclose(block.class_means[1], expected, rtol=1e-5)
    counter.add(x[:1], np.array([2]))  # a batch of none that count
    assert block.images == 4


@pytest.mark.parametrize("placement", ["standard", "post", "3x3"])
def test_the_statistics_of_a_network_are_those_of_its_gates(placement):
    model, x = network(placement=placement), images(7)
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    gates = senet.gates(model, x)
    found = senet.gate_statistics(model, x, labels, batch_size=3)
    assert list(found) == list(gates)
    for name, block in found.items():
        expected = gates[name].mean(axis=0), gates[name][labels == 1].mean(axis=0)
        # batches of 3 and of 7 images are rounded differently, by some units of float32
        np.testing.assert_allclose(block.mean, expected[0], rtol=1e-5)
        np.testing.assert_allclose(block.class_means[1], expected[1], rtol=1e-5)
        assert block.count.tolist() == [3, 2, 2]
        assert block.ends == (0, 1)


def test_gates_that_are_not_squeezed_count_by_their_mean_over_the_pixels():
    model, x = network(squeeze="none"), images(4)
    gates = senet.gates(model, x)
    for name, block in senet.gate_statistics(model, x, np.array([0, 1, 0, 1])).items():
        np.testing.assert_allclose(block.mean, gates[name].mean(axis=(0, 1, 2)), rtol=1e-5)


@pytest.mark.parametrize(
    ("excitation", "ends"), [("sigmoid", (0, 1)), ("tanh", (-1, 1)), ("relu", (0, math.inf))]
)
def test_the_ends_of_a_gate_are_those_of_its_activation(excitation, ends):
    model = network(excitation=excitation)
    found = senet.gate_statistics(model, images(3), np.zeros(3, int))
    for block in found.values():
        assert block.ends == ends
        if excitation == "relu":
            assert block.saturation[1] == 0
            assert block.saturation[0] > 0


def test_gates_that_are_doubled_reach_up_to_two():
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(32, 3, name="maps")(inputs)
    outputs = layers.Dense(3)(layers.GlobalAveragePooling2D()(x))
    model = senet.insert(keras.Model(inputs, outputs), where="maps")
    (block,) = senet.gate_statistics(model, images(4, 16), np.arange(4)).values()
    assert block.ends == (0, 2)
    np.testing.assert_array_equal(block.mean, np.ones(32))
    assert block.saturation == (0, 0)
    assert block.constant.all()
    assert block.block_specificity == 0


def test_a_label_beyond_all_memory_is_no_traceback_of_numpy():
    with pytest.raises(senet.CapacityError):
        senet.gate_statistics(network(), images(2), np.array([0, 10**12]))


@pytest.mark.parametrize(
    "labels", [np.zeros(2, int), np.zeros(3), np.zeros((3, 4), int), np.array([0, 1, -1])]
)
def test_labels_that_are_not_one_for_each_image_are_refused(labels):
    with pytest.raises(ValueError, match="one index of a class for each"):
        senet.gate_statistics(network(), images(3), labels)
