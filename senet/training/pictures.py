"""What a run shows of itself: its curves while it goes on, and where it saw what it mistook."""

from collections.abc import Mapping
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
    """Draw the learning curves of a run as far as it is.

    What keeps them from being drawn, as a program that holds the file, ends no training.
    """
    try:
        draw_learning(
            run.folder,
            run.state.history,
            network=run.plan.model,
            data=run.plan.data,
            epochs=run.plan.epochs,
            resumed=list_resumptions(read_record(run.folder)),
        )
    except Exception as error:
        console.say_warnings([f"The learning curves could not be drawn: {error}"])


def find_heat_of(
    model: keras.Model,
    preprocessing: Preprocessing,
    evaluation: Evaluation,
    crops: Mapping[int, Any],
) -> Mapping[tuple[int, int], np.ndarray]:
    """Where a network saw the classes of mistakes; nothing where it cannot be said.

    A report without heat is better than none.
    """
    try:
        with use_one_device():
            return find_heat(model, preprocessing, evaluation, crops)
    except Exception as error:
        console.say_warnings([f"The report has no heat maps: {error}"])
        return {}
