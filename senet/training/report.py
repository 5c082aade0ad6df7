"""The report of a run: one HTML page that needs no other file."""

import base64
import os
import pathlib
from typing import Any

import jinja2
import numpy as np

from senet import plotting
from senet.data.preprocessing import Preprocessing
from senet.data.sources import Source
from senet.evaluation import Evaluation
from senet.files import replacing
from senet.progress import clock

PICTURES = {
    "curves": "Learning curves",
    "confusion": "Confusion matrix",
    "predictions": "Predictions on held-out images, the most confident mistakes first",
    "samples": "Training images",
}
SHOWN = 24
"""Held-out images in the picture of predictions."""


def write(
    folder: pathlib.Path,
    result: dict[str, Any],
    config: dict[str, Any],
    history: list[dict[str, Any]],
    evaluation: Evaluation,
) -> None:
    """Write `report.html` into a run folder whose pictures are drawn already.

    Args:
        folder: of the run.
        result: scores and facts of the run.
        config: recipe, versions, machine.
        history: one record for each epoch.
        evaluation: on held-out images.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("senet.training", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(
        result=result,
        config=config,
        history=history,
        per_class=evaluation.per_class,
        data=pathlib.Path(result["data"]).name,
        time=clock(result["seconds"]),
        pictures=[
            (title, base64.b64encode((folder / f"{name}.png").read_bytes()).decode())
            for name, title in PICTURES.items()
        ],
    )
    with replacing(folder / "report.html") as path:
        path.write_text(page, encoding="utf-8")


def draw_predictions(
    evaluation: Evaluation,
    source: Source,
    preprocessing: Preprocessing,
    path: str | os.PathLike,
) -> None:
    """Held-out images with predicted and true class, mistakes first, then a spread of the rest."""
    chosen = list(evaluation.mistakes[: SHOWN // 2])
    correct = np.flatnonzero(evaluation.predictions == evaluation.labels)
    step = max(1, len(correct) // max(1, SHOWN - len(chosen)))
    chosen += list(correct[::step][: SHOWN - len(chosen)])
    names, predictions = evaluation.class_names, evaluation.predictions
    wrong = predictions != evaluation.labels
    captions = [
        f"{names[predictions[i]]}, {evaluation.probabilities[i].max():.0%}"
        + (f"\nbut is {names[evaluation.labels[i]]}" if wrong[i] else "")
        for i in chosen
    ]
    places = {name: place for place, name in enumerate(source.names)}
    plotting.grid(
        [preprocessing.crop(source.image(places[evaluation.names[i]])) for i in chosen],
        captions,
        path,
        title="Predicted class and its probability",
        marked=wrong[chosen],
    )
