import resource

import grain
import numpy as np
import pytest
from PIL import Image

from senet.data import pipeline
from senet.data.augment import Augmentation, resized_crop, shift
from senet.data.pipeline import evaluation_batches, training_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import from_arrays

PLAIN = Preprocessing(8, crop_fraction=1.0, mean=(0, 0, 0), std=(1, 1, 1))
NOTHING = Augmentation(crop="centre", flip=0, jitter=0)
ALL = Augmentation(crop="resized", flip=0.5, jitter=0.3)


def numbered(n):
    """Images whose every pixel is the number of the image, which is its label too."""
    images = np.broadcast_to(np.arange(n, dtype="uint8")[:, None, None], (n, 8, 8))
    return from_arrays(np.ascontiguousarray(images), np.arange(n), "n")


def noisy(n):
    rng = np.random.default_rng(0)
    return from_arrays(rng.integers(0, 256, (n, 12, 10, 3), dtype="uint8"), np.arange(n), "n")


def epoch(source, augmentation=NOTHING, batch_size=4, seed=0, epoch=0, **options):
    options = dict(batch_size=batch_size, seed=seed, epoch=epoch, **options)
    return list(training_batches(source, PLAIN, augmentation, **options))


def test_labels_belong_to_their_images_and_every_image_comes_once():
    batches = epoch(numbered(12))
    labels = np.concatenate([labels for _, labels in batches])
    pixels = np.concatenate([images for images, _ in batches])
    np.testing.assert_array_equal((pixels[:, 3, 3, 0] * 255).round(), labels)
    assert sorted(labels) == list(range(12))
    assert list(labels) != list(range(12))


def test_the_last_part_of_a_batch_is_left_out_of_training_only():
    assert [len(labels) for _, labels in epoch(numbered(10))] == [4, 4]
    parts = list(evaluation_batches(numbered(10), PLAIN, batch_size=4))
    assert [len(labels) for _, labels in parts] == [4, 4, 2]
    assert np.concatenate([labels for _, labels in parts]).tolist() == list(range(10))


def test_fewer_images_than_a_batch_make_one_batch():
    assert [len(labels) for _, labels in epoch(numbered(3), batch_size=64)] == [3]


def test_batches_depend_on_seed_and_epoch():
    def first(**options):
        return epoch(noisy(16), ALL, **options)[0][0]

    np.testing.assert_array_equal(first(seed=1, epoch=2), first(seed=1, epoch=2))
    assert not np.array_equal(first(seed=1, epoch=2), first(seed=2, epoch=2))
    assert not np.array_equal(first(seed=1, epoch=2), first(seed=1, epoch=3))


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_batches_do_not_depend_on_the_number_of_threads(monkeypatch, threads):
    expected = epoch(noisy(16), ALL)
    monkeypatch.setattr(pipeline, "READING", grain.ReadOptions(threads, 2 * threads))
    for (images, labels), (their_images, their_labels) in zip(
        epoch(noisy(16), ALL), expected, strict=True
    ):
        np.testing.assert_array_equal(images, their_images)
        np.testing.assert_array_equal(labels, their_labels)


@pytest.mark.parametrize("first", range(5))
def test_an_epoch_can_start_at_any_batch(first):
    whole, rest = epoch(noisy(16), ALL), epoch(noisy(16), ALL, first=first)
    assert len(rest) == 4 - first
    for (images, _), (their_images, _) in zip(rest, whole[first:], strict=True):
        np.testing.assert_array_equal(images, their_images)


def test_the_change_of_an_image_depends_on_its_index_not_its_place():
    def by_label(n):
        return {
            int(label): image
            for images, labels in epoch(noisy(n), ALL, batch_size=1)
            for image, label in zip(images, labels, strict=True)
        }

    few, many = by_label(5), by_label(9)
    for label, image in few.items():
        np.testing.assert_array_equal(image, many[label])


def test_preprocessing_resizes_the_shorter_edge_and_cuts_the_centre():
    image = np.zeros((64, 128, 3), "uint8")
    image[:, 32:96] = 255  # the centre square is white
    result = Preprocessing(32, crop_fraction=1.0).crop(Image.fromarray(image))
    assert result.size == (32, 32)
    assert np.asarray(result)[:, 2:-2].min() == 255
    cropped = Preprocessing(28, crop_fraction=0.875).crop(Image.fromarray(image))
    assert cropped.size == (28, 28)


