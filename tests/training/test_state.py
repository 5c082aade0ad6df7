import json

import numpy as np
import pytest

from senet.data.damage import BadImages
from senet.data.decode import ImageError
from senet.data.sources import Data, Source
from senet.training.state import State

ROW = dict(epoch=1, val_accuracy=0.5)


class Damaged:
    """Images that cannot be read."""

    def image(self, key):
        raise ImageError("Not a JPEG, PNG")


def new_state():
    source = Source(tuple("abcd"), np.array([0, 0, 1, 1]), Damaged(), range(4))
    return State(5, BadImages(Data(("x", "y"), {"train": source}), "ignore", None))


def busy_state():
    """A state in which nothing is as at the start."""
    state = new_state()
    state.begin_epoch()
    state.count_step(2.0, 0.25)
    state.stop_clock()
    state.end_epoch(ROW)
    state.count_step(1.5, 0.5)
    state.count_step(0.5, 0.75)
    state.position, state.skipped = 3, 1
    state.plateau.drops, state.plateau.waited, state.plateau.best = 1, 2, 0.7
    state.bad_images.add("train", [2])
    return state


def test_a_state_is_restored_from_its_json():
    state, again = busy_state(), new_state()
    values = json.loads(json.dumps(state.to_json()))
    again.restore(values)
    assert again.to_json() == values
    assert (again.step, again.epoch, again.position, again.skipped) == (8, 1, 3, 1)
    assert again.average_steps() == (1.0, 0.625)
    assert list(again.bad_images.indices) == [2]
    assert again.plateau == state.plateau
    fresh = new_state().to_json()
    assert all(values[name] != fresh[name] for name in fresh), "every counter is saved"


def test_the_best_epoch_is_the_first_of_the_best():
    state = new_state()
    accuracies = (0.5, 0.75, 0.75, 0.25, 1.0)
    better = [state.end_epoch(dict(val_accuracy=accuracy)) for accuracy in accuracies]
    assert better == [True, True, False, False, True]
    assert state.best == 1.0
    assert not state.end_epoch(dict(val_accuracy=float("nan")))
    assert state.best == 1.0


def test_the_clock_runs_within_epochs_only(monkeypatch):
    now = iter([10.0, 12.5, 14.0, 14.0, 99.0])
    state = new_state()
    monkeypatch.setattr("senet.training.state.time.monotonic", lambda: next(now))
    state.begin_epoch()
    assert state.seconds_so_far == pytest.approx(2.5)
    assert state.stop_clock() == pytest.approx(4.0)
    assert state.seconds_so_far == pytest.approx(4.0)
    state.seconds, state.began = 4.0, 90.0
    assert state.to_json()["seconds"] == pytest.approx(13.0)  # a run that is cut off counts it too
