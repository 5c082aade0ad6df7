import shutil

import pytest

from senet.data.faults import list_faults
from senet.data.sources import load_data
from senet.data.trained_on import TrainedOn, describe_training, digest_splits
from tests.conftest import make_photos

OPTIONS = dict(seed=0, validation=0.1, test=0.2, fraction=1.0)


@pytest.fixture
def folder(tmp_path):
    """Training, validation and test images of three classes, all of them different."""
    for seed, name in enumerate(("train", "validation", "test")):
        make_photos(tmp_path / "data" / name, 4, ("cat", "dog", "fox"), seed=seed)
    return tmp_path / "data"


def faults_of(folder, before: TrainedOn | None = None):
    data = load_data(str(folder))
    digests = digest_splits(data)
    described = describe_training(data, OPTIONS, digests)
    return list_faults(data, digests, described.after(before) if before else described)


def test_there_is_nothing_to_say_of_data_without_faults(folder):
    assert faults_of(folder) == []


def test_the_digests_of_splits_are_those_of_their_images(folder):
    data = load_data(str(folder))
    digests = digest_splits(data)
    assert list(digests) == ["train", "validation", "test"]
    for name, source in data.splits.items():
        assert len(digests[name]) == len(source) == 12


def test_a_split_that_lacks_a_class_is_named(folder):
    shutil.rmtree(folder / "validation" / "fox")
    assert faults_of(folder) == [
        "No validation image is of fox: validation scores leave that out.",
    ]


def test_the_same_image_in_two_classes_is_named_with_both(folder):
    shutil.copy(folder / "train" / "cat" / "01.png", folder / "train" / "dog" / "again.png")
    (found,) = faults_of(folder)
    assert "in two classes, with the same bytes: 1, train/cat/01.png and train/dog/again" in found


def test_the_same_image_twice_in_one_class_of_the_training_is_no_fault(folder):
    shutil.copy(folder / "train" / "cat" / "01.png", folder / "train" / "cat" / "again.png")
    (folder / "train" / "cat" / "empty.png").write_bytes(b"")
    (folder / "train" / "dog" / "empty.png").write_bytes(b"")
    (folder / "test" / "dog" / "empty.png").write_bytes(b"")
    assert faults_of(folder) == []


def test_held_out_images_that_are_trained_on_are_counted_and_the_first_named(folder):
    for i in range(4):
        shutil.copy(
            folder / "train" / "cat" / f"0{i}.png", folder / "test" / "cat" / f"again{i}.png"
        )
    shutil.copy(folder / "train" / "dog" / "00.png", folder / "validation" / "dog" / "again.png")
    validation, test = faults_of(folder)
    assert validation == (
        "Of the 13 validation images 1 are among the training images too, with the same bytes: "
        "validation/dog/again.png and train/dog/00.png; "
        "validation scores are better than the truth."
    )
    assert test.startswith("Of the 16 test images 4 are among the training images too")
    assert "test/cat/again2.png and train/cat/02.png, and 1 more; they do not count in" in test


def test_what_the_weights_were_trained_on_before_is_told_apart(folder, tmp_path):
    shutil.copytree(folder / "test", tmp_path / "earlier")
    earlier = load_data(str(tmp_path / "earlier"))
    before = describe_training(earlier, OPTIONS, digest_splits(earlier))
    (found,) = faults_of(folder, before)
    images = len(earlier.split("train"))
    assert f"Of the 12 test images {images} were trained on before, by the weights" in found


def test_where_images_are_too_many_to_compare_classes_are_looked_at(folder):
    shutil.rmtree(folder / "validation" / "fox")
    data = load_data(str(folder))
    described = describe_training(data, OPTIONS, None)
    assert len(described.digests) == 0
    absent, unseen = list_faults(data, None, described)
    assert "No validation image is of fox" in absent
    assert unseen == (
        "With more than 100,000 training images, the same image in two classes, or in training and "
        "held-out images, is not looked for."
    )


def test_weights_that_do_not_say_what_they_were_trained_on_are_a_fault(folder):
    data = load_data(str(folder))
    digests = digest_splits(data)
    described = describe_training(data, OPTIONS, digests)
    (found,) = list_faults(data, digests, described.after(None))
    assert "Not every image that the weights at the start were trained on is noted" in found
    found, _ = list_faults(data, None, describe_training(data, OPTIONS, None).after(None))
    assert "Not every image that the weights at the start were trained on is noted" in found


def test_where_every_held_out_image_is_trained_on_it_is_said_that_none_is_left(folder):
    shutil.rmtree(folder / "test")
    shutil.copytree(folder / "train", folder / "test")
    (folder / "test" / "dog" / "empty.png").write_bytes(b"")
    (found,) = faults_of(folder)
    assert found.startswith("Of the 13 test images 12 are among the training images too")
    assert found.endswith("; no image is left to score the run on.")
