import dataclasses
import gc
import multiprocessing
import os
import pathlib
import resource
import signal
import subprocess
import sys
from typing import Any

import grain
import numpy as np
import pytest
from grain.multiprocessing import SharedMemoryArray
from PIL import Image

from senet.data import pipeline
from senet.data.augment import Augmentation, Mixing, resized_crop, shift
from senet.data.damage import explain_damage
from senet.data.decode import ImageError
from senet.data.pipeline import WorkerDied, evaluation_batches, training_batches
from senet.data.preprocessing import Preprocessing
from senet.data.sources import from_arrays, load_data
from tests.conftest import default_signals, make_photos

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


@dataclasses.dataclass(frozen=True)
class Damaged:
    """The images of another reader, some of which cannot be read."""

    reader: Any
    bad: frozenset

    def image(self, key):
        if key in self.bad:
            raise ImageError("it is damaged")
        return self.reader.image(key)


def damaged(source, *bad):
    return dataclasses.replace(source, reader=Damaged(source.reader, frozenset(bad)))


def epoch(source, augmentation=NOTHING, batch_size=4, seed=0, epoch=0, **options):
    options = dict(batch_size=batch_size, seed=seed, epoch=epoch, n_classes=40, **options)
    return list(training_batches(source, PLAIN, augmentation, **options))


def whole(source, **options):
    return list(evaluation_batches(source, PLAIN, batch_size=4, n_classes=40, **options))


def assert_same(batches, expected):
    """Equal to the last bit, in every part of every batch."""
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        for mine, theirs in zip(batch, other, strict=True):
            assert (type(mine), mine.dtype, mine.shape) == (np.ndarray, theirs.dtype, theirs.shape)
            assert mine.tobytes() == theirs.tobytes()


def joined(batches, field):
    return np.concatenate([getattr(batch, field) for batch in batches])


def half_and_half(images, targets, rng):
    order = rng.permutation(len(images))
    return (images + images[order]) / 2, (targets + targets[order]) / 2


def test_targets_and_indices_belong_to_their_images_and_every_image_comes_once():
    batches = epoch(numbered(12))
    indices = joined(batches, "indices")
    pixels = joined(batches, "images")
    np.testing.assert_array_equal((pixels[:, 3, 3, 0] * 255).round(), indices)
    np.testing.assert_array_equal(joined(batches, "targets"), np.eye(40, dtype="float32")[indices])
    assert sorted(indices) == list(range(12))
    assert list(indices) != list(range(12))
    assert joined(batches, "bad").size == 0


def test_the_last_part_of_a_batch_is_left_out_of_training_only():
    assert [len(batch.images) for batch in epoch(numbered(10))] == [4, 4]
    parts = whole(numbered(10))
    assert [len(batch.images) for batch in parts] == [4, 4, 2]
    assert joined(parts, "indices").tolist() == list(range(10))
    assert joined(parts, "targets").argmax(axis=1).tolist() == list(range(10))


def test_fewer_images_than_a_batch_make_one_batch():
    assert [len(batch.images) for batch in epoch(numbered(3), batch_size=64)] == [3]


def test_batches_depend_on_seed_and_epoch():
    def first(**options):
        return epoch(noisy(16), ALL, **options)[:1]

    assert_same(first(seed=1, epoch=2), first(seed=1, epoch=2))
    for other in (dict(seed=2, epoch=2), dict(seed=1, epoch=3)):
        assert first(**other)[0].images.tobytes() != first(seed=1, epoch=2)[0].images.tobytes()


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_batches_do_not_depend_on_the_number_of_threads(monkeypatch, threads):
    expected = epoch(noisy(16), ALL)
    monkeypatch.setattr(pipeline, "READING", grain.ReadOptions(threads, 2 * threads))
    assert_same(epoch(noisy(16), ALL), expected)


@pytest.mark.parametrize("first", range(6))
def test_an_epoch_can_start_at_any_batch(first):
    rest = epoch(noisy(16), ALL, first=first, mixing=half_and_half)
    assert len(rest) == max(0, 4 - first)
    assert_same(rest, epoch(noisy(16), ALL, mixing=half_and_half)[first:])


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_do_not_depend_on_the_number_of_worker_processes(workers):
    source = damaged(noisy(22), 3, 17)
    options = dict(mixing=half_and_half, first=1)
    assert_same(
        epoch(source, ALL, workers=workers, **options),
        epoch(source, ALL, **options),
    )
    assert multiprocessing.active_children() == []
    assert [a for a in gc.get_objects() if type(a) is SharedMemoryArray] == []


