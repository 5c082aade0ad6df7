"""The end of a run: the saved network is scored on held-out images, and reported."""

import contextlib
import functools
import signal
from typing import Any

import keras

from senet import applications
from senet.evaluation import Evaluation
from senet.explanation.statistics import GateCounter
from senet.runs import report
from senet.runs.folder import MODEL
from senet.runs.pictures import draw_pictures, draw_samples
from senet.runs.reading import read_record
from senet.runs.results import write_result
from senet.training import console
from senet.training.distribution import use_one_device
from senet.training.gates import draw_gates, watch_gates
from senet.training.parts import Run
from senet.training.pictures import draw_learning_of, find_heat_of, warned


def finish(run: Run, interrupted: str | None) -> dict[str, Any]:
    """Score the saved network on held-out images, draw pictures, write report and result.

    A run that was told to stop by another program, or before its first epoch was over, is not
    scored.

    Args:
        run: that was trained.
        interrupted: name of the signal that ended it, or `None`.

    Returns:
        The result of the run.
    """
    result: dict[str, Any] = dict(
        run=str(run.folder),
        model=run.plan.model,
        data=run.plan.data,
        epochs=len(run.state.history),
        seconds=round(run.state.seconds, 1),
        interrupted=interrupted,
    )
    if not run.state.history or interrupted == signal.SIGTERM.name:  # who sends it kills soon after
        return result
    split = run.data.held_out
    model = load_scored_model(run)
    evaluation, warnings, counter = score_unseen(run, split, model)
    bad_images = run.state.bad_images.counts()
    result |= dict(
        split=split,
        **evaluation.summary(),
        bad_images=bad_images,
        images_per_class=run.data.images_per_class,
        warnings=warnings,
    )
    if run.team.leads:
        console.say_warnings(warnings)
        write_files(run, split, evaluation, result, counter, model)
    return result


def score_unseen(
    run: Run, split: str, model: keras.Model
) -> tuple[Evaluation, list[str], GateCounter | None]:
    """Score the network on a split; images that were trained on too are set apart.

    Returns:
        The evaluation, which may be of no image then, what its score hides, and the gates that were
        seen on the way; the process that leads looks at those of its share of the images.
    """
    source = run.data.split(split)
    seen = run.trained_on.recognise_names(source)
    all_seen = len(seen) == len(source)  # there is no score then, and these are shown
    share = run.validation.take_share(source)
    counter = watch_gates(model, share, () if all_seen else seen) if run.team.leads else None
    watch = counter.watch if counter else None
    evaluation = run.validation.score(model, split, f"evaluating on {split}", watch)
    evaluation = evaluation.set_apart(seen, complete=run.trained_on.complete)
    if len(evaluation.labels):
        return evaluation, evaluation.warnings, counter
    warning = (
        f"Every {split} image is among those that were trained on: there is no score, for it would "
        "not say how good the network is on others."
    )
    return evaluation, [warning], counter


def load_scored_model(run: Run) -> keras.Model:
    """The network that is scored: the one that leads reads its file, as users will."""
    if not run.team.leads:
        return run.validation.copy_to_one_device(run.scorer)
    with use_one_device():
        return applications.load(run.folder / MODEL)


def write_files(
    run: Run,
    split: str,
    evaluation: Evaluation,
    result: dict[str, Any],
    counter: GateCounter | None,
    model: keras.Model,
) -> None:
    """Write pictures and report, and the result last: it says that all of them are there.

    Where every image was trained on, these are shown; they have no place in the result.
    """
    folder, history, preprocessing = run.folder, run.state.history, run.network.preprocessing
    source, began = run.data.split(split), read_record(run.folder)
    result["warnings"] = [*began.get("warnings", ()), *result["warnings"]]
    shown = evaluation
    if not len(shown.labels) and shown.trained_on is not None:
        shown, split = shown.trained_on, f"{split}, trained on"
    draw_learning_of(run)
    samples, gates = [], None
    with warned("the predictions could not be drawn"):
        draw_pictures(folder, shown, split, source, preprocessing)
    with (
        warned("the training images could not be drawn"),
        contextlib.closing(run.read_batches(epoch=0)) as batches,
    ):
        samples = draw_samples(folder, next(batches), preprocessing, run.data.class_names)
    with warned("the gates could not be drawn"):
        gates = draw_gates(run, counter, shown) if counter else None
    report.write(
        folder,
        result,
        began,
        history,
        shown,
        source,
        preprocessing,
        skipped=run.state.bad_images.describe(),
        gates=gates,
        heat=functools.partial(find_heat_of, model, preprocessing, shown),
        samples=samples,
    )
    write_result(folder, result)
