import numpy as np
import pytest

from senet.explanation.sampling import sample_classes, sample_images, spread_evenly


@pytest.mark.parametrize(("number", "count"), [(64, 50), (2048, 50), (7, 50), (1, 2), (50, 50)])
def test_what_is_taken_is_spread_from_end_to_end(number, count):
    taken = spread_evenly(number, count)
    assert len(taken) == min(number, count)
    assert taken[0] == 0
    assert taken[-1] == (number - 1 if count > 1 else 0)
    assert np.ptp(np.diff(taken)) <= 1 if len(taken) > 1 else True


def test_of_many_classes_some_are_taken_and_no_class_is_minus_one():
    labels = np.array([-1, *range(3, 1003)])
    taken = sample_classes(labels)
    assert (len(taken), taken[0], taken[-1]) == (100, 3, 1002)
    assert sample_classes(np.array([4, -1, 2, 2])).tolist() == [2, 4]


def test_of_each_class_its_share_of_the_images_is_taken():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [600, 300, 100]))
    taken = sample_images(labels, np.array([0, 1, 2]), 100)
    assert len(taken) == 100
    assert (np.diff(taken) > 0).all()
    np.testing.assert_allclose(np.bincount(labels[taken]), [60, 30, 10], atol=1)
    rare = np.array([0] * 5000 + [1] + [2] * 5000)
    assert np.bincount(rare[sample_images(rare, np.arange(3), 100)]).tolist() == [50, 1, 49]
    assert rare[sample_images(rare, np.arange(3), 2)].tolist() == [0, 2]
    assert sample_images(np.full(3, -1), np.array([], int), 5).tolist() == []
    only = sample_images(labels, np.array([2]), 1000)
    assert only.tolist() == np.flatnonzero(labels == 2).tolist()
