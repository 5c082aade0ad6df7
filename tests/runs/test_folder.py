import filelock
import pytest

from senet.runs import folder
from senet.runs.folder import (
    forget_start,
    is_run,
    lock_folder,
    remove_half_written,
    require_new,
)


def test_a_new_folder_is_missing_or_empty_or_a_start_that_was_cut_off(tmp_path):
    require_new(tmp_path / "missing")
    require_new(tmp_path)
    for name in (folder.RECIPE, folder.IMAGES, folder.LOCK):
        (tmp_path / name).touch()
    require_new(tmp_path)
    assert not is_run(tmp_path)


def test_a_start_that_failed_before_its_first_checkpoint_is_new_again(tmp_path):
    for name in (folder.RECORD, folder.RECIPE, folder.IMAGES, folder.BAD_IMAGES, folder.LOCK):
        (tmp_path / name).touch()
    for name in (folder.EVENTS, folder.CHECKPOINTS):
        (tmp_path / name).mkdir()
    (tmp_path / folder.EVENTS / "events.out.tfevents.1.host").touch()
    (tmp_path / folder.CHECKPOINTS / ".step-half").mkdir()
    require_new(tmp_path)
    forget_start(tmp_path)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {folder.LOCK, folder.CHECKPOINTS, folder.RECIPE, folder.IMAGES}
    require_new(tmp_path)


@pytest.mark.parametrize(
    "name",
    [folder.MODEL, folder.METRICS, f"{folder.CHECKPOINTS}/step-1.safetensors", "events/a.txt"],
)
def test_a_run_that_has_something_to_lose_is_refused(tmp_path, name):
    (tmp_path / folder.RECORD).touch()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    with pytest.raises(FileExistsError, match="is a run already"):
        require_new(tmp_path)
    forget_start(tmp_path)
    assert (tmp_path / folder.RECORD).exists()
    assert (tmp_path / name).exists()


def test_events_alone_are_no_start(tmp_path):
    (tmp_path / folder.EVENTS).mkdir()
    with pytest.raises(FileExistsError, match="not an empty folder"):
        require_new(tmp_path)


def test_a_run_and_other_things_are_refused(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(FileExistsError, match="not an empty folder"):
            require_new(path)
    (tmp_path / folder.RECORD).touch()
    assert is_run(tmp_path)
    with pytest.raises(FileExistsError, match="is a run already: senet train --resume"):
        require_new(tmp_path)


def test_the_lock_is_let_go_after_an_error_and_its_file_locks_nothing(tmp_path):
    with pytest.raises(RuntimeError), lock_folder(tmp_path):
        raise RuntimeError
    assert (tmp_path / folder.LOCK).exists()
    with lock_folder(tmp_path), pytest.raises(filelock.Timeout):
        filelock.FileLock(tmp_path / folder.LOCK).acquire(timeout=0)


def test_only_what_was_being_written_is_removed(tmp_path):
    kept = ["model.keras", ".hidden", "checkpoints/step-000000001-0123456789abcdef.safetensors"]
    for name in (*kept, ".model-x1/model.keras", "checkpoints/.step-000000002-x2/half"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".link-x3").symlink_to(tmp_path / "checkpoints", target_is_directory=True)
    remove_half_written(tmp_path)
    left = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()}
    assert left == set(kept)
    assert (tmp_path / ".link-x3").is_symlink()
