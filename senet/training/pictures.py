"""What a run shows of itself: its curves while it goes on, and where it saw what it mistook."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np

from senet.data.preprocessing import Preprocessing
from senet.evaluation import Evaluation
from senet.explanation.heat import find_heat
from senet.runs.pictures import draw_learning
from senet.runs.reading import list_resumptions, read_record
from senet.training import console
from senet.training.distribution import use_one_device
from senet.training.parts import Run


def draw_learning_of(run: Run) -> None:
    """Draw the learning curves of a run as far as it is."""
    with warned("the learning curves could not be drawn"):
        draw_learning(
            run.folder,
            run.state.history,
            network=run.plan.model,
            data=run.plan.data,
            epochs=run.plan.epochs,
            resumed=list_resumptions(read_record(run.folder)),
        )


@contextlib.contextmanager
def warned(what: str) -> Iterator[None]:
    """Let no picture end a training, as where a program holds its file: say so, and go on."""
    try:
        yield
    except Exception as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        console.say_warnings([f"{what[0].upper()}{what[1:]}: {reason}"])


def find_heat_of(
    model: keras.Model,
    preprocessing: Preprocessing,
    evaluation: Evaluation,
    crops: Mapping[int, Any],
) -> Mapping[tuple[int, int], np.ndarray]:
    """Where a network saw the classes of mistakes; nothing where it cannot be said."""
    with warned("the report has no heat maps"), use_one_device():
        return find_heat(model, preprocessing, evaluation, crops)
    return {}
