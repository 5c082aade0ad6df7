import dataclasses
import json

import pytest

from senet.data.preprocessing import Preprocessing
from senet.data.sources import load_data
from senet.data.trained_on import describe_training, digest_splits
from senet.files import write_json
from senet.foreign import MAX_FILE, MAX_RECORD
from senet.models.complexity import shapes_only
from senet.recipes.recipe import Recipe
from senet.recipes.resolving import fill_defaults, locate_paths
from senet.runs import record
from senet.runs.folder import IMAGES, RECIPE, RECORD
from senet.runs.reading import read_record

GIVEN = dict(model="se_resnet20_cifar", spec=dict(n_blocks=(1, 1), n_filters=(8, 16), ratio=4))


@pytest.fixture
def written(tmp_path, photos):
    """A folder with the record of a run that was never trained, its recipe and its data."""
    import senet

    given = Recipe(data=str(photos), **GIVEN)
    data = load_data(given.data)
    complete = fill_defaults(locate_paths(given), data)
    with shapes_only():
        model = senet.create(given.model, classes=2, input_shape=(32, 32, 3), **given.spec)
    folder = tmp_path / "run"
    folder.mkdir()
    options = dict(seed=0, validation=0.1, test=0.2, fraction=1.0)
    trained_on = describe_training(data, options, digest_splits(data))
    record.write(folder, given, complete, data, model, Preprocessing(32), trained_on)
    return folder, given, complete, data


def test_a_record_is_read_as_it_was_written(written):
    folder, given, complete, data = written
    began = record.read(folder)
    assert (began.folder, began.recipe, began.class_names) == (folder, complete, data.class_names)
    assert began.preprocessing == Preprocessing(32)
    assert began.trained_on.recognise(data.split("train")).all()
    assert not began.trained_on.recognise(data.split("test")).any()
    assert began.list_other_fields(locate_paths(given)) == []
    other = dataclasses.replace(locate_paths(given), mixup=0.1, seed=3)
    assert began.list_other_fields(other) == ["mixup", "seed"]
    assert began.list_machine_changes() == []
    assert {path.name for path in folder.iterdir()} == {RECORD, RECIPE, IMAGES}
    assert read_record(folder)["command"] == given.command(str(folder))
    began.check_data(data, complete)


def test_what_a_resume_does_not_need_may_be_missing(written):
    folder, given, *_ = written
    for asked in (None, 3, "x", []):
        write_json(folder / RECORD, read_record(folder) | dict(asked=asked))
        began = record.read(folder)
        assert "model" in began.list_other_fields(given)
    values = read_record(folder)
    values.pop("trained_on")
    write_json(folder / RECORD, values)
    assert record.read(folder).trained_on is None
    values.pop("same")
    write_json(folder / RECORD, values)
    with pytest.raises(ValueError, match=r"run\.json' is damaged: 'same'"):
        record.read(folder)


def test_data_that_were_moved_are_noted_and_nothing_else_is_changed(written, tmp_path):
    folder, _, complete, _ = written
    before = (folder / RECORD).read_bytes()
    began = record.read(folder)
    began.note_changes(complete)
    assert (folder / RECORD).read_bytes() == before
    began.note_changes(dataclasses.replace(complete, data="elsewhere"))
    after = json.loads((folder / RECORD).read_bytes())
    expected = json.loads(before)
    expected["recipe"]["data"] = "elsewhere"
    assert after == expected


def test_a_record_with_very_many_classes_is_read_and_one_beyond_reason_is_not(written):
    folder, *_ = written
    names = [f"class {i:06d} {'x' * 200}" for i in range(100_000)]
    write_json(folder / RECORD, read_record(folder) | dict(class_names=names))
    assert (folder / RECORD).stat().st_size > MAX_FILE
    assert len(record.read(folder).class_names) == 100_000
    with open(folder / RECORD, "r+b") as file:
        file.truncate(MAX_RECORD + 1)
    with pytest.raises(ValueError, match="no file of up to 67,108,864 bytes"):
        record.read(folder)
