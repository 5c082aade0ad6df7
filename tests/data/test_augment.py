import math

import numpy as np
import pytest
from PIL import Image

from senet.data.augment import CHANGES, GREY, Augmentation, Mixing, erased, random_augment
from senet.data.preprocessing import Preprocessing

SIDE = 32


@pytest.fixture
def image():
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (8, 8, 3), dtype="uint8")
    return Image.fromarray(coarse.repeat(4, 0).repeat(4, 1))


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize("index", range(len(CHANGES)))
def test_a_change_of_no_strength_is_small_and_of_full_strength_is_seen(image, index):
    change = CHANGES[index]
    before = np.asarray(image, int)
    strong = change(image, 1.0, 1)
    assert (strong.size, strong.mode) == (image.size, "RGB")
    if index in (0, 1, 2):  # identity, and two that have no strength
        assert np.array_equal(np.asarray(change(image, 0.1, 1)), np.asarray(change(image, 1, -1)))
        return
    assert abs(np.asarray(change(image, 0.0, 1), int) - before).max() <= 1
    assert abs(np.asarray(strong, int) - before).mean() > 1


@pytest.mark.parametrize("index", [3, 6, 7, 8, 9, 10, 11, 12, 13])
def test_changes_with_a_sign_go_both_ways(image, index):
    one, other = (np.asarray(CHANGES[index](image, 0.7, sign)) for sign in (1, -1))
    assert not np.array_equal(one, other)


def test_what_a_move_uncovers_is_grey(image):
    moved = np.asarray(CHANGES[12](image, 1.0, 1))
    assert (moved[:, -1] == GREY).all()
    np.testing.assert_array_equal(moved[:, 0], np.asarray(image)[:, round(0.45 * SIDE)])


def test_the_same_generator_gives_the_same_change(image):
    made = [np.asarray(random_augment(image, 0.8, rng(seed))) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_an_erased_image_has_one_rectangle_of_noise(image):
    shares = []
    for seed in range(200):
        changed = (np.asarray(erased(image, rng(seed))) != np.asarray(image)).any(axis=2)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.mean() > 0.9  # noise hits the old value now and then
        shares.append(box.size / SIDE**2)
    assert 0.01 < min(shares) < 0.05
    assert 0.28 < max(shares) < 0.36


def test_every_part_of_an_augmentation_is_used(image):
    plain = dict(crop="centre", flip=0.0, jitter=0.0)
    preprocessing = Preprocessing(SIDE, crop_fraction=1.0)

    def made(**fields):
        return np.asarray(Augmentation(**plain | fields)(image, preprocessing, rng(3)))

    np.testing.assert_array_equal(made(), np.asarray(image))
    assert not np.array_equal(made(random_augment=9.0), made())
    assert not np.array_equal(made(erase=1.0), made())
    assert not np.array_equal(made(crop="resized", area=0.1), made(crop="resized", area=0.9))


def batch():
    images = rng().normal(size=(4, SIDE, SIDE, 3)).astype("float32")
    return images, np.eye(4, dtype="float32")


def test_mixup_blends_images_and_targets_by_one_share():
    images, targets = batch()
    mixed, soft = Mixing(mixup=0.4)(images, targets, rng(1))
    share = np.float32(rng(1).beta(0.4, 0.4))
    np.testing.assert_allclose(
        mixed, share * images + (1 - share) * images[::-1], rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(soft, share * targets + (1 - share) * targets[::-1], rtol=1e-5)
    assert (mixed.dtype, soft.dtype) == (images.dtype, targets.dtype)


def test_cutmix_puts_a_rectangle_of_the_other_image_in_and_shares_by_its_area():
    images, targets = batch()
    for seed in range(20):
        mixed, soft = Mixing(cutmix=1.0)(images, targets, rng(seed))
        theirs = (mixed == images[::-1]).all(axis=(0, 3))
        assert ((mixed == images).all(axis=(0, 3)) | theirs).all()
        np.testing.assert_allclose(soft[0], [1 - theirs.mean(), 0, 0, theirs.mean()], atol=1e-6)
        rows, columns = np.flatnonzero(theirs.any(1)), np.flatnonzero(theirs.any(0))
        if len(rows):
            assert theirs[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()


def test_with_both_each_mixes_half_of_the_batches():
    images, targets = batch()
    cut = 0
    for seed in range(200):
        mixed, _ = Mixing(mixup=1.0, cutmix=1.0)(images, targets, rng(seed))
        cut += bool(((mixed == images) | (mixed == images[::-1])).all())
    assert 70 < cut < 130


def test_targets_stay_shares_of_one():
    images, targets = batch()
    for seed in range(20):
        _, soft = Mixing(mixup=0.2, cutmix=1.0)(images, targets, rng(seed))
        np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    assert not Mixing()
    assert math.isclose(float(soft.sum()), len(soft), rel_tol=1e-5)