def test_evaluation_in_worker_processes_gives_the_same():
    source = damaged(noisy(10), 5)
    assert_same(whole(source, workers=2), whole(source))


def test_workers_end_when_the_batches_are_closed_early():
    batches = training_batches(
        noisy(400), PLAIN, ALL, batch_size=4, seed=0, epoch=0, n_classes=400, workers=2
    )
    next(batches), next(batches)  # one of each worker
    assert len(multiprocessing.active_children()) == 2
    batches.close()
    assert multiprocessing.active_children() == []


def test_a_killed_worker_is_an_error_and_takes_the_others_along():
    batches = training_batches(
        noisy(400), PLAIN, ALL, batch_size=4, seed=0, epoch=0, n_classes=400, workers=2
    )
    next(batches), next(batches)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(WorkerDied, match=r"exit code -9.*use fewer workers"):
        list(batches)
    assert multiprocessing.active_children() == []


ENDLESS = """
import multiprocessing, time
from tests.data.test_pipeline import ALL, PLAIN, noisy, training_batches

if __name__ == "__main__":
    batches = training_batches(
        noisy(400), PLAIN, ALL, batch_size=4, seed=0, epoch=0, n_classes=400, workers=2
    )
    next(batches), next(batches)  # one of each worker
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    input()
    print(sum(1 for _, _ in zip(range(20), batches)), flush=True)
    time.sleep(600)
"""


