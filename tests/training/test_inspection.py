import csv
import shutil
import types

import numpy as np
import pytest

from senet.data.damage import BadImages, TooManyBadImages
from senet.data.sources import load_data
from senet.recipes.recipe import Recipe
from senet.training import inspection
from senet.training.distribution import Team
from senet.training.inspection import look_for_damage
from senet.training.run import resume, train
from tests.conftest import make_photos

TINY = dict(
    **dict(model="se_resnet20_cifar", size=32, batch_size=8, warmup=0.0, epochs=1),
    **dict(spec=dict(n_blocks=(1, 1, 1)), learning_rate=0.02, reference_batch=0),
)
COUNTS = dict(train=8, validation=4, test=4)

pytestmark = pytest.mark.usefixtures("no_pictures")


@pytest.fixture
def damaged(tmp_path):
    """A folder of splits with one damaged image in each."""
    for seed, (name, count) in enumerate(COUNTS.items()):
        make_photos(tmp_path / "data" / name, count, seed=seed)
        (tmp_path / "data" / name / "circle" / "01.png").write_text("no image")
    return tmp_path / "data"


@pytest.fixture
def no_time(monkeypatch):
    """No image is looked at before the training."""
    monkeypatch.setattr(inspection, "LOOKING_SECONDS", 0.0)


def rows(folder):
    with open(folder / "bad_images.csv", newline="", encoding="utf-8") as file:
        return [(row["file"], row["split"]) for row in csv.DictReader(file)]


EXPECTED = [(f"{split}/circle/01.png", split) for split in COUNTS]


def test_damaged_images_of_all_splits_count_and_are_listed(tmp_path, damaged, capsys):
    result = train(Recipe(data=str(damaged), bad_images="ignore", **TINY), tmp_path / "run")
    assert result["bad_images"] == dict(
        damaged=3,
        images=32,
        by_class={"circle": 3},
        by_split={"train": 1, "validation": 1, "test": 1},
    )
    assert rows(tmp_path / "run") == EXPECTED
    assert (result["images"], result["skipped"]) == (7, 1)
    assert any(
        "1 of 8 images cannot be read and do not count: test/circle/01.png" in warning
        for warning in result["warnings"]
    )
    stderr = capsys.readouterr().err
    assert f"3 of 32 images cannot be read and are left out: {tmp_path}" in stderr
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "3 images could not be read" in report
    assert "validation/circle/01.png (validation): Not a JPEG" in report


def test_a_class_none_of_whose_images_can_be_read_is_named(tmp_path, capsys):
    photos = make_photos(tmp_path / "data", 8, ("circle", "square", "star"))
    for path in (photos / "star").iterdir():
        path.write_text("no image")
    train(Recipe(data=str(photos), bad_images="ignore", **TINY), tmp_path / "run")
    assert "no image of star can be read" in capsys.readouterr().err


def test_all_damaged_images_are_named_before_the_training_and_mended_at_once(tmp_path, damaged):
    recipe = Recipe(data=str(damaged), **TINY)
    with pytest.raises(TooManyBadImages, match="3 of 32 images cannot be read") as error:
        train(recipe, tmp_path / "run")
    for name, split in EXPECTED:
        assert f"{name} ({split}): Not a JPEG" in str(error.value)
    assert rows(tmp_path / "run") == EXPECTED
    assert not (tmp_path / "run" / "run.json").exists()
    for split in COUNTS:
        sound = damaged / split / "circle" / "00.png"
        (damaged / split / "circle" / "01.png").write_bytes(sound.read_bytes())
    result = train(recipe, tmp_path / "run")
    assert result["bad_images"]["damaged"] == 0
    assert not (tmp_path / "run" / "bad_images.csv").exists()


@pytest.mark.usefixtures("no_time")
def test_what_there_was_no_time_for_is_found_as_it_is_used(tmp_path, damaged, capsys):
    result = train(Recipe(data=str(damaged), bad_images="ignore", **TINY), tmp_path / "run")
    assert result["bad_images"]["by_split"] == {"train": 1, "validation": 1, "test": 1}
    assert rows(tmp_path / "run") == EXPECTED
    assert "looked for damage in 0 of 32 images" in capsys.readouterr().err


@pytest.mark.usefixtures("no_time")
def test_damaged_validation_images_stop_the_first_epoch(tmp_path, damaged):
    (damaged / "train" / "circle" / "01.png").unlink()
    with pytest.raises(TooManyBadImages, match=r"validation/circle/01\.png \(validation\)"):
        train(Recipe(data=str(damaged), bad_images="stop", **TINY), tmp_path / "run")


@pytest.mark.usefixtures("no_time")
def test_damaged_test_images_found_after_the_training_cost_no_result(tmp_path, damaged):
    for split in ("train", "validation"):
        (damaged / split / "circle" / "01.png").unlink()
    result = train(Recipe(data=str(damaged), bad_images="stop", **TINY), tmp_path / "run")
    assert result["bad_images"]["by_split"] == {"test": 1}
    assert result["images"] == 7


def test_a_resumed_run_knows_the_damaged_images_of_before(tmp_path, damaged):
    recipe = Recipe(data=str(damaged), bad_images="ignore", **TINY)
    before = train(recipe, tmp_path / "run")
    (tmp_path / "run" / "result.json").unlink()
    assert resume(tmp_path / "run")["bad_images"] == before["bad_images"]


def test_a_run_that_goes_on_from_its_start_lists_what_is_damaged_now(tmp_path, damaged):
    recipe = Recipe(data=str(damaged), bad_images="ignore", **TINY)
    train(recipe, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "bad_images.csv").write_text("file,class,reason\nmended.png,circle,was\n")
    resume(tmp_path / "run")
    assert rows(tmp_path / "run") == EXPECTED


def test_processes_look_at_their_shares_and_each_counts_all(damaged, monkeypatch):
    given, said = [], []
    monkeypatch.setattr(inspection.console, "say_damage", lambda run, looked: said.append(looked))

    class Pair(Team):
        def union(self, numbers):
            given.append(numbers)
            return everything

        def gather(self, array):
            return np.stack([array, array])

    data = load_data(str(damaged))
    names = [*data.split("all").names]
    everything = [names.index(name) for name, _ in EXPECTED]
    for rank in (0, 1):
        bad_images = BadImages(data, "ignore", None)
        state = types.SimpleNamespace(bad_images=bad_images)
        look_for_damage(types.SimpleNamespace(data=data, team=Pair(rank, 2, 2), state=state))
        assert list(bad_images.indices) == everything
    for rank in (0, 1):
        assert given[rank] == [index for index in everything if index % 2 == rank]
    assert said == [32]
