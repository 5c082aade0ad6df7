"""The epochs of a run: train, validate, save, until all are done or a signal comes."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from senet import applications
from senet.data.pipeline import Batch, WorkerDied
from senet.progress import meter
from senet.runs.events import Events
from senet.runs.folder import BEST, EVENTS, MODEL
from senet.runs.results import write_metrics
from senet.training import console
from senet.training.interruption import Interruption, Stopped
from senet.training.parts import Run
from senet.training.pictures import draw_learning_of
from senet.training.saving import require_finite_weights, save_checkpoint

MAX_SKIPPED = 20
"""Steps in a row that may be skipped because they are no finite numbers: one bad batch is bad luck,
so many are a network that is lost."""


def fit(run: Run) -> str | None:
    """Train what is left of a run; the name of the signal that ended it, or `None`.

    Raises:
        Diverged: a weight is no finite number; or a step is none, and such steps are not skipped,
            or too many were in a row, or all of an epoch.
        WorkerDied: a process that reads images did; the steps so far are saved.
        TooManyBadImages: more images are damaged than the run puts up with.
    """
    try:
        with Interruption() as interruption, open_events(run) as events:
            while run.state.epoch < run.plan.epochs:
                agree_on_next_step(run, interruption)
                row = train_epoch(run, interruption)
                with interruption.writing():
                    end_epoch(run, row)
                if run.team.leads:
                    draw_learning_of(run)
                if events:
                    events.scalars(run.state.epoch, row)
                console.say_epoch(run)
            # A signal may have come while the last epoch was scored and written.
            agree_on_next_step(run, interruption)
    except Stopped as stopped:
        save_checkpoint(run)
        console.say_stopped(run, stopped)
        return str(stopped)
    except WorkerDied:
        save_checkpoint(run)
        raise
    return None


def train_epoch(run: Run, interruption: Interruption) -> dict[str, Any]:
    """Train what is left of an epoch and validate; the numbers of the epoch."""
    state = run.state
    state.begin_epoch()
    rate, waiting = take_steps(run, interruption)
    if not state.losses:
        raise run.describe_divergence(
            f"After step {state.step}", "every loss of the epoch", "No step was kept."
        )
    loss, accuracy = state.average_steps()
    learning_rate = run.schedule(state.step - 1, state.plateau.drops)  # that of the last step
    model = run.validation.copy_to_one_device(run.scorer)
    validation = run.validation.score(model, "validation", "validating")
    state.bad_images.check()
    run.schedule.note_loss(state.plateau, validation.loss)
    return dict(
        epoch=state.epoch + 1,
        learning_rate=learning_rate,
        loss=loss,
        accuracy=accuracy,
        images_per_second=round(rate, 1),
        waiting=round(waiting, 4),
        val_loss=validation.loss,
        val_accuracy=validation.top1,
        val_top5=validation.top(5),
        seconds=round(state.stop_clock(), 2),
    )


def take_steps(run: Run, interruption: Interruption) -> tuple[float, float]:
    """Take the steps that are left of an epoch.

    The time of a batch goes from the moment it is asked for to the end of its step.

    Returns:
        Images per second, and the share of the time that was spent waiting for images.
    """
    state, size = run.state, run.plan.batch_size
    label = f"epoch {state.epoch + 1}/{run.plan.epochs}"
    waited = 0.0
    with (
        contextlib.closing(run.read_batches(epoch=state.epoch, first=state.position)) as batches,
        meter(label, state.steps_per_epoch * size, done=state.position * size) as progress,
    ):
        began = asked = time.monotonic()
        for batch in batches:
            waited += time.monotonic() - asked
            agree_on_next_step(run, interruption, batch.bad)
            take_step(run, batch)
            progress.advance(size, console.describe_steps(state))
            due = time.monotonic() - state.saved > run.plan.save_seconds
            if due and run.team.leads:  # the clocks of the others would say so at another step
                with interruption.writing():
                    save_checkpoint(run)
            asked = time.monotonic()
        return progress.rate, waited / max(1e-9, time.monotonic() - began)


def take_step(run: Run, batch: Batch) -> None:
    """Take one step and count it.

    Raises:
        Diverged: it is no finite number, and is not to be skipped; the state before it is saved.
    """
    state = run.state
    outcome = run.step(batch, run.schedule(state.step, state.plateau.drops))
    if outcome.not_finite is None:
        state.count_step(outcome.loss, outcome.accuracy)
    else:
        state.skipped += 1
        if not run.plan.skip_steps or state.skipped > MAX_SKIPPED:
            save_checkpoint(run)
            names = ", ".join(str(run.data.split("train").names[i]) for i in batch.indices[:3])
            raise run.describe_divergence(
                f"In step {state.step + 1}",
                outcome.not_finite,
                "Its update was not kept, and the state before it is saved: senet train --resume "
                f"{run.folder} --on-nan skip passes over it. The images of the step: {names}, ...",
            )
        console.say_skipped(state, outcome.not_finite)
    state.position += 1


def agree_on_next_step(
    run: Run, interruption: Interruption, bad: Sequence[int] | np.ndarray = ()
) -> None:
    """Do what all processes do next: stop if one was asked to, count all damaged images.

    Args:
        run: of this process.
        interruption: that it was asked for, if it was.
        bad: damaged images that it met.

    Raises:
        Stopped: one was asked to stop.
        TooManyBadImages: the run ends here.
    """
    damaged = run.state.bad_images
    if run.team.size == 1:
        interruption.check()
        damaged.add("train", bad)
        return
    stop, most = run.team.largest(interruption.requested or 0, len(bad))
    if stop:
        raise Stopped(stop)
    if most:  # a second question to all, asked only where there is something to say
        damaged.add("train", run.team.union(bad))


def end_epoch(run: Run, row: dict[str, Any]) -> None:
    """Write the files of an epoch, and the checkpoint last: a kill between them repeats it.

    Raises:
        Diverged: a weight is no finite number; nothing is written.
    """
    require_finite_weights(run)
    better = run.state.end_epoch(row)
    if run.team.leads:
        save_model(run, MODEL)
        if better:
            save_model(run, BEST)
        write_metrics(run.folder, run.state.history)
    save_checkpoint(run)


def save_model(run: Run, name: str) -> None:
    """Save what is scored, as a file of the run."""
    model = run.scored_model
    model.card = run.network.model.card  # the average is a clone, which has none
    applications.save(
        model,
        run.folder / name,
        class_names=run.data.class_names,
        preprocessing=run.network.preprocessing.to_json(),
        trained_on=run.trained_on.to_json(),
    )


@contextlib.contextmanager
def open_events(run: Run) -> Iterator[Events | None]:
    """Event files for TensorBoard with the epochs so far, if they are wanted.

    Those of a run that is resumed begin anew: TensorBoard forgets from the first step that a file
    writes what earlier ones say.
    """
    if not (run.plan.tensorboard and run.team.leads):
        yield None
        return
    history = run.state.history
    with Events(run.folder / EVENTS, first_step=1 if history else None) as events:
        for row in history:
            events.scalars(row["epoch"], row)
        yield events