def test_a_thin_strip_is_not_enlarged_before_it_is_cropped():
    strip = Image.new("RGB", (1, 60_000), "red")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert Preprocessing(96).crop(strip).size == (96, 96)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kilobytes
    wide = np.zeros((8, 4000, 3), "uint8")
    wide[:, 1998:2002] = 255
    middle = np.asarray(Preprocessing(32, crop_fraction=1.0).crop(Image.fromarray(wide)))
    assert middle[16, 16].min() > 200
    assert middle[:, [0, -1]].max() < 30


@pytest.mark.parametrize(
    "fields",
    [
        *(dict(size=0), dict(size="96"), dict(size=10**9), dict(crop_fraction=0)),
        *(dict(crop_fraction=2.0), dict(mean=(0.5,)), dict(std=(1, 1, 0)), dict(std=3)),
        *(dict(mean=("a", "b", "c")), dict(std=None)),
    ],
)
def test_impossible_preprocessings_are_refused(fields):
    with pytest.raises(ValueError, match="reprocessing"):
        Preprocessing.from_json(Preprocessing(96).to_json() | fields)


def test_jitter_changes_brightness_contrast_and_colour_within_its_bounds():
    image = Image.new("RGB", (8, 8), (150, 100, 50))
    strong = Augmentation(crop="centre", flip=0, jitter=0.5)
    seen = [
        np.asarray(strong(image, PLAIN, np.random.default_rng(seed)), "float64")[0, 0]
        for seed in range(50)
    ]
    means = [pixel.mean() for pixel in seen]
    spreads = [np.ptp(pixel) for pixel in seen]
    assert 40 < min(means) < 80
    assert 120 < max(means) < 160
    assert min(spreads) < 80 < 120 < max(spreads)
    still = Augmentation(crop="centre", flip=0, jitter=0.0)
    assert still(image, PLAIN, np.random.default_rng(0)).tobytes() == image.tobytes()


def test_normalise_takes_out_mean_and_deviation_and_can_be_undone():
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype="uint8")
    preprocessing = Preprocessing(224)
    result = preprocessing.normalise(pixels)
    expected = (pixels / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(result, expected, atol=1e-6)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(preprocessing.to_pixels(result), pixels)


def test_preprocessing_survives_json():
    preprocessing = Preprocessing(96, mean=(0.1, 0.2, 0.3))
    assert Preprocessing.from_json(preprocessing.to_json()) == preprocessing
    with pytest.raises(ValueError, match="Not a record of a preprocessing"):
        Preprocessing.from_json({"side": 3})


def test_shift_moves_the_image_and_fills_with_black():
    image = Image.new("RGB", (16, 16), "white")
    moved = {
        tuple((np.asarray(shift(image, 2, np.random.default_rng(s)))[..., 0] == 0).sum(axis=(0,)))
        for s in range(30)
    }
    assert len(moved) > 5
    assert max(max(m) for m in moved) == 16


def test_resized_crop_stays_inside_and_varies():
    gradient = np.zeros((40, 60, 3), "uint8")
    gradient[..., 0] = np.arange(60) * 4
    means = []
    for seed in range(40):
        result = resized_crop(Image.fromarray(gradient), 16, np.random.default_rng(seed))
        assert result.size == (16, 16)
        means.append(np.asarray(result)[..., 0].mean())
    assert np.std(means) > 5


def test_resized_crop_of_a_very_long_image_takes_its_centre():
    result = resized_crop(Image.new("RGB", (1000, 2), "red"), 8, np.random.default_rng(0))
    assert np.asarray(result)[..., 0].min() == 255


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, False), (1.0, True)])
def test_flip_mirrors_with_its_probability(flip, mirrored):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype="uint8")
    augmentation = Augmentation(crop="centre", flip=flip, jitter=0)
    result = np.asarray(augmentation(Image.fromarray(pixels), PLAIN, np.random.default_rng(0)))
    np.testing.assert_array_equal(result, pixels[:, ::-1] if mirrored else pixels)
