import contextlib
import csv
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import filelock
import keras
import numpy as np
import pytest
from safetensors.numpy import load_file

import senet
from senet.data.pipeline import training_batches
from senet.files import write_json
from senet.recipes.recipe import Recipe
from senet.runs import checkpoint, pictures, record
from senet.training import finish, loop, setup
from senet.training.parts import Diverged
from senet.training.run import resume, train
from tests.conftest import make_photos
from tests.training import kills

FIELDS = dict(model="se_resnet20_cifar", size=32, batch_size=8, epochs=3, reference_batch=0)
BUSY = dict(
    **dict(mixup=0.2, cutmix=1.0, random_augment=4.0, erase=0.2, ema=0.9, accumulate=2),
    spec=dict(dropout=0.2, stochastic_depth=0.1, n_blocks=(1, 1), n_filters=(8, 16), ratio=4),
)
"""Whatever draws random numbers or has a memory."""
GOLDEN = kills.ROOT / "tests" / "golden"
pytestmark = pytest.mark.usefixtures("no_pictures")


class Killed(BaseException):
    """Ends a run between two instructions, as a kill does."""


@contextlib.contextmanager
def killed_at(monkeypatch, step, patch_batches=None):
    """Let the run of the body end before a step, with a checkpoint after every one."""
    real = loop.take_step

    def stepped(run, batch):
        if run.state.step == step:
            raise Killed
        real(run, batch)
        run.state.saved = -1e9

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", stepped)
        if patch_batches:
            patch.setattr(setup, "training_batches", patch_batches)
        with pytest.raises(Killed):
            yield


def end_of(folder):
    """Every array of the last checkpoint."""
    return load_file(max((folder / "checkpoints").glob("step-*")))


