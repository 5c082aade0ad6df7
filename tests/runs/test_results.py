import csv
import json

import pytest

from senet.recipes.recipe import Recipe
from senet.runs.checkpoint import Checkpoint
from senet.runs.folder import METRICS, RESULT
from senet.runs.record import RunRecord
from senet.runs.results import read_finished, write_metrics, write_result

RESULTS = dict(epochs=3, interrupted=None, top1=0.5)


def began_in(folder):
    return RunRecord(folder, {}, Recipe(epochs=3), {}, None, ("a", "b"), "1f", None, {})


def after(epoch):
    return Checkpoint(10 * epoch, {}, dict(epoch=epoch))


def test_metrics_are_a_row_for_each_epoch(tmp_path):
    write_metrics(tmp_path, [dict(epoch=1, loss=2.5), dict(epoch=2, loss=0.1)])
    with open(tmp_path / METRICS, newline="") as file:
        assert list(csv.DictReader(file)) == [
            dict(epoch="1", loss="2.5"),
            dict(epoch="2", loss="0.1"),
        ]


def test_a_run_is_finished_when_its_last_epoch_is_saved_and_scored(tmp_path):
    began = began_in(tmp_path)
    assert read_finished(began, after(3), Recipe(epochs=3)) is None
    write_result(tmp_path, RESULTS)
    assert read_finished(began, after(3), Recipe(epochs=3)) == RESULTS
    assert read_finished(began, after(2), Recipe(epochs=3)) is None
    assert read_finished(began, None, Recipe(epochs=3)) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"epochs": 3}', "[" * 100_000),
        *(json.dumps(RESULTS | dict(epochs=2)), json.dumps(RESULTS | dict(interrupted="SIGINT"))),
    ],
)
def test_another_or_a_damaged_result_is_none(tmp_path, text):
    (tmp_path / RESULT).write_text(text)
    assert read_finished(began_in(tmp_path), after(3), Recipe(epochs=3)) is None


WHOLE = RESULTS | dict(split="test", top1=0.5, images=4, baseline=0.25, majority_class="a")


@pytest.mark.parametrize(
    "changes",
    [
        dict(top1=[1]),
        dict(top1="0.5"),
        dict(top1=None),
        dict(top1=7),
        dict(images=None, top1="x"),
        dict(images=-1),
        dict(split=3),
        dict(baseline={}),
        dict(majority_class=None),
        dict(trained_on="x"),
    ],
)
def test_a_result_with_numbers_of_another_kind_is_none(tmp_path, changes):
    (tmp_path / RESULT).write_text(json.dumps(WHOLE))
    assert read_finished(began_in(tmp_path), after(3), Recipe(epochs=3)) == WHOLE
    (tmp_path / RESULT).write_text(json.dumps(WHOLE | changes))
    assert read_finished(began_in(tmp_path), after(3), Recipe(epochs=3)) is None