def test_workers_end_when_the_program_is_killed_and_not_at_ctrl_c(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with default_signals():
        process = subprocess.Popen(
            [sys.executable, script],
            env=os.environ | {"PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    with process as program:
        workers = [int(pid) for pid in program.stdout.readline().split()]
        assert len(workers) == 2
        for pid in workers:
            os.kill(pid, signal.SIGINT)
        program.stdin.write("\n")
        program.stdin.flush()
        assert program.stdout.readline() == "20\n"
        program.kill()
        program.communicate(timeout=30)  # until the last worker, which writes there too, is gone


def test_a_damaged_image_is_replaced_by_the_next_one_of_the_order():
    order = joined(epoch(noisy(12), ALL), "indices").tolist()
    bad = [order[5], order[6], order[11]]
    sound = {
        i: image
        for b in epoch(noisy(12), ALL)
        for i, image in zip(b.indices, b.images, strict=True)
    }
    batches = epoch(damaged(noisy(12), *bad), ALL)
    expected = list(order)
    expected[5] = expected[6] = order[7]
    expected[11] = order[0]
    assert joined(batches, "indices").tolist() == expected
    for batch in batches:
        for index, image in zip(batch.indices, batch.images, strict=True):
            np.testing.assert_array_equal(image, sound[index])
    assert [batch.bad.tolist() for batch in batches] == [[], bad[:2], bad[2:]]


def test_nothing_but_damaged_images_is_an_error_and_not_an_endless_search():
    with pytest.raises(ImageError, match="None of the 6 images can be read"):
        epoch(damaged(noisy(6), *range(6)))


def test_damaged_images_are_left_out_of_evaluation():
    batches = whole(damaged(numbered(10), 1, 4, 5, 6, 7))
    assert [batch.indices.tolist() for batch in batches] == [[0, 2, 3], [], [8, 9]]
    assert [batch.bad.tolist() for batch in batches] == [[1], [4, 5, 6, 7], []]
    assert batches[1].images.shape == (0, 8, 8, 3)
    np.testing.assert_array_equal(
        (joined(batches, "images")[:, 0, 0, 0] * 255).round(), [0, 2, 3, 8, 9]
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("workers", [0, 2])
def test_what_becomes_something_else_during_a_run_is_passed_over(tmp_path, workers):
    make_photos(tmp_path, 4, ("a", "b"))
    source = load_data(tmp_path, split=False).split("train")
    special = sorted(tmp_path.rglob("*.png"))[:3]
    options = dict(batch_size=2, seed=0, epoch=0, n_classes=2, workers=workers)
    batches = training_batches(source, PLAIN, NOTHING, **options)
    next(batches)
    for path in special:
        path.unlink()
    os.mkfifo(special[0])
    special[1].symlink_to("/dev/zero")
    special[2].symlink_to("/proc/self/environ")
    list(batches)  # some were read already
    batches = whole(source, workers=workers)
    assert joined(batches, "bad").tolist() == [0, 1, 2]
    reasons = [explain_damage(source, index) for index in range(3)]
    kinds = ("pipe", "device", "file of the system" if sys.platform == "linux" else "")
    for reason, kind in zip(reasons, kinds, strict=True):
        assert f"It is a {kind}" in reason if kind else reason


def test_mixing_gets_whole_batches_and_random_numbers_of_the_batch():
    plain = epoch(noisy(12), ALL, seed=5, epoch=2)
    mixed = epoch(noisy(12), ALL, seed=5, epoch=2, mixing=half_and_half)
    for number, (batch, before) in enumerate(zip(mixed, plain, strict=True)):
        rng = np.random.default_rng((5, 2, number, 1))
        images, targets = half_and_half(before.images, before.targets, rng)
        np.testing.assert_array_equal(batch.images, images)
        np.testing.assert_array_equal(batch.targets, targets)
        np.testing.assert_array_equal(batch.indices, before.indices)


def test_the_change_of_an_image_depends_on_its_index_not_its_place():
    def by_index(n):
        return {
            int(index): image
            for batch in epoch(noisy(n), ALL, batch_size=1)
            for index, image in zip(batch.indices, batch.images, strict=True)
        }

    few, many = by_index(5), by_index(9)
    for index, image in few.items():
        np.testing.assert_array_equal(image, many[index])


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
        result = resized_crop(Image.fromarray(gradient), 16, 0.3, np.random.default_rng(seed))
        assert result.size == (16, 16)
        means.append(np.asarray(result)[..., 0].mean())
    assert np.std(means) > 5


def test_resized_crop_of_a_very_long_image_takes_its_centre():
    result = resized_crop(Image.new("RGB", (1000, 2), "red"), 8, 0.3, np.random.default_rng(0))
    assert np.asarray(result)[..., 0].min() == 255


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, False), (1.0, True)])
def test_flip_mirrors_with_its_probability(flip, mirrored):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype="uint8")
    augmentation = Augmentation(crop="centre", flip=flip, jitter=0)
    result = np.asarray(augmentation(Image.fromarray(pixels), PLAIN, np.random.default_rng(0)))
    np.testing.assert_array_equal(result, pixels[:, ::-1] if mirrored else pixels)


@pytest.mark.parametrize("mixing", [None, Mixing(mixup=0.4), Mixing(cutmix=1.0)])
@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_make_the_whole(parts, mixing):
    options = dict(source=damaged(noisy(26), 3, 11), batch_size=8, mixing=mixing)
    whole = epoch(**options)
    shares = [epoch(**options, part=(k, parts)) for k in range(parts)]
    for batch, *own in zip(whole, *shares, strict=True):
        for name in ("images", "targets", "indices"):
            joined = np.concatenate([getattr(share, name) for share in own])
            np.testing.assert_array_equal(joined, getattr(batch, name))
        assert set(batch.bad) == {i for share in own for i in share.bad.tolist()}


def test_a_part_reads_only_what_it_needs():
    read = []
    source = noisy(16)
    counting = dataclasses.replace(source, reader=Counted(source.reader, read))
    epoch(counting, batch_size=8, part=(1, 4))
    assert len(read) == 4
    read.clear()
    epoch(counting, batch_size=8, part=(1, 4), mixing=Mixing(mixup=0.4))
    assert len(read) == 8


def test_batches_that_cannot_be_parted_are_refused():
    with pytest.raises(ValueError, match="Batches of 4 images cannot be parted into 3 equal parts"):
        epoch(numbered(8), part=(0, 3))


@dataclasses.dataclass(frozen=True)
class Counted:
    """The images of another reader; notes which are read."""

    reader: Any
    read: list

    def image(self, key):
        self.read.append(key)
        return self.reader.image(key)