def assert_same(first, second):
    assert first.keys() == second.keys()
    for name in first:
        assert first[name].tobytes() == second[name].tobytes(), name


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A run that was left alone, and its recipe."""
    folder = tmp_path_factory.mktemp("alone")
    photos = make_photos(folder / "photos", 24)
    recipe = Recipe(data=str(photos), **FIELDS, **BUSY)
    train(recipe, folder / "run")
    return folder / "run", recipe


@pytest.mark.parametrize("step", [0, 1, 4, 5, 8, 9])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(alone, tmp_path, monkeypatch, step):
    folder, recipe = alone
    with killed_at(monkeypatch, step):
        train(recipe, tmp_path / "run")
    keras.utils.clear_session()
    shutil.move(tmp_path / "run", tmp_path / "moved")
    result = resume(tmp_path / "moved")
    assert_same(end_of(folder), end_of(tmp_path / "moved"))
    whole = json.loads((folder / "result.json").read_text())
    assert {k: result[k] for k in ("top1", "loss", "epochs")} == {
        k: whole[k] for k in ("top1", "loss", "epochs")
    }
    rows = [(folder / "metrics.csv").read_text(), (tmp_path / "moved/metrics.csv").read_text()]
    losses = [[line.split(",")[:4] for line in text.splitlines()] for text in rows]
    assert losses[0] == losses[1]


def test_a_run_that_was_gone_on_with_says_so_in_its_record_curves_and_report(
    alone, tmp_path, monkeypatch
):
    _, recipe = alone
    folder, marked = tmp_path / "run", []
    real = pictures.draw_curves
    monkeypatch.setattr(
        pictures,
        "draw_curves",
        lambda history, paths, **options: (
            marked.append(options["resumed"]) or real(history, paths, **options)
        ),
    )
    with killed_at(monkeypatch, 5):
        train(recipe, folder)
    assert "resumed" not in json.loads((folder / "run.json").read_text())
    with killed_at(monkeypatch, 5):  # killed before its next checkpoint
        resume(folder)
    per_epoch = training_steps(folder)
    resume(folder)
    (noted,) = json.loads((folder / "run.json").read_text())["resumed"]
    assert (noted["step"], noted["epochs"]) == (5, round(5 / per_epoch, 4))
    assert marked[0] == []
    assert marked[-1] == [noted["epochs"]]
    assert f"after {noted['epochs']:.4g} epochs" in (folder / "report.html").read_text()
    before = (folder / "run.json").read_bytes()
    resume(folder)  # is finished: nothing goes on
    assert (folder / "run.json").read_bytes() == before


def training_steps(folder):
    """Steps of an epoch, of batches of 8."""
    images = json.loads((folder / "run.json").read_text())["images"]["train"]
    return images // FIELDS["batch_size"]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_saves_the_step_and_the_run_goes_on(alone, tmp_path, monkeypatch, name, capsys):
    folder, recipe = alone
    real = loop.take_step

    def told(run, batch):
        real(run, batch)
        if run.state.step == 5:
            signal.raise_signal(signal.Signals[name])

    with monkeypatch.context() as patch:
        patch.setattr(loop, "take_step", told)
        result = train(recipe, tmp_path / "run")
    assert (result["interrupted"], result["epochs"]) == (name, 1)
    assert ("top1" in result) == (name == "SIGINT")
    assert "senet train --resume" in capsys.readouterr().err
    assert checkpoint.read_newest(tmp_path / "run")[0].step == 5
    resume(tmp_path / "run")
    assert_same(end_of(folder), end_of(tmp_path / "run"))


def test_a_finished_run_gives_its_result_again(alone, capsys):
    folder, _ = alone
    before = sorted((p.name, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.name != ".lock")
    assert resume(folder) == json.loads((folder / "result.json").read_text())
    assert "is finished" in capsys.readouterr().err
    assert before == sorted(
        (p.name, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.name != ".lock"
    )


@pytest.fixture(scope="module")
def stopped(alone, tmp_path_factory):
    """A folder with images and a run that was killed in its second epoch, and the recipe."""
    folder, (_, recipe) = tmp_path_factory.mktemp("stopped"), alone
    shutil.copytree(recipe.data, folder / "photos")
    own = dataclasses.replace(recipe, data=str(folder / "photos"))
    with pytest.MonkeyPatch.context() as patch, killed_at(patch, 5):
        train(own, folder / "run")
    return folder, own


@pytest.fixture
def begun(stopped, tmp_path):
    """A run that was killed in its second epoch, on images of its own, and its recipe."""
    folder, recipe = stopped
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    for name in ("run.json", "recipe.toml"):
        path = tmp_path / "run" / name
        path.write_text(path.read_text().replace(str(folder), str(tmp_path)))
    return tmp_path / "run", dataclasses.replace(recipe, data=str(tmp_path / "photos"))


def test_another_recipe_is_refused_with_the_differences(begun):
    folder, _ = begun
    with pytest.raises(ValueError, match=r"its recipe, and seed was 0 and would be 4"):
        resume(folder, dict(epochs=9, seed=4, workers=0))
    with pytest.raises(ValueError, match="Did you mean 'epochs'"):
        resume(folder, dict(epoch=9))
    assert resume(folder, dict(epochs=3, on_nan="skip"))["epochs"] == 3


@pytest.mark.parametrize("change", ["added", "removed", "renamed", "content"])
def test_other_images_are_refused(begun, change):
    folder, recipe = begun
    photo = min(pathlib.Path(recipe.data).rglob("*.png"))
    if change == "added":
        shutil.copy(photo, photo.with_name("new.png"))
    elif change == "removed":
        photo.unlink()
    elif change == "renamed":
        photo.rename(photo.with_name("other.png"))
    else:
        photo.write_bytes(photo.read_bytes() + b" ")
    said = dict(added="new.png was added", removed=f"{photo.name} was removed")
    said |= dict(renamed="other.png was added", content=f"{photo.name} has another content")
    with pytest.raises(ValueError, match=f"not those that the run began with: .*{said[change]}"):
        resume(folder)


def test_the_same_images_may_lie_elsewhere(alone, begun, tmp_path):
    folder, recipe = begun
    shutil.move(recipe.data, tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError):
        resume(folder)
    assert resume(folder, dict(data=str(tmp_path / "elsewhere")))["epochs"] == 3
    assert_same(end_of(alone[0]), end_of(folder))
    assert record.read(folder).recipe.data == str(tmp_path / "elsewhere")


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(alone, begun, capsys):
    folder, _ = begun
    newest = max((folder / "checkpoints").glob("step-*"))
    newest.write_bytes(newest.read_bytes()[:-100])
    resume(folder)
    assert f"{newest.name}.damaged is passed over" in capsys.readouterr().err
    assert_same(end_of(alone[0]), end_of(folder))


def test_without_a_whole_checkpoint_nothing_is_overwritten(begun):
    folder, _ = begun
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"")
    before = (folder / "model.keras").read_bytes()
    with pytest.raises(ValueError, match=r"No checkpoint in .* is whole.*model\.keras"):
        resume(folder)
    assert (folder / "model.keras").read_bytes() == before


def test_what_was_half_written_is_removed_and_a_start_that_was_cut_off_repeated(alone, begun):
    folder, recipe = begun
    for name in (".model-x1", ".run-x2", "checkpoints/.step-000000099-x3"):
        (folder / name).mkdir()
        (folder / name / "half").write_text("x")
    resume(folder)
    assert [p.name for p in folder.rglob(".*")] == [".lock"]
    other = folder.parent / "other"
    (other / ".recipe-x").mkdir(parents=True)
    (other / "recipe.toml").write_text("half")
    train(recipe, other)
    assert_same(end_of(other), end_of(folder))


def test_a_run_that_was_killed_while_it_was_evaluated_is_evaluated_again(begun, monkeypatch):
    folder, _ = begun
    write_json(folder / "result.json", dict(epochs=1, interrupted="SIGINT", top1=0.0))

    def killed(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(finish.report, "write", killed)
        with pytest.raises(Killed):
            resume(folder)
    result = resume(folder)
    assert (result["epochs"], result["interrupted"]) == (3, None)
    assert result["images"] == 10


def test_a_damaged_record_and_a_folder_without_one_are_refused(begun, tmp_path):
    folder, _ = begun
    text = (folder / "run.json").read_text()
    for damaged in (
        "",
        "{",
        "[]",
        text.replace('"recipe"', '"receipt"'),
        text.replace('"se_', '"x_'),
    ):
        (folder / "run.json").write_text(damaged)
        with pytest.raises(ValueError, match=r"run\.json' is damaged"):
            resume(folder)
    with pytest.raises(FileNotFoundError, match="no run folder"):
        resume(tmp_path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (dict(class_names=[1, 2]), "are not all texts"),
        (dict(class_names=None), "are no lists"),
        (dict(class_names="ab"), "are no lists"),
        (dict(split_sha256=[1]), "are not all texts"),
        (dict(warnings=3), "are no lists"),
        (dict(warnings=[[1]]), "are not all texts"),
        (dict(machine=4), "machine and versions are no records"),
        (dict(versions=[1]), "machine and versions are no records"),
        (dict(same=[1]), ""),
        (dict(spec=None), ""),
    ],
)
def test_a_record_with_fields_of_another_kind_is_damaged_before_the_training(
    begun, changes, reason
):
    folder, _ = begun
    about = json.loads((folder / "run.json").read_text())
    write_json(folder / "run.json", about | changes)
    with pytest.raises(
        ValueError, match=rf"run\.json' is damaged: .*{reason.replace('damaged', '')}"
    ):
        resume(folder)


@pytest.mark.parametrize("changes", [dict(n_blocks=[3000] * 2), dict(n_filters=[10**6] * 2)])
def test_a_record_of_a_larger_network_than_its_checkpoint_is_refused_unbuilt(begun, changes):
    folder, _ = begun
    about = json.loads((folder / "run.json").read_text())
    about["spec"] |= changes
    write_json(folder / "run.json", about)
    with pytest.raises(ValueError, match="a larger network than its checkpoint holds"):
        resume(folder)


def test_a_machine_that_rounds_otherwise_is_said(begun, capsys):
    folder, _ = begun
    about = json.loads((folder / "run.json").read_text())
    about["same"] |= dict(cores=64, numpy="1.0")
    write_json(folder / "run.json", about)
    resume(folder)
    error = capsys.readouterr().err
    assert "began with cores 64 and now" in error
    assert "numpy 1.0 and now" in error
    assert "not bit for bit" in error


def raise_no_disk(*_):
    raise OSError("no disk")


@pytest.mark.parametrize("schedule", ["constant", "plateau"])
def test_a_run_that_is_made_longer_is_the_run_that_was_long_from_the_start(tmp_path, schedule):
    photos = make_photos(tmp_path / "photos", 16)
    fields = dict(data=str(photos), **FIELDS, spec=dict(n_blocks=(1, 1, 1)), schedule=schedule)
    long = Recipe(**fields | dict(epochs=4, warmup=0.25))
    train(long, tmp_path / "long")
    short = dataclasses.replace(long, epochs=2, warmup=0.5)
    before = train(short, tmp_path / "short")
    assert resume(tmp_path / "short", {"epochs": 2}) == before
    with pytest.raises(
        senet.InputError, match="has trained for 2 epochs already: it cannot have 1"
    ):
        resume(tmp_path / "short", {"epochs": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "make_run", raise_no_disk)
        with pytest.raises(OSError, match="no disk"):
            resume(tmp_path / "short", {"epochs": 4})
    assert resume(tmp_path / "short") == before  # nothing was noted, nothing is lost
    after = resume(tmp_path / "short", {"epochs": 4})
    assert (after["epochs"], before["epochs"]) == (4, 2)
    assert_same(end_of(tmp_path / "short"), end_of(tmp_path / "long"))
    records = [record.read(tmp_path / name) for name in ("short", "long")]
    assert records[0].recipe == records[1].recipe
    assert records[0].asked == records[1].asked
    toml = [(tmp_path / name / "recipe.toml").read_text() for name in ("short", "long")]
    assert toml[0] == toml[1]
    assert resume(tmp_path / "short") == after
    rows = (tmp_path / "short/metrics.csv").read_text().splitlines()
    assert len(rows) == 5


def test_a_run_whose_schedule_ends_with_it_says_how_to_go_on(alone):
    folder, _ = alone
    before = (folder / "run.json").read_bytes()
    with pytest.raises(senet.InputError) as caught:
        resume(folder, {"epochs": 9})
    text = str(caught.value)
    assert "With the schedule 'cosine' the learning rate of every step follows" in text
    recipe_file = folder / "recipe.toml"
    assert f"senet train --recipe {recipe_file} --weights {folder} --epochs 6 --warmup 0" in text
    assert "--schedule constant or plateau can be made longer" in text
    assert (folder / "run.json").read_bytes() == before


def test_a_start_that_failed_before_its_first_step_leaves_its_folder_usable(tmp_path, monkeypatch):
    photos = make_photos(tmp_path / "photos", 16)
    recipe = Recipe(data=str(photos), **FIELDS, spec=dict(n_blocks=(1, 1, 1)))
    with killed_at(monkeypatch, 0):
        train(recipe, tmp_path / "run")
    assert (tmp_path / "run/run.json").is_file()
    other = dataclasses.replace(recipe, epochs=1, seed=3)
    assert train(other, tmp_path / "run")["epochs"] == 1
    assert record.read(tmp_path / "run").recipe.seed == 3


def test_a_second_process_is_refused(begun):
    folder, recipe = begun
    with (
        filelock.FileLock(folder / ".lock"),
        pytest.raises(FileExistsError, match="Another process trains in"),
    ):
        resume(folder)
    with pytest.raises(FileExistsError, match="is a run already: senet train --resume"):
        train(recipe, folder)


@pytest.mark.parametrize("what", ["images", "targets"])
def test_a_step_that_is_no_number_is_not_kept_and_named(alone, tmp_path, monkeypatch, what):
    _, recipe = alone

    def poisoned(*args, **options):
        for i, batch in enumerate(training_batches(*args, **options), options.get("first", 0)):
            if (options["epoch"], i) == (1, 1):
                batch = batch._replace(**{what: getattr(batch, what) * np.nan})
            yield batch

    monkeypatch.setattr(setup, "training_batches", poisoned)
    with pytest.raises(
        Diverged, match=r"In step 6 \(epoch 2\) (the loss|a gradient) .* --on-nan skip"
    ):
        train(recipe, tmp_path / "run")
    found, _ = checkpoint.read_newest(tmp_path / "run")
    assert found.step == 5
    with killed_at(monkeypatch, 5, patch_batches=training_batches):
        train(recipe, tmp_path / "stopped")
    before, _ = checkpoint.read_newest(tmp_path / "stopped")
    assert before.step == 5
    assert_same(before.arrays, found.arrays)
    assert resume(tmp_path / "run", dict(on_nan="skip"))["epochs"] == 3
    model = senet.load(tmp_path / "run" / "model.keras")
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_steps_that_are_never_numbers_end_the_run_even_if_they_may_be_skipped(
    alone, tmp_path, monkeypatch
):
    _, recipe = alone

    def poisoned(*args, **options):
        for batch in training_batches(*args, **options):
            yield batch._replace(images=batch.images * np.nan)

    monkeypatch.setattr(setup, "training_batches", poisoned)
    monkeypatch.setattr(loop, "MAX_SKIPPED", 2)
    with pytest.raises(Diverged, match="In step 3"):
        train(dataclasses.replace(recipe, on_nan="skip"), tmp_path / "run")


@pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="its variables are TensorFlow's"
)
def test_a_run_of_the_first_version_goes_on_to_its_end(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(GOLDEN / "run_0_1", folder)
    result = resume(folder)
    assert (result["epochs"], result["interrupted"]) == (3, None)
    rows, expected = (
        list(csv.DictReader(path.read_text().splitlines()))
        for path in (folder / "metrics.csv", GOLDEN / "run_0_1.csv")
    )
    exact = ("epoch", "loss", "val_loss", "accuracy", "val_accuracy", "learning_rate")
    assert [rows[0][name] for name in exact] == [expected[0][name] for name in exact]
    for row, other in zip(rows[1:], expected[1:], strict=True):  # it was killed in the second
        assert row["learning_rate"] == other["learning_rate"]
        for name in ("loss", "val_loss"):  # processors round differently
            assert float(row[name]) == pytest.approx(float(other[name]), rel=1e-3)


@pytest.mark.slow
def test_thirty_kills_leave_no_trace(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(kills.ROOT)}
    command = [sys.executable, kills.__file__, "30", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["same"]
